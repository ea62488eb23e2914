// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// Clearer is a Masker that can tell, for less than masking it costs, that a text which is there as a whole stays as it is: true is sure, false may
// mean anything. record says that it is a text of a request, for the record; else it is one of a reply.
type Clearer interface {
	Clear(carrier string, m *pipeline.Meta, before, text []byte, record bool) bool
}

// quick is the length up to which a text is asked about at a Clearer: to read a long one twice may cost more than is saved.
const quick = 512

// clear tells whether it is known at once that a text stays as it is.
func (x *exchange) clear(carrier string, before, text []byte) bool {
	if x.f.clearer == nil || x.side == sideSent || len(text) > quick {
		return false
	}
	return x.f.clearer.Clear(carrier, x.m, before, text, x.side == sideRecord)
}

// What records and people see of words that are no text of the conversation. All of it is masked for the record only: policy is asked about the words
// themselves, and what steers a request goes on as it came.

// reason is an error for records and people: what it is about, without our own prefix.
func reason(err error) string {
	return strings.TrimPrefix(err.Error(), llm.ErrNotInspected.Error()+": ")
}

// reason is the same with everything masked: it may quote what was not understood.
func (x *exchange) reason(err error) string {
	return x.shown(pipeline.CarrierError, reason(err), "why cannot be said: it could not be masked")
}

// heard is a word, and what is shown of it.
type heard struct{ word, shown string }

// word is what records show of a name, an ID or another word of the provider's or the application's: secrets in it are masked, and everything if
// it does not look like a word. Those that a stream, or the steps of a request, repeat are looked at once.
func (x *exchange) word(s string) string {
	if len(s) < llm.MinText {
		return s
	}
	for i := range x.heard {
		if h := &x.heard[i]; h.word == s {
			return h.shown
		}
	}
	shown := ""
	if llm.Label([]byte(s)) {
		shown = x.plain(s)
	} else {
		shown = x.shown(pipeline.CarrierMetadata, s, "[not masked]")
	}
	if len(s) > maxHeard {
		return shown
	}
	own := strings.Clone(s) // it may point into the request, which does not live as long
	if shown == s {
		shown = own
	}
	x.hear(own, shown)
	return shown
}

// maxHeard is the length in bytes above which no word is remembered.
const maxHeard = 256

// words finds the words of a reply, or of an event of one, that hold a secret, and what stands in their place.
func (x *exchange) words(c *llm.Chunk) (edits []llm.Edit, err error) {
	for i := range c.Words {
		w := &c.Words[i]
		if slices.ContainsFunc(x.heard[:], func(h heard) bool { return h.shown == string(w.Text) && h.word == h.shown }) {
			continue
		}
		masked, masks, err := x.maskWord(w.Text)
		switch {
		case err != nil:
			return nil, err
		case len(masks) == 0:
			if len(w.Text) <= maxHeard {
				own := string(w.Text)
				x.hear(own, own)
			}
		case removedBy(c, w.At):
			return nil, llm.NotInspected("tool call with a word that holds what is to be masked")
		default:
			x.out.Masks = append(x.out.Masks, masks...)
			edits = append(edits, llm.Edit{Span: w.At, With: llm.AppendString(nil, masked)})
		}
	}
	return edits, nil
}

// wordsOf is word for several.
func (x *exchange) wordsOf(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = x.word(s)
	}
	return out
}

// hear remembers what is shown of a word.
func (x *exchange) hear(word, shown string) {
	x.heard[x.nextHeard%len(x.heard)] = heard{word, shown}
	x.nextHeard++
}

// maskWord masks a word of a reply. masked is valid until the next call.
func (x *exchange) maskWord(text []byte) (masked []byte, masks []pipeline.Mask, err error) {
	if len(text) < llm.MinText {
		return nil, nil, nil
	}
	carrier := pipeline.CarrierMetadata
	if llm.Label(text) {
		carrier = pipeline.CarrierArgs
	}
	return x.maskWhole(carrier, nil, text)
}

// plain is what records show of a word of the application's that steers a request, such as its path: secrets in it are masked.
func (x *exchange) plain(s string) string {
	if len(s) < llm.MinText {
		return s
	}
	return x.shown(pipeline.CarrierArgs, s, "[not masked]")
}

// shown is a text with everything masked; instead stands for it if that fails.
func (x *exchange) shown(carrier, s, instead string) string {
	if err := x.inspect("mask for the record", func() error {
		masked, masks, err := x.maskWhole(carrier, nil, []byte(s))
		if len(masks) > 0 {
			s = string(masked)
		}
		return err
	}); err != nil {
		return instead
	}
	return s
}

// unsaid stands for the reason of a verdict about something whose name holds what is to be masked: it may repeat a part of the name.
const unsaid = "its name, or that of the model, holds what is to be masked, so why is not said"

// decides asks policy, which sees names as they are; its verdict shows them as records do.
func (x *exchange) decides(step *pipeline.Step) pipeline.Verdict {
	v := x.f.o.Decider.Decide(x.m, &x.req.Call, step)
	if v.Reason == "" {
		return v
	}
	if x.word(x.req.Call.Model) != x.req.Call.Model || step != nil && x.word(step.Name) != step.Name {
		v.Reason = unsaid
	}
	return v
}

// call is the call as people see it.
func (x *exchange) call() *pipeline.Call {
	c := x.req.Call
	c.Model, c.Previous, c.Thread = x.word(c.Model), x.word(c.Previous), x.word(c.Thread)
	return &c
}
