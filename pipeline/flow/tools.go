// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"encoding/json"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// toolCall is a tool call of a reply.
type toolCall struct {
	choice, index int
	id, name      string
	args          []byte
	byProvider    bool
	decided       bool
	denied        bool   // and must not be released
	said          string // stands for it if no call is left
	masked        []byte // the arguments with secrets masked; nil if there were none
	spans         []pipeline.Mask
	cursor        cursor
}

// decideCall masks the arguments of a complete call, asks policy about it as the model wrote it and as it would be
// released, and waits until the decision is on disk. The severer answer holds.
func (x *exchange) decideCall(ctx context.Context, t *toolCall) error {
	if t.name == "" {
		return llm.NotInspected("tool call without a name")
	}
	for _, w := range [...]string{t.name, t.id} { // a model writes what it likes
		if _, found, err := x.maskWhole(pipeline.CarrierArgs, nil, []byte(w)); err != nil {
			return err
		} else if len(found) > 0 {
			return llm.NotInspected("tool call whose name or ID holds what is to be masked")
		}
	}
	masked, masks, err := x.maskArgs(t.args)
	if err != nil {
		return err
	}
	step := pipeline.Step{Kind: pipeline.StepToolCall, Name: t.name, ID: t.id, Index: t.index, Args: t.args, ByProvider: t.byProvider}
	shown := step
	shown.ID = x.word(t.id)
	if masked == nil {
		shown.Args = jsonOrString(append(json.RawMessage(nil), t.args...))
	} else {
		t.masked = masked
		shown.Args = jsonOrString(append(json.RawMessage(nil), masked...))
		x.out.Masks = append(x.out.Masks, masks...)
		// In a stream, all of the new text stands where the old one ends.
		t.spans = []pipeline.Mask{{At: 0, Len: len(t.args), With: string(masked)}}
	}
	x.out.Tools = append(x.out.Tools, shown)
	v, err := x.ask(&step)
	if err != nil {
		return err
	}
	if masked != nil {
		again := step
		again.Args = masked
		w, err := x.ask(&again)
		if err != nil {
			return err
		}
		v = severer(v, w)
	}
	if err := x.transformCall(t, &v, &shown); err != nil {
		return err
	}
	x.h.call = t
	d, err := x.apply(ctx, v, &shown)
	x.h.call = nil
	if err != nil {
		return err
	}
	if d != nil && t.byProvider {
		return &deniedError{d} // it has run: the reply that tells of it does not pass
	}
	if d != nil {
		t.denied, t.said = true, refusedText(t.name, d)
	}
	t.decided = true
	return x.settle(ctx, 0)
}
