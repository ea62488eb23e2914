// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// transform carries out what verdicts want changed in a request: tools are taken out of the offer, spans are masked. It returns
// the body that is left, decoded into x.req, and says in a what was done. What cannot be done stays a refusal. Where nothing is
// enforced, no byte changes.
func (x *exchange) transform(a *asked, body []byte) []byte {
	if a.err != nil || a.steps == nil {
		return body
	}
	drop, names := x.unoffered(a)
	if !x.enforce {
		if len(names) > 0 { // recorded as what would be done
			gone := removal(a, drop, x.wordsOf(names))
			a.gone = &gone
			for i := range drop {
				if drop[i] {
					a.steps[i] = pipeline.Verdict{}
				}
			}
		}
		return body
	}
	if len(names) == 0 && !slices.ContainsFunc(a.steps, func(v pipeline.Verdict) bool { return len(v.Masks) > 0 }) {
		return body
	}
	if slices.Contains(names, x.req.Chosen) && x.req.Chosen != "" {
		for i := range a.steps {
			if drop[i] && x.req.Call.Steps[i].Name == x.req.Chosen {
				a.steps[i].Reason = "the request demands a tool that the role lacks: " + a.steps[i].Reason
			}
		}
		return body
	}
	if err := x.inspect("transform", func() error {
		now, err := x.rewrite(a, body, drop, names)
		if err == nil {
			body = now
		}
		return err
	}); err != nil {
		a.err = fmt.Errorf("carrying out what policy wants changed: %w", err)
	}
	return body
}

// unoffered finds the offers that are denied and can be taken out: all offers of one element, or of one server, go together.
func (x *exchange) unoffered(a *asked) (drop []bool, names []string) {
	drop = make([]bool, len(a.steps))
	for _, o := range x.req.Offers {
		if o.Step < 0 || o.Step >= len(a.steps) || a.steps[o.Step].Action != pipeline.Deny || x.req.Call.Steps[o.Step].Kind != pipeline.StepToolOffer {
			continue
		}
		for _, p := range x.req.Offers {
			if (p.At == o.At || x.sameServer(o.Step, p.Step)) && !drop[p.Step] {
				drop[p.Step] = true
				s := &x.req.Call.Steps[p.Step]
				names = append(names, s.Name)
				a.taken = append(a.taken, pipeline.Step{Kind: s.Kind, Name: x.word(strings.Clone(s.Name)), Index: s.Index, ByProvider: s.ByProvider})
			}
		}
	}
	return drop, names
}

// sameServer tells whether two offers are of one server that is reached by MCP: its address, and its tools, are of no use alone.
func (x *exchange) sameServer(a, b int) bool {
	s, o := &x.req.Call.Steps[a], &x.req.Call.Steps[b]
	return s.ByProvider && o.ByProvider && s.Name == o.Name && strings.HasPrefix(s.Name, "mcp/")
}

// removal is the verdict that stands for offers that are taken out.
func removal(a *asked, drop []bool, names []string) pipeline.Verdict {
	v := pipeline.Verdict{Action: pipeline.Transform, Stage: pipeline.StepToolOffer, Done: true}
	for i := range drop {
		if !drop[i] {
			continue
		}
		if o := &a.steps[i]; v.Rule == "" && o.Action == pipeline.Deny {
			v.Rule, v.Reason = o.Rule, o.Reason
		}
		v.Matched = union(v.Matched, a.steps[i].Matched)
	}
	v.Removed = a.taken
	v.Reason = "taken out of the offer: " + list(names) + " (" + v.Reason + ")"
	return v
}

func union(to, more []pipeline.Matched) []pipeline.Matched {
	for _, m := range more {
		if !slices.Contains(to, m) {
			to = append(to, m)
		}
	}
	return to
}

// list names tools in a message, not all if there are many.
func list(names []string) string {
	const most = 32
	out := make([]string, 0, most)
	for _, n := range names[:min(len(names), most)] {
		out = append(out, word(n))
	}
	said := strings.Join(out, ", ")
	if len(names) > most {
		said += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return said
}

// word makes a name from outside fit to stand in a message.
func word(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return '?'
		}
		return r
	}, s[:min(len(s), 128)])
}

// rewrite makes the new body and reads it again, so that everything after it is about what is sent. Then a is about that.
func (x *exchange) rewrite(a *asked, body []byte, drop []bool, names []string) ([]byte, error) {
	var edits []llm.Edit
	masked := make([]bool, len(a.steps))
	for i := range x.req.Texts {
		t := &x.req.Texts[i]
		if t.Step < 0 || len(a.steps[t.Step].Masks) == 0 || drop[t.Step] {
			continue
		}
		carrier := "text"
		if t.Args {
			carrier = "args"
		}
		with, changed, err := maskSpans(t.Value, carrier, a.steps[t.Step].Masks, t.Args)
		if err != nil {
			return nil, err
		}
		if !changed {
			continue
		}
		masked[t.Step] = true
		for _, m := range a.steps[t.Step].Masks {
			if m.Carrier == carrier {
				m.Upstream = true
				a.masks = append(a.masks, m)
			}
		}
		if !t.Raw {
			with = llm.AppendString(nil, with)
		} else if !validJSON(with) {
			return nil, errors.New("masked arguments would be no JSON")
		}
		edits = append(edits, llm.Edit{Span: t.At, With: with})
	}
	for i := range a.steps {
		if len(a.steps[i].Masks) > 0 && !masked[i] && !drop[i] {
			return nil, errors.New("what is to be masked stands nowhere")
		}
	}
	edits, err := x.unoffer(body, drop, names, edits)
	if err != nil {
		return nil, err
	}
	now, err := llm.Splice(make([]byte, 0, len(body)+64*len(edits)), body, edits)
	if err != nil {
		return nil, err
	}
	if err := x.reread(now, drop); err != nil {
		return nil, err
	}
	x.ruled = a.masks
	if len(names) > 0 {
		gone := removal(a, drop, x.wordsOf(names))
		a.gone = &gone
	}
	kept := a.steps[:0]
	for i, v := range a.steps {
		if v.Done = masked[i]; !drop[i] {
			kept = append(kept, v)
		}
	}
	a.steps = kept
	return now, nil
}

