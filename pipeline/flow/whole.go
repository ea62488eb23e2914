// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// maxPairs bounds how often texts of a whole reply are looked for among its calls and choices.
const maxPairs = 1 << 26

// processChunk masks the texts of a whole reply and decides its tool calls. now is the new body if it changed.
func (x *exchange) processChunk(ctx context.Context, body []byte, c *llm.Chunk) (now []byte, changed bool, err error) {
	if len(c.Pieces)*(len(c.Tools)+len(c.Choices)) > maxPairs {
		return nil, false, llm.NotInspected("reply with %d texts and %d tool calls", len(c.Pieces), len(c.Tools))
	}
	x.note(c)
	edits, err := x.words(c)
	if err != nil {
		return nil, false, err
	}
	text := make([]string, len(c.Choices)) // new content of choices whose content is masked
	var dirty []int                        // choices that had something masked or refused: token numbers would spell it
	found := make([]int, len(c.Pieces))    // how many masks are in each

	for i := range c.Pieces {
		p := &c.Pieces[i]
		if removedBy(c, p.At) { // inside a tool call: masked with it below
			continue
		}
		masked, masks, err := x.maskPiece(p)
		if err != nil {
			return nil, false, err
		}
		found[i] = len(masks)
		at := slices.IndexFunc(c.Choices, func(ch llm.Choice) bool { return ch.Index == p.Choice })
		if len(masks) > 0 {
			x.out.Masks = append(x.out.Masks, masks...)
			dirty = append(dirty, p.Choice)
			edits = append(edits, llm.Edit{Span: p.At, With: llm.AppendString(nil, masked)})
		}
		if at >= 0 && p.Answer {
			if len(masks) > 0 {
				text[at] = join(text[at], string(masked))
			} else {
				text[at] = join(text[at], llm.Shared(p.Text)) // it lives as long as the exchange
			}
		}
	}

	for i := range c.Choices {
		ch := &c.Choices[i]
		ce, said, masked, err := x.wholeCalls(ctx, body, c, ch)
		if err != nil {
			return nil, false, err
		}
		if masked {
			dirty = append(dirty, ch.Index)
		}
		if said != "" {
			text[i] = join(text[i], said)
			if !ch.Blocks {
				content := llm.AppendString(nil, []byte(text[i]))
				edits = slices.DeleteFunc(edits, func(e llm.Edit) bool { return !ch.Content.Empty() && e.Span == ch.Content })
				ce = append(ce, insertContent(c, ch, content)...)
			}
			if !ch.FinishAt.Empty() {
				ce = append(ce, llm.Edit{Span: ch.FinishAt, With: []byte(x.codec.Stop())})
			}
		}
		edits = append(edits, ce...)
		if edits, err = x.wholeLists(body, c, ch.Index, masked, found, edits); err != nil {
			return nil, false, err
		}
		if !ch.Tokens.Empty() && slices.Contains(dirty, ch.Index) {
			edits = append(edits, llm.Edit{Span: ch.Tokens, With: []byte("null")})
		}
		if text[i] != "" {
			x.out.Text = join(x.out.Text, text[i])
		}
		if err := x.response(ctx, ch.Index, text[i]); err != nil {
			return nil, false, err
		}
	}
	if len(edits) == 0 {
		return nil, false, nil
	}
	now, err = llm.Splice(make([]byte, 0, len(body)+256), body, edits)
	return now, true, err
}

// join puts two texts of one message one below the other.
func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "\n\n" + b
}

// removedBy tells whether a span lies inside a tool call.
func removedBy(c *llm.Chunk, at llm.Span) bool {
	for i := range c.Tools {
		if t := c.Tools[i].At; at.Start >= t.Start && at.End <= t.End {
			return true
		}
	}
	return false
}

// wholeCalls decides the tool calls of one choice. said is the text that stands for them if none is left; where answers are made
// of blocks, the edits put it there.
func (x *exchange) wholeCalls(ctx context.Context, body []byte, c *llm.Chunk, ch *llm.Choice) (edits []llm.Edit, said string, masked bool, err error) {
	var cuts []bool
	var elems, gone []llm.Span
	left := 0
	for i := range c.Tools {
		t := &c.Tools[i]
		if t.Choice != ch.Index {
			continue
		}
		call := &toolCall{choice: t.Choice, index: t.Index, id: t.ID, name: t.Name, args: t.Args, byProvider: t.ByProvider}
		if err := x.decideCall(ctx, call); err != nil {
			return nil, "", false, err
		}
		if t.Index >= 0 {
			elems, cuts = append(elems, t.At), append(cuts, call.denied)
		}
		if call.denied {
			masked = true
			said = join(said, call.said)
			gone = append(gone, t.At)
			if t.Index < 0 {
				edits = append(edits, llm.Edit{Span: t.At, With: []byte("null")})
			}
			continue
		}
		if !t.ByProvider {
			left++
		}
		if call.masked != nil {
			masked = true
			edits = append(edits, llm.Edit{Span: t.ArgsAt, With: argsValue(call.masked, t.Raw)})
		}
		edits, err = x.maskRest(c, t, edits)
		if err != nil {
			return nil, "", false, err
		}
	}
	if left > 0 {
		said = ""
	}
	switch {
	case ch.Blocks:
		cut, err := x.cutBlocks(body, ch.Calls, gone, -1, said)
		if err != nil {
			return nil, "", false, err
		}
		edits = append(edits, cut...)
	case left > 0:
		edits = append(edits, cutElements(elems, cuts)...)
	}
	return edits, said, masked, nil
}

