// SPDX-License-Identifier: Apache-2.0

package document

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// again puts the messages of the parts together.
func again(t *testing.T, docs []Doc) (out []message, texts []string) {
	t.Helper()
	for i, d := range docs {
		var doc struct {
			Sallyport struct {
				Content  struct{ Part, Parts int }
				Messages []message
				Text     map[string][]string
			}
		}
		if err := json.Unmarshal(d.JSON, &doc); err != nil || !utf8.Valid(d.JSON) || doc.Sallyport.Content.Part != i+1 || doc.Sallyport.Content.Parts != len(docs) {
			t.Fatalf("document %d: %v %+v", i, err, doc.Sallyport.Content)
		}
		for _, m := range doc.Sallyport.Messages {
			if m.Piece > 1 {
				last := &out[len(out)-1]
				last.Text, last.Args = last.Text+m.Text, last.Args+m.Args
				continue
			}
			out = append(out, m)
		}
		for _, list := range doc.Sallyport.Text {
			texts = append(texts, list...)
		}
	}
	return out, texts
}

func parts(steps []pipeline.Step, o *pipeline.Outcome) *journal.Parts {
	return &journal.Parts{Intent: &pipeline.Intent{Call: pipeline.Call{Steps: steps}}, Outcome: o}
}

// However much was said, the documents have all of it, none is large, and each phrase is in one text.
func TestSplit(t *testing.T) {
	long := strings.Repeat("lorem ipsum dolor sit amet ", 50_000) + "the needle in it " + strings.Repeat("consectetur ", 50_000)
	var many []pipeline.Step
	for i := range 10_000 {
		many = append(many, pipeline.Step{Kind: pipeline.StepPrompt, Index: i, Text: fmt.Sprintf("message number %d of many", i)})
	}
	deep := strings.Repeat(`{"a":[`, 5000) + `"the needle in it"` + strings.Repeat(`]}`, 5000)
	var keys strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&keys, `"key %d":{"v":%d},`, i, i)
	}
	call := func(args string) *pipeline.Outcome {
		return &pipeline.Outcome{Tools: []pipeline.Step{{Kind: pipeline.StepToolCall, Name: "t", ID: "c", Args: json.RawMessage(args)}}}
	}
	for name, c := range map[string]struct {
		p    *journal.Parts
		find string
		docs int
	}{
		"nothing":            {parts(nil, &pipeline.Outcome{}), "", 0},
		"short":              {parts([]pipeline.Step{{Kind: pipeline.StepPrompt, Text: "the needle in it"}}, &pipeline.Outcome{Text: "yes"}), "the needle in it", 1},
		"long prompt":        {parts([]pipeline.Step{{Kind: pipeline.StepPrompt, Text: long}}, nil), "the needle in it", 10},
		"long reply":         {parts(nil, &pipeline.Outcome{Text: long}), "the needle in it", 10},
		"one word":           {parts([]pipeline.Step{{Kind: pipeline.StepPrompt, Text: strings.Repeat("é", 600_000)}}, nil), "ééé", 6},
		"many messages":      {parts(many, nil), "message number 9999 of many", 2},
		"NUL and half pairs": {parts([]pipeline.Step{{Kind: pipeline.StepPrompt, Text: "a\x00 the needle in it \xed\xa0\x80 \xff"}}, nil), "the needle in it", 1},
		"deep arguments":     {parts(nil, call(deep)), "the needle in it", 1},
		"many keys":          {parts(nil, call("{"+keys.String()+`"x":"the\u0020needle\u0020in it"}`)), "the needle in it", 1},
		"not JSON":           {parts(nil, call(`{"q":"the needle in it`)), "the needle in it", 1},
		"twice the key":      {parts(nil, call(`{"q":1,"q":{"q":["the needle in it"]}}`)), "the needle in it", 1},
		"huge number":        {parts(nil, call(`{"q":1e999999999,"r":"the needle in it"}`)), "the needle in it", 1},
		"half a pair":        {parts(nil, call(`{"q":"\ud800 the needle in it \u0000"}`)), "the needle in it", 1},
		"trailing text":      {parts(nil, call(`{"q":1} the needle in it`)), "the needle in it", 1},
	} {
		t.Run(name, func(t *testing.T) {
			docs := NewMaker(origin).Exchange(record(pipeline.KindOutcome), c.p)[1:]
			if len(docs) != c.docs {
				t.Errorf("%d documents, want %d", len(docs), c.docs)
			}
			for _, d := range docs {
				if len(d.JSON) > 8*partBytes {
					t.Errorf("%d bytes", len(d.JSON))
				}
			}
			messages, texts := again(t, docs)
			n := 0
			for _, s := range texts {
				if strings.Contains(s, c.find) {
					n++
				}
			}
			if c.docs > 0 && n == 0 {
				t.Errorf("%q is not found", c.find)
			}
			var want []string
			for _, s := range c.p.Intent.Call.Steps {
				want = append(want, strings.ToValidUTF8(s.Text, "\ufffd"))
			}
			if o := c.p.Outcome; o != nil {
				for _, s := range o.Tools {
					want = append(want, string(s.Args))
				}
				if o.Text != "" {
					want = append(want, o.Text)
				}
			}
			if len(messages) != len(want) {
				t.Fatalf("%d messages, want %d", len(messages), len(want))
			}
			for i, m := range messages {
				if got := m.Text + m.Args; name != "NUL and half pairs" && got != want[i] {
					t.Errorf("message %d is another (%d bytes, want %d)", i, len(got), len(want[i]))
				}
			}
		})
	}
}

// A phrase that lies where a text is cut is found in one of the pieces.
func TestCutPhrases(t *testing.T) {
	var words []string
	for i := range 60_000 {
		words = append(words, fmt.Sprintf("w%d", i))
	}
	docs := NewMaker(origin).Exchange(record(pipeline.KindOutcome), parts([]pipeline.Step{{Kind: pipeline.StepPrompt, Text: strings.Join(words, " ")}}, nil))[1:]
	_, texts := again(t, docs)
	have := map[string]bool{}
	for _, text := range texts {
		list := strings.Fields(text)
		for i := 0; i+5 <= len(list); i++ {
			have[strings.Join(list[i:i+5], " ")] = true
		}
	}
	for i := 0; i+5 <= len(words); i++ {
		if phrase := strings.Join(words[i:i+5], " "); !have[phrase] {
			t.Fatalf("%q is in no text", phrase)
		}
	}
}

func FuzzSayings(f *testing.F) {
	for _, s := range []string{`{"a":"b"}`, `{"a":`, "", "x", `"\ud800"`, `[1,2,{"a":null}] x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := sayings(s)
		if len(out) > 3*len(s)+1 {
			t.Errorf("%d bytes of %d", len(out), len(s))
		}
		for _, n := range []int{512, 1000} {
			if got := strings.Join(cut(s, n), ""); got != s {
				t.Errorf("cut loses something")
			}
		}
	})
}
