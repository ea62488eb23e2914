// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/content"
)

// turn is the request of a conversation that has gone on for some turns, with the steps that flow finds in it. Each turn adds
// two messages of some 600 bytes.
func turn(session string, n int) (r pipeline.Record, fresh int) {
	var b bytes.Buffer
	in := &pipeline.Intent{Scope: "agents", Mode: pipeline.ModeEnforce, Method: "POST", Target: "/v1/chat/completions",
		Workload: pipeline.Workload{PID: 4711, Start: 12345, Exe: "/opt/agent/bin/python3", Cgroup: "/system.slice/agent.service", Unit: "agent.service"},
		Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443},
		Call:     pipeline.Call{Operation: pipeline.OpChat, Model: "gpt-4o-mini", Stream: true}}
	b.WriteString(`{"messages":[`)
	for i := range 2*n + 1 {
		start := b.Len()
		role := [2]string{"user", "assistant"}[i%2]
		text := fmt.Sprintf("message %d of %s: %s", i, session, strings.Repeat(fmt.Sprintf("word%d-%d ", i, i*i), 60))
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"role":"%s","content":`, role)
		at := b.Len()
		fmt.Fprintf(&b, "%q}", text)
		in.Call.Steps = append(in.Call.Steps, pipeline.Step{Kind: pipeline.StepPrompt, Name: role, Index: i, Text: text, From: [2]int{at, b.Len() - 1}})
		if i >= 2*n-1 {
			fresh += b.Len() - start
		}
	}
	b.WriteString(`],"model":"gpt-4o-mini","stream":true,"tools":[{"type":"function","function":{"name":"search","description":"` + strings.Repeat("finds things ", 40) + `"}}]}`)
	in.Body, in.BodyBytes = b.Bytes(), int64(b.Len())
	return pipeline.Record{Kind: pipeline.KindIntent, Session: session, Exchange: fmt.Sprintf("exc_%s_%d", session, n), Body: in}, fresh
}

// A conversation that is sent again each turn costs its text once, and each turn reads back as it was.
func TestConversationCostsItsTextOnce(t *testing.T) {
	dir := t.TempDir()
	o := options(t, dir)
	o.SegmentBytes = 4 * minSegment // so that turns refer to other segments
	j := open(t, o)
	const turns = 40
	sent, fresh, stored, first := 0, 0, uint64(0), uint64(0)
	var want []pipeline.Record
	var at []pipeline.Position
	for n := range turns {
		r, new := turn("ses_1", n)
		in := r.Body.(*pipeline.Intent)
		sent, fresh = sent+len(in.Body), fresh+new
		before := j.State()
		at = append(at, put(t, j, r))
		size := j.State().Durable.Offset - at[n].Offset
		if before.Durable.Segment != at[n].Segment {
			size = 0
			for _, e := range entries(t, dir) {
				if e.Position == at[n] {
					size = e.End.Offset - e.Position.Offset
				}
			}
		}
		if stored += size; n == 0 {
			first = size
		}
		want = append(want, r)
		other, _ := turn("ses_2", n) // mixed with another conversation that shares no key
		put(t, j, other)
	}
	t.Logf("%d turns: %d bytes sent, %d of them new, %d recorded (the first turn %d)", turns, sent, fresh, stored, first)
	if limit := uint64(fresh) + turns*1500; stored > limit {
		t.Errorf("%d bytes were recorded for %d new ones, want at most %d", stored, fresh, limit)
	}
	closeJournal(t, j)
	verified(t, dir)
	l := NewLoader(dir)
	defer l.Close()
	for n := range turns {
		e, err := l.Read(at[n])
		if err != nil {
			t.Fatal(err)
		}
		got, in := new(pipeline.Intent), *want[n].Body.(*pipeline.Intent)
		if err := e.Decode(got); err != nil {
			t.Fatalf("turn %d: %v", n, err)
		}
		in.Call.Steps = append([]pipeline.Step{}, in.Call.Steps...)
		for i := range in.Call.Steps {
			in.Call.Steps[i].From = [2]int{}
		}
		if !reflect.DeepEqual(got, &in) {
			t.Fatalf("turn %d is not what was recorded", n)
		}
	}
}

// What is recorded of content tells nobody what it was who does not have the key: no text, and no digest of it.
func TestContentIsSealed(t *testing.T) {
	const canary = "canary-4711"
	dir := t.TempDir()
	j := open(t, options(t, dir))
	step := &pipeline.Step{Kind: pipeline.StepToolCall, Name: "shell", Args: json.RawMessage(`{"x":"` + canary + `"}`), Text: canary}
	put(t, j, pipeline.Record{Kind: pipeline.KindIntent, Session: "s", Exchange: "e", Body: &pipeline.Intent{Body: []byte(`"` + canary + `"`), BodySHA256: canary, Call: pipeline.Call{Steps: []pipeline.Step{*step}}}})
	put(t, j, pipeline.Record{Kind: pipeline.KindEvent, Session: "s", Exchange: "e", Body: pipeline.Event{Data: canary}})
	put(t, j, pipeline.Record{Kind: pipeline.KindDecision, Session: "s", Exchange: "e", Body: &pipeline.Decision{ID: "d", Step: step}})
	put(t, j, pipeline.Record{Kind: pipeline.KindApproval, Session: "s", Exchange: "e", Body: &pipeline.Approval{ID: "a", Asked: &pipeline.ApprovalAsked{Step: step, Body: canary}}})
	put(t, j, pipeline.Record{Kind: pipeline.KindOutcome, Session: "s", Exchange: "e", Body: pipeline.Outcome{Text: canary, Tools: []pipeline.Step{*step}}})
	closeJournal(t, j)
	for _, e := range entries(t, dir) {
		if bytes.Contains(e.content, []byte(canary)) {
			t.Errorf("the %s record has the content in the clear", e.Kind)
		}
		if e.Session == "" {
			continue
		}
		out, err := json.Marshal(&e)
		if err != nil || !bytes.Contains(out, []byte(canary)) || e.flags&flagSealed == 0 {
			t.Errorf("the %s record does not give its content: %s %v", e.Kind, out, err)
		}
		if state, err := e.Content(); state != ContentHere || err != nil {
			t.Errorf("%s: %q %v", e.Kind, state, err)
		}
	}
	for _, path := range must(filepath.Glob(filepath.Join(keysDir(dir), "*"))) {
		if st := must(os.Stat(path)); st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, st.Mode())
		}
	}
}

// Without keys the chain verifies and everything but the content can be read. Which of the reasons it is can be told.
func TestContentIsGone(t *testing.T) {
	dir := t.TempDir()
	j := open(t, options(t, dir))
	for n := range 3 {
		r, _ := turn("ses_1", n)
		put(t, j, r)
		r, _ = turn("ses_2", n)
		put(t, j, r)
	}
	closeJournal(t, j)
	for state, do := range map[string]func(dir string) error{
		ContentNoKey: func(dir string) error { return os.RemoveAll(keysDir(dir)) },
		ContentErased: func(dir string) error {
			s := content.NewStore(keysDir(dir), nil)
			defer s.Close()
			n, err := s.Erase(func(k content.Key) bool { return k.Session == content.SessionSum("ses_1") })
			if n != 1 {
				t.Errorf("%d keys were erased", n)
			}
			return err
		},
	} {
		t.Run(state, func(t *testing.T) {
			work := copyDir(t, dir)
			if err := errors.Join(os.CopyFS(keysDir(work), os.DirFS(keysDir(dir))), do(work)); err != nil {
				t.Fatal(err)
			}
			verified(t, work)
			seen := 0
			for _, e := range entries(t, work) {
				if e.Kind != pipeline.KindIntent {
					continue
				}
				seen++
				var in pipeline.Intent
				err := e.Decode(&in)
				got := must(e.Content())
				if e.Session == "ses_2" && state == ContentErased {
					if got != ContentHere || err != nil || len(in.Body) == 0 {
						t.Errorf("the other session: %q %v", got, err)
					}
					continue
				}
				if got != state || err != nil || in.Body != nil || in.Call.Steps != nil || in.Call.Model == "" || in.Workload.PID == 0 {
					t.Errorf("content %q, %v, %+v", got, err, in)
				}
				if out := must(json.Marshal(&e)); !bytes.Contains(out, []byte(`"content":"`+state+`"`)) || bytes.Contains(out, []byte("word")) {
					t.Errorf("exported as %s", out)
				}
			}
			if seen != 6 {
				t.Errorf("%d intents", seen)
			}
		})
	}
}

// A session that goes on for long gets new keys, so that what was said first can be erased by itself.
func TestKeysChange(t *testing.T) {
	dir := t.TempDir()
	o := options(t, dir)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { return now }
	j := open(t, o)
	for n := range 3 {
		r, _ := turn("ses_1", n)
		put(t, j, r)
		now = now.Add(content.KeyLife)
	}
	closeJournal(t, j)
	s := content.NewStore(keysDir(dir), nil)
	defer s.Close()
	if n, err := s.Erase(func(k content.Key) bool { return k.Created.Before(now.Add(-2 * content.KeyLife)) }); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	var got []string
	for _, e := range entries(t, dir) {
		if e.Kind == pipeline.KindIntent {
			got = append(got, must(e.Content()))
			if err := e.Decode(new(pipeline.Intent)); err != nil {
				t.Error(err)
			}
		}
	}
	if !reflect.DeepEqual(got, []string{ContentErased, "", ""}) {
		t.Errorf("contents %q", got)
	}
}