// unoffer adds the edits that take offers out: elements of their lists, lists of which nothing is left, and with the last offer
// the members that say how tools are to be used, which mean nothing any more.
func (x *exchange) unoffer(body []byte, drop []bool, names []string, edits []llm.Edit) ([]llm.Edit, error) {
	if len(names) == 0 {
		return edits, nil
	}
	members := make([]bool, len(x.req.Lists))
	left := false
	for l := range x.req.Lists {
		var elems []llm.Span
		var cut []bool
		for _, o := range x.req.Offers {
			if o.List == l && (len(elems) == 0 || elems[len(elems)-1] != o.At) {
				elems, cut = append(elems, o.At), append(cut, drop[o.Step])
			}
		}
		switch {
		case !slices.Contains(cut, false):
			members[l] = slices.Contains(cut, true)
		case slices.Contains(cut, true):
			left = true
			edits = append(edits, cutElements(elems, cut)...)
		default:
			left = true
		}
	}
	var keys []int
	for l, all := range members {
		if all {
			keys = append(keys, x.req.Lists[l].Key)
		}
	}
	choice := !x.req.Choice.Empty() && (!left || x.names(body, names))
	if len(keys) == 0 && !choice {
		return edits, nil
	}
	more, err := cutMembers(body, func(key []byte, at llm.Span) bool {
		return slices.Contains(keys, at.Start) || choice && at.Start >= x.req.Choice.Start && at.End <= x.req.Choice.End ||
			!left && string(key) == "parallel_tool_calls" // refused by the one API that has it if there are no tools
	})
	return append(edits, more...), err
}

// names tells whether the member that says which tools to use names one that is taken out: by its name, by the label of its
// server, or by a type with a date behind it.
func (x *exchange) names(body []byte, names []string) bool {
	at := x.req.Choice.Start + bytes.IndexByte(body[x.req.Choice.Start:x.req.Choice.End], '"')
	var s llm.Scanner
	s.ResetAt(body[:x.req.Choice.End], at)
	if _, _, err := s.Text(); err != nil { // the key
		return true
	}
	s.Seek(s.Pos() + bytes.IndexByte(body[s.Pos():x.req.Choice.End], ':') + 1)
	found, gone := false, make(map[string]bool, len(names))
	for _, n := range names {
		gone[n] = n != ""
	}
	err := s.Strings(func(text []byte, _ llm.Span) error {
		kind := string(text)
		if i := strings.Index(kind, "_20"); i >= 0 && strings.Trim(kind[i:], "0123456789_") == "" {
			kind = kind[:i]
		}
		found = found || gone[string(text)] || gone["mcp/"+string(text)] || gone[kind]
		return nil
	})
	return found || err != nil
}

// cutMembers removes members of the object that body is, with their commas.
func cutMembers(body []byte, remove func(key []byte, at llm.Span) bool) ([]llm.Edit, error) {
	var s llm.Scanner
	if err := s.Reset(body); err != nil {
		return nil, err
	}
	var edits []llm.Edit
	var open *llm.Edit // before any member that stays: it ends where the next begins
	kept := -1         // where the last member that stays ends
	err := s.Object(func(m llm.Member) error {
		if open != nil {
			edits, open = append(edits, llm.Edit{Span: llm.Span{Start: open.Start, End: m.At.Start}}), nil
		}
		gone := remove(m.Key, m.At)
		if _, err := s.Skip(); err != nil {
			return err
		}
		switch {
		case !gone:
			kept = s.Pos()
		case kept >= 0:
			edits = append(edits, llm.Edit{Span: llm.Span{Start: kept, End: s.Pos()}})
			kept = s.Pos()
		default:
			open = &llm.Edit{Span: llm.Span{Start: m.At.Start, End: s.Pos()}}
		}
		return nil
	})
	if open != nil {
		edits = append(edits, *open)
	}
	return edits, err
}

// reread decodes the body that will be sent, and sees to it that it says what the old one said, less what was taken out.
func (x *exchange) reread(body []byte, drop []bool) error {
	before := x.req.Call
	texts := x.req.Texts
	x.req = llm.Request{}
	if err := x.codec.Request(body, &x.req); err != nil {
		return fmt.Errorf("the request would not be understood any more: %w", err)
	}
	clear(texts)
	x.req.Call.MaxTokens = x.req.MaxTokens
	after := &x.req.Call
	if after.Operation != before.Operation || after.Model != before.Model || after.Stream != before.Stream || after.MaxTokens != before.MaxTokens {
		return errors.New("the request would be another one")
	}
	i := 0
	for j := range before.Steps {
		if drop[j] {
			continue
		}
		if i == len(after.Steps) {
			return errors.New("the request would lack a step")
		}
		if b, n := &before.Steps[j], &after.Steps[i]; b.Kind != n.Kind || b.Name != n.Name || b.ID != n.ID || b.ByProvider != n.ByProvider {
			return errors.New("the request would have other steps")
		}
		i++
	}
	if i != len(after.Steps) {
		return errors.New("the request would have more steps")
	}
	return nil
}
