// SPDX-License-Identifier: Apache-2.0

package document

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

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

// request puts together what the model was asked in an exchange, as elasticsearch.md says: from its documents, and those of the
// exchanges that they name.
func request(t *testing.T, docs map[string][]Doc, id string) (frame, messages []message, digest string) {
	t.Helper()
	var about struct {
		Sallyport struct {
			Content struct {
				Request, Repeats int
				Earlier, Digest  string
				SameFrame        bool `json:"same_frame"`
			}
		}
	}
	if len(docs[id]) == 0 {
		t.Fatalf("%s has no documents", id)
	}
	if err := json.Unmarshal(docs[id][0].JSON, &about); err != nil {
		t.Fatal(err)
	}
	c := about.Sallyport.Content
	own, _ := again(t, docs[id])
	if c.Earlier != "" {
		f, m, _ := request(t, docs, c.Earlier)
		messages = append(messages, m[:c.Repeats]...)
		if c.SameFrame {
			frame = f
		}
	}
	first := len(messages)
	for _, m := range own[:c.Request] {
		m.Piece, m.Pieces = 0, 0
		if m.Kind == pipeline.StepToolOffer || m.Index < 0 {
			frame = append(frame, m)
		} else {
			messages = append(messages, m)
		}
	}
	slices.SortStableFunc(messages[first:], func(a, b message) int { return a.Index - b.Index })
	h := sha256.New()
	addUp(h, frame)
	addUp(h, messages)
	if got := hex.EncodeToString(h.Sum(nil)); got != c.Digest {
		t.Errorf("%s: what was put together has the digest %s, want %s", id, got, c.Digest)
	}
	return frame, messages, c.Digest
}

// talk is a conversation of so many turns, as an agent has it with tools: each request repeats all that was said.
func talk(turns int, reply string) (list []*journal.Parts) {
	steps := []pipeline.Step{{Kind: pipeline.StepPrompt, Index: -1, Text: "be kind"}, {Kind: pipeline.StepToolOffer, Name: "search", Text: "finds things"}}
	n, before := 0, 0
	say := func(s pipeline.Step) { s.Index = n; n++; steps = append(steps, s) }
	for i := range turns {
		say(pipeline.Step{Kind: pipeline.StepPrompt, Text: fmt.Sprintf("question %d with \xff and a needle%d in it", i, i)})
		in := &pipeline.Intent{Call: pipeline.Call{Steps: slices.Clone(steps)}}
		if i > 0 {
			in.Parent, in.Repeats, in.SameFrame = fmt.Sprint("exc_", i-1), before, true
		}
		before = n
		answer := fmt.Sprintf("answer %d %s", i, reply)
		args := json.RawMessage(fmt.Sprintf(`{"q":"argument %d"}`, i))
		list = append(list, &journal.Parts{Refs: journal.Refs{Session: "ses_1", Exchange: fmt.Sprint("exc_", i)}, Intent: in, Outcome: &pipeline.Outcome{Text: answer,
			Tools: []pipeline.Step{{Kind: pipeline.StepToolCall, Name: "search", ID: fmt.Sprint("call_", i), Args: args}}}})
		say(pipeline.Step{Kind: pipeline.StepResponse, Text: answer})
		say(pipeline.Step{Kind: pipeline.StepToolCall, Name: "search", ID: fmt.Sprint("call_", i), Args: args})
		say(pipeline.Step{Kind: pipeline.StepToolResult, ID: fmt.Sprint("call_", i), Text: fmt.Sprintf("result %d", i)})
	}
	return list
}

// Documents leave out what was said before, and with those that they name they have it all: word for word what the model was asked.
func TestEarlier(t *testing.T) {
	list := talk(40, strings.Repeat("and so on ", 50))
	size := map[bool]int{}
	for _, whole := range []bool{false, true} {
		m := NewMaker(Origin{Host: "h1", Whole: whole})
		docs := map[string][]Doc{}
		found := map[string]int{} // documents with the words of a turn
		for i, p := range list {
			docs[p.Exchange] = m.Exchange(record(pipeline.KindOutcome), p)[1:]
			for _, d := range docs[p.Exchange] {
				size[whole] += len(d.JSON)
				for k := range i + 1 {
					if bytes.Contains(d.JSON, fmt.Appendf(nil, "a needle%d in", k)) {
						found[fmt.Sprint(k)]++
					}
				}
			}
		}
		for i, p := range list {
			frame, messages, _ := request(t, docs, p.Exchange)
			var want []message
			for k := range p.Intent.Call.Steps {
				for _, m := range sayingsOf(&p.Intent.Call.Steps[k]) {
					m.Text = strings.ReplaceAll(m.Text, "\xff", "\ufffd")
					want = append(want, m)
				}
			}
			if diff := cmp.Diff(want, append(slices.Clip(frame), messages...)); diff != "" {
				t.Errorf("whole %v, turn %d (-want +got):\n%s", whole, i, diff)
			}
			if n := found[fmt.Sprint(i)]; whole && n != len(list)-i || !whole && n != 1 {
				t.Errorf("whole %v: what was said in turn %d is in %d documents", whole, i, n)
			}
		}
	}
	if size[true] < 8*size[false] {
		t.Errorf("%d bytes whole, %d bytes new", size[true], size[false])
	}
	t.Logf("40 turns: %d bytes of contents whole, %d new", size[true], size[false])
}

// Whatever a record claims of what its parent has, no message is lost, and nothing is left out that is not named.
func TestEarlierClaims(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*pipeline.Intent)
		here   int // listed messages of the request
		names  string
	}{
		"all of the parent":      {func(*pipeline.Intent) {}, 4, "exc_0"},
		"no parent":              {func(in *pipeline.Intent) { in.Parent = "" }, 7, ""},
		"more than there are":    {func(in *pipeline.Intent) { in.Repeats = 99 }, 7, ""},
		"fewer than none":        {func(in *pipeline.Intent) { in.Repeats = -1 }, 7, ""},
		"nothing":                {func(in *pipeline.Intent) { in.Repeats, in.SameFrame = 0, false }, 7, ""},
		"the frame":              {func(in *pipeline.Intent) { in.Repeats = 0 }, 5, "exc_0"},
		"everything":             {func(in *pipeline.Intent) { in.Repeats = 5 }, 0, "exc_0"},
		"messages without texts": {func(in *pipeline.Intent) { in.Call.Steps[2].Text = "" }, 4, "exc_0"},
		"a frame without texts": {func(in *pipeline.Intent) {
			in.Repeats, in.Call.Steps[0].Text, in.Call.Steps[1].Text = 0, "", ""
		}, 5, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := talk(2, "")[1]
			c.change(p.Intent)
			p.Outcome = nil
			docs := NewMaker(origin).Exchange(record(pipeline.KindOutcome), p)[1:]
			var doc struct {
				Sallyport struct {
					Content struct {
						Request int
						Earlier string
					}
					Messages []message
				}
			}
			if err := json.Unmarshal(docs[0].JSON, &doc); err != nil || len(docs) != 1 {
				t.Fatal(err, len(docs))
			}
			if s := doc.Sallyport; s.Content.Request != c.here || len(s.Messages) != c.here || s.Content.Earlier != c.names {
				t.Errorf("%d messages, %+v", len(s.Messages), s.Content)
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
