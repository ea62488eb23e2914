// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func decision(exchange, id string, action pipeline.Action) pipeline.Record {
	return pipeline.Record{Kind: pipeline.KindDecision, Session: "ses_1", Exchange: exchange, Body: &pipeline.Decision{
		ID: id, Mode: pipeline.ModeEnforce, Enforced: true, UID: 1000,
		Verdict: pipeline.Verdict{Action: action, Stage: pipeline.StepToolCall, Rule: "guardrail/no-shell", Reason: "no shell"},
		Step:    &pipeline.Step{Kind: pipeline.StepToolCall, Name: "bash", ID: "call_2", Index: 1}}}
}

// ended writes an exchange with everything in it.
func ended(t testing.TB, j *Journal, exchange string) {
	t.Helper()
	in := intent(exchange)
	body := in.Body.(*pipeline.Intent)
	body.Flow, body.Policy, body.UserAgent = "flw_1", "p1", "OpenAI/Python"
	body.Masks = []pipeline.Mask{{Carrier: "text", Type: "EMAIL", At: 5, Len: 9, With: "[EMAIL]"}}
	body.Call.Steps = []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "mail [EMAIL]"}}
	put(t, j, in)
	put(t, j, event(exchange, 1, "data: hi\n\n"))
	put(t, j, decision(exchange, "dec_"+exchange, pipeline.Deny))
	input, output := int64(10), int64(5)
	out := outcome(exchange)
	o := out.Body.(*pipeline.Outcome)
	o.ResponseID, o.ResponseModel, o.Finish = "chatcmpl-1", "gpt-4o-mini-2024", []string{"tool_calls"}
	o.Verdict = pipeline.Verdict{Action: pipeline.Deny, Stage: pipeline.StepToolCall, Rule: "guardrail/no-shell", Reason: "no shell"}
	o.Decision, o.Enforced, o.OverheadUS, o.FirstReleaseMS = "dec_"+exchange, true, 300, 4
	o.Usage = pipeline.Usage{InputTokens: &input, OutputTokens: &output}
	o.Tools = []pipeline.Step{
		{Kind: pipeline.StepToolCall, Name: "search", ID: "call_1", Args: json.RawMessage(`{"q":"x"}`)},
		{Kind: pipeline.StepToolCall, Name: "bash", ID: "call_2", Index: 1, Args: json.RawMessage(`"{\"cmd\":"`)}}
	put(t, j, out)
}

func TestDocument(t *testing.T) {
	dir := t.TempDir()
	o := options(t, dir)
	o.random = fixed()
	j := open(t, o)
	ended(t, j, "exc_1")
	closeJournal(t, j)
	f, l := NewFolder(), NewLoader(dir)
	defer l.Close()
	var docs []Exchange
	for _, e := range entries(t, dir) {
		if x := f.Add(&e); x != nil {
			docs = append(docs, must(l.Load(x)).Document())
		}
	}
	if len(docs) != 1 {
		t.Fatalf("%d exchanges, want 1", len(docs))
	}
	golden(t, filepath.Join("testdata", "exchange.json"), append(must(json.MarshalIndent(docs[0], "", "  ")), '\n'))
}

func TestFolderOldest(t *testing.T) {
	f := NewFolder()
	at := func(n uint64) pipeline.Position { return pipeline.Position{Segment: 1, Offset: n} }
	add := func(kind, exchange string, n uint64) *Refs {
		return f.Add(&Entry{Kind: kind, Exchange: exchange, Generation: 1, Position: at(n)})
	}
	want := func(n uint64, open bool) {
		t.Helper()
		read := Mark{{Generation: 1, Sequence: 9, Position: at(1 << 30)}}
		if !open {
			n = 1 << 30
		}
		if m := f.Resume(read); len(m) != 1 || m[0].Position != at(n) {
			t.Errorf("resume at %+v, want %d", m, n)
		}
	}
	want(0, false)
	add(pipeline.KindIntent, "a", 1)
	add(pipeline.KindIntent, "b", 2)
	want(1, true)
	add(pipeline.KindDecision, "b", 3)
	if x := add(pipeline.KindOutcome, "a", 4); x == nil || x.Intent != at(1) || x.Outcome != at(4) {
		t.Errorf("a: %+v", x)
	}
	want(2, true)
	if x := add(pipeline.KindOutcome, "b", 5); len(x.Decisions) != 1 {
		t.Errorf("b: %+v", x)
	}
	want(0, false)
	if x := add(pipeline.KindOutcome, "lost", 6); x == nil || x.Intent != (pipeline.Position{}) {
		t.Errorf("an outcome whose intent is gone: %+v", x)
	}
	for i := range maxOpen + 5 {
		add(pipeline.KindIntent, fmt.Sprint(i), uint64(10+i))
	}
	if len(f.open) > maxOpen {
		t.Errorf("%d exchanges are waited for", len(f.open))
	}
	want(15, true)
}

