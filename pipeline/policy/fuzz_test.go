// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// FuzzDecide: whatever a step holds, masks lie within it in order, arguments stay JSON, and what was masked does not match in the
// clear any more.
func FuzzDecide(f *testing.F) {
	b, err := os.ReadFile("testdata/actions/policy.yaml")
	if err != nil {
		f.Fatal(err)
	}
	s := mustLoad(f, string(b))
	for _, t := range []string{"a badger b", `{"q":"b\u0061dger","n":{"badger":"TICKET-1"}}`, "ｂａｄｇｅｒ badger", "b%61dger", `"{\"a\":\"badger\"}"`, `{"amount": 950}`} {
		f.Add(t, true)
		f.Add(t, false)
	}
	m, c := &pipeline.Meta{Workload: pipeline.Workload{Unit: "u"}}, &pipeline.Call{Operation: pipeline.OpChat, Model: "m"}
	f.Fuzz(func(t *testing.T, text string, args bool) {
		step := &pipeline.Step{Kind: pipeline.StepPrompt, Text: text}
		carrier := "text"
		if args {
			step, carrier = &pipeline.Step{Kind: pipeline.StepToolCall, Name: "t", Args: []byte(text)}, "args"
		}
		v := s.Decide(m, c, step)
		if (v.Action == pipeline.Transform) != (len(v.Masks) > 0) && v.Action != pipeline.Hold {
			t.Fatalf("%+v", v)
		}
		at := 0
		for _, k := range v.Masks {
			if k.Carrier != carrier || k.At < at || k.Len < 0 || k.At+k.Len > len(text) {
				t.Fatalf("%q: mask %+v", text, k)
			}
			at = k.At + k.Len
		}
		if len(v.Masks) == 0 {
			return
		}
		after := masked(step, v)
		if args && json.Valid([]byte(text)) && !json.Valid([]byte(after)) {
			t.Fatalf("%q became %q", text, after)
		}
		if args {
			step.Args = []byte(after)
		} else {
			step.Text = after
		}
		for _, k := range s.Decide(m, c, step).Matched {
			if !args && k.Action == pipeline.Transform && k.Rule == "guardrail/ticket" {
				t.Fatalf("%q became %q, which still matches %s", text, after, k.Rule)
			}
		}
	})
}
