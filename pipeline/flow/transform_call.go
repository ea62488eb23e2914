// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// maskSpans puts masks of one carrier in place. Spans come in order and do not overlap. Arguments that are JSON stay JSON.
func maskSpans(value []byte, carrier string, masks []pipeline.Mask, args bool) (out []byte, changed bool, err error) {
	at := 0
	for _, m := range masks {
		if m.Carrier != carrier {
			continue
		}
		if m.At < at || m.Len < 0 || m.At+m.Len > len(value) {
			return nil, false, errors.New("a mask is not within its text")
		}
		out = append(append(out, value[at:m.At]...), m.With...)
		at, changed = m.At+m.Len, true
	}
	if !changed {
		return value, false, nil
	}
	out = append(out, value[at:]...)
	if args && validJSON(value) && !validJSON(out) {
		return nil, false, errors.New("masked arguments would be no JSON")
	}
	return out, true, nil
}

// severer is the stricter of what policy says about a tool call as the model wrote it and as it would be released. Spans are those
// of the latter.
func severer(raw, masked pipeline.Verdict) pipeline.Verdict {
	v := raw
	if masked.Action > raw.Action {
		v = masked
	}
	if v.Masks = masked.Masks; raw.Action == pipeline.Hold && masked.Action == pipeline.Hold && !within(&masked, &raw) {
		// Each is held by rules that do not hold the other: the approvers of all decide.
		v.Matched = union(slices.Clone(raw.Matched), masked.Matched)
		sum := sha256.Sum256([]byte(raw.Digest + "\x00" + masked.Digest))
		v.Digest = hex.EncodeToString(sum[:])
	}
	return v
}

// within tells whether all rules that hold one thing hold another.
func within(one, other *pipeline.Verdict) bool {
	holds := func(v *pipeline.Verdict, rule string) bool {
		return v.Rule == rule || slices.Contains(v.Matched, pipeline.Matched{Rule: rule, Action: pipeline.Hold})
	}
	for _, m := range one.Matched {
		if m.Action == pipeline.Hold && !m.Observed && !holds(other, m.Rule) {
			return false
		}
	}
	return holds(other, one.Rule)
}

// transformCall masks the arguments of a tool call of a reply as v wants it, before anybody sees them.
func (x *exchange) transformCall(t *toolCall, v *pipeline.Verdict, shown *pipeline.Step) error {
	if v.Action == pipeline.Transform && len(v.Masks) == 0 && t.masked != nil {
		v.Done = true // what it wanted covered is covered
	}
	if !x.enforce || len(v.Masks) == 0 || v.Action == pipeline.Deny {
		return nil
	}
	args := t.args
	if t.masked != nil {
		args = t.masked
	}
	now, changed, err := maskSpans(args, "args", v.Masks, true)
	if err != nil {
		return err
	}
	if !changed {
		return errors.New("what is to be masked stands nowhere")
	}
	v.Done = true
	t.masked = now
	t.spans = []pipeline.Mask{{At: 0, Len: len(t.args), With: string(now)}}
	shown.Args = jsonOrString(append(json.RawMessage(nil), now...))
	x.out.Tools[len(x.out.Tools)-1] = *shown
	x.out.Masks = append(x.out.Masks, v.Masks...)
	return nil
}