// maskRest masks the strings of a tool call that are neither its name nor its arguments.
func (x *exchange) maskRest(c *llm.Chunk, t *llm.ToolPiece, edits []llm.Edit) ([]llm.Edit, error) {
	for i := range c.Pieces {
		p := &c.Pieces[i]
		if p.At.Start < t.At.Start || p.At.End > t.At.End {
			continue
		}
		with, masks, err := x.maskPiece(p)
		if err != nil {
			return nil, err
		}
		if len(masks) > 0 {
			x.out.Masks = append(x.out.Masks, masks...)
			edits = append(edits, llm.Edit{Span: p.At, With: llm.AppendString(nil, with)})
		}
	}
	return edits, nil
}

// cutElements removes some elements of an array, with their commas. At least one stays.
func cutElements(elems []llm.Span, cut []bool) []llm.Edit {
	var edits []llm.Edit
	kept := false
	for i, e := range elems {
		switch {
		case !cut[i]:
			kept = true
			continue
		case kept:
			e.Start = elems[i-1].End
		default:
			e.End = elems[i+1].Start
		}
		edits = append(edits, llm.Edit{Span: e})
	}
	return edits
}

// insertContent gives a message whose tool calls are all refused a text in their place.
func insertContent(c *llm.Chunk, ch *llm.Choice, content []byte) []llm.Edit {
	member := append([]byte(`"content":`), content...)
	switch {
	case !ch.Content.Empty() && ch.Calls.Empty():
		return []llm.Edit{{Span: ch.Content, With: content}}
	case !ch.Content.Empty():
		return []llm.Edit{{Span: ch.Content, With: content}, {Span: ch.CallsAt}}
	case !ch.Calls.Empty():
		return []llm.Edit{{Span: llm.Span{Start: ch.CallsKey, End: ch.Calls.End}, With: member}}
	}
	// The older form without content: the call was turned to null; the text follows it.
	for i := range c.Tools {
		if t := &c.Tools[i]; t.Choice == ch.Index && t.Index < 0 {
			return []llm.Edit{{Span: llm.Span{Start: t.At.End, End: t.At.End}, With: append([]byte{','}, member...)}}
		}
	}
	return nil
}

// note keeps what a reply, or an event, says about itself.
func (x *exchange) note(c *llm.Chunk) {
	if c.ID != "" {
		x.out.ResponseID = x.word(c.ID)
	}
	if c.Model != "" {
		x.out.ResponseModel = x.word(c.Model)
	}
	if c.HasUsage { // in a stream, one event may tell what went in and another what came out
		u := &x.out.Usage
		for _, n := range []struct{ to, now **int64 }{{&u.InputTokens, &c.Usage.InputTokens}, {&u.OutputTokens, &c.Usage.OutputTokens},
			{&u.CachedTokens, &c.Usage.CachedTokens}} {
			if *n.now != nil {
				*n.to = *n.now
			}
		}
	}
	for i := range c.Choices {
		if f := c.Choices[i].Finish; f != "" {
			x.out.Finish = append(x.out.Finish, x.word(f))
		}
	}
}

// response asks policy about the text of an answer, in its masked form.
func (x *exchange) response(ctx context.Context, choice int, text string) error {
	if text == "" {
		return nil
	}
	step := &pipeline.Step{Kind: pipeline.StepResponse, Index: choice, Text: text}
	d, err := x.rule(ctx, step, step)
	if err == nil && d != nil {
		err = &deniedError{d}
	}
	return err
}

// refusedText is what the model seems to say in place of a tool call that was refused.
func refusedText(name string, d *denial) string {
	verb := "was refused"
	if d.code == codeHeld {
		verb = "is held for approval"
	}
	by := strings.TrimSpace(d.verdict.Rule)
	if by == "" {
		by = "policy"
	}
	return "[sallyport] tool " + name + " " + verb + " by rule " + by + " (" + d.id + ")"
}