func TestCloseOpen(t *testing.T) {
	dir := t.TempDir()
	o := options(t, dir)
	j := open(t, o)
	ended(t, j, "exc_done")
	put(t, j, intent("exc_cut"))
	put(t, j, event("exc_cut", 1, "data: one\n\n"))
	put(t, j, decision("exc_cut", "dec_1", pipeline.Deny))
	put(t, j, event("exc_cut", 2, "data: two\n\n"))
	put(t, j, intent("exc_early"))
	dead := copyDir(t, dir)
	closeJournal(t, j)

	o.Dir, o.Index = dead, NewIndex(0)
	j = open(t, o)
	if n, err := j.CloseOpen(context.Background()); n != 2 || err != nil {
		t.Fatalf("closed %d: %v", n, err)
	}
	p, err := o.Index.Exchange("exc_cut")
	if err != nil {
		t.Fatal(err)
	}
	if p.Outcome == nil || p.Outcome.Cut != CutAgent || p.Outcome.BytesReleased != 22 || len(p.Outcome.Pace) != 2 ||
		p.Outcome.Decision != "dec_1" || p.Outcome.Verdict.Action != pipeline.Deny || !p.Outcome.Enforced {
		t.Errorf("outcome %+v", p.Outcome)
	}
	if doc := p.Document(); doc.Cut != CutAgent || doc.Open {
		t.Errorf("document %+v", doc)
	}
	// A second crash before anything else happened, and one more start: nothing is closed twice.
	dead2 := copyDir(t, dead)
	closeJournal(t, j)
	for _, d := range []string{dead2, dead} {
		o.Dir, o.Index = d, nil
		j = open(t, o)
		if n, err := j.CloseOpen(context.Background()); n != 0 || err != nil {
			t.Errorf("closed %d more: %v", n, err)
		}
		closeJournal(t, j)
		verified(t, d)
	}
}

// A crash between Open and the end of CloseOpen must not hide what an older generation left open.
func TestCloseOpenLooksPastUnsettledGenerations(t *testing.T) {
	dir := t.TempDir()
	j := open(t, options(t, dir))
	if n, err := j.CloseOpen(context.Background()); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	put(t, j, intent("exc_1"))
	dead := copyDir(t, dir)
	closeJournal(t, j)
	closeJournal(t, open(t, options(t, dead))) // never settled
	j = open(t, options(t, dead))
	if n, err := j.CloseOpen(context.Background()); n != 1 || err != nil {
		t.Errorf("closed %d: %v", n, err)
	}
}

func TestIndex(t *testing.T) {
	dir := t.TempDir()
	o := options(t, dir)
	o.Index = NewIndex(5)
	j := open(t, o)
	check := func(x *Index, when string) {
		t.Helper()
		list := x.Sessions(0, nil)
		if len(list) != 1 {
			t.Fatalf("%s: %d sessions", when, len(list))
		}
		s := list[0]
		if s.Session != "ses_1" || s.Denied != 3 || s.Masked != 3 || s.Open != 1 || s.Exchanges != 4 || s.Workload.Unit != "a.service" ||
			s.Principal.SPIFFEID == "" || !cmp.Equal(s.Models, []string{"gpt-4o-mini"}) || !s.Last.After(s.Started) {
			t.Errorf("%s: %+v", when, s)
		}
		_, parts, err := x.Session("ses_1")
		if err != nil || len(parts) != 4 || parts[0].Exchange != "exc_1" || parts[3].Outcome != nil {
			t.Errorf("%s: %d exchanges, %v", when, len(parts), err)
		}
		d, p, err := x.Decision("dec_exc_2")
		if err != nil || d.UID != 1000 || p.Exchange != "exc_2" {
			t.Errorf("%s: decision %+v %v", when, d, err)
		}
		if n := len(x.Sessions(0, func(s *Summary) bool { return s.Denied == 0 })); n != 0 {
			t.Errorf("%s: filter let %d through", when, n)
		}
		for _, err := range []error{second(x.Exchange("exc_9")), third(x.Decision("dec_9")), third(x.Session("ses_9"))} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	for i := range 3 {
		ended(t, j, fmt.Sprintf("exc_%d", i+1))
	}
	put(t, j, intent("exc_4"))
	check(o.Index, "live")
	closeJournal(t, j)
	o.Index = NewIndex(5)
	j = open(t, o)
	check(o.Index, "rebuilt")

	for i := range 4 { // push the oldest out
		r := intent(fmt.Sprintf("exc_new_%d", i))
		r.Session, r.Time = "ses_2", time.Date(2027, 1, 1, 0, 0, i, 0, time.UTC)
		put(t, j, r)
	}
	if _, err := o.Index.Exchange("exc_3"); !errors.Is(err, ErrNotFound) {
		t.Errorf("exc_3: %v", err)
	}
	if _, _, err := o.Index.Decision("dec_exc_3"); !errors.Is(err, ErrNotFound) {
		t.Errorf("its decision: %v", err)
	}
	if list := o.Index.Sessions(1, nil); len(list) != 1 || list[0].Session != "ses_2" {
		t.Errorf("newest first: %+v", list)
	}
	for i := range 9 {
		r := intent(fmt.Sprintf("exc_last_%d", i))
		r.Session = "ses_3"
		put(t, j, r)
	}
	if n := len(o.Index.Sessions(0, nil)); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }

func TestExport(t *testing.T) {
	dir := t.TempDir()
	j := open(t, options(t, dir))
	put(t, j, intent("exc_1"))
	put(t, j, event("exc_1", 1, "data: hi\n\n"))
	closeJournal(t, j)
	r := must(OpenReader(dir, pipeline.Position{}))
	defer r.Close()
	var got []map[string]any
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(must(json.Marshal(e)), &m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m)
	}
	body := got[1]["body"].(map[string]any)
	if _, ok := body["body"].(map[string]any); !ok {
		t.Errorf("the intent has no body: %v", got[1])
	}
	if data := got[2]["body"].(map[string]any)["data"]; data != "data: hi\n\n" {
		t.Errorf("the event has data %v", data)
	}
}
