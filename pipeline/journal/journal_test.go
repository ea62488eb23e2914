// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// clock makes records the same in each run.
func clock() func() time.Time {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var mu sync.Mutex
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Millisecond)
		return at
	}
}

func options(t testing.TB, dir string) Options {
	t.Helper()
	return Options{Dir: dir, SegmentBytes: minSegment, EventDelay: time.Microsecond, BootID: "00000000-0000-0000-0000-000000000000", Now: clock()}
}

func open(t testing.TB, o Options) *Journal {
	t.Helper()
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// put appends a record and waits until it is on disk.
func put(t testing.TB, j *Journal, r pipeline.Record) pipeline.Position {
	t.Helper()
	pos, done := j.Append(r)
	if err := <-done; err != nil {
		t.Fatalf("append %s: %v", r.Kind, err)
	}
	return pos
}

func closeJournal(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func intent(exchange string) pipeline.Record {
	return pipeline.Record{Kind: pipeline.KindIntent, Session: "ses_1", Exchange: exchange, Body: &pipeline.Intent{
		Scope: "agents", Mode: pipeline.ModeEnforce, Workload: pipeline.Workload{PID: 7, Unit: "a.service"},
		Principal: pipeline.Principal{SPIFFEID: "spiffe://example.org/unit/a"},
		Endpoint:  pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443},
		Method:    "POST", Target: "/v1/chat/completions", Call: pipeline.Call{Operation: pipeline.OpChat, Model: "gpt-4o-mini"},
		Body: []byte(`{"model": "gpt-4o-mini"}`), BodyBytes: 24,
	}}
}

func event(exchange string, seq int, data string) pipeline.Record {
	return pipeline.Record{Kind: pipeline.KindEvent, Session: "ses_1", Exchange: exchange,
		Body: &pipeline.Event{Seq: seq, Bytes: len(data), Data: data}}
}

func outcome(exchange string) pipeline.Record {
	return pipeline.Record{Kind: pipeline.KindOutcome, Session: "ses_1", Exchange: exchange,
		Body: &pipeline.Outcome{Status: 200, Text: "hi", BytesReleased: 5, DurationMS: 12}}
}

// entries reads a whole folder; contents are copied.
func entries(t testing.TB, dir string) []Entry {
	t.Helper()
	r, err := OpenReader(dir, pipeline.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []Entry
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		c := *e
		c.content = append([]byte(nil), e.content...)
		out = append(out, c)
	}
}

func kindsOf(list []Entry) string {
	var out []string
	for _, e := range list {
		out = append(out, e.Kind)
	}
	return strings.Join(out, " ")
}

func verified(t testing.TB, dir string) Report {
	t.Helper()
	rep, err := Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !rep.OK {
		t.Fatalf("not intact: %v", rep.Problem)
	}
	return rep
}

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, options(t, dir))
	put(t, j, intent("exc_1"))
	put(t, j, event("exc_1", 1, "data: {\"x\": \"\x00\xff\"}\n\n"))
	put(t, j, pipeline.Record{Kind: pipeline.KindDecision, Session: "ses_1", Exchange: "exc_1", Body: pipeline.Decision{ID: "dec_1", UID: 4}})
	put(t, j, outcome("exc_1"))
	head := j.State().Head
	closeJournal(t, j)

	list := entries(t, dir)
	if got, want := kindsOf(list), "open intent event decision outcome checkpoint"; got != want {
		t.Fatalf("kinds %q, want %q", got, want)
	}
	if list[4].Hash != head {
		t.Errorf("head %v, but the last record has %v", head, list[4].Hash)
	}
	var in pipeline.Intent
	if err := list[1].Decode(&in); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*intent("").Body.(*pipeline.Intent), in); diff != "" {
		t.Errorf("intent (-want +got):\n%s", diff)
	}
	var ev pipeline.Event
	if err := list[2].Decode(&ev); err != nil {
		t.Fatal(err)
	}
	if want := (pipeline.Event{Seq: 1, Bytes: 17, Data: "data: {\"x\": \"\x00\xff\"}\n\n"}); ev.Data != want.Data || ev.Seq != 1 {
		t.Errorf("event %+v", ev)
	}
	if rep := verified(t, dir); rep.Records != 6 || !rep.Clean || rep.Torn != 0 || rep.Generations != 1 {
		t.Errorf("report %+v", rep)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, segmentPath(dir, 1): 0o600, filepath.Join(dir, "lock"): 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode() != mode {
			t.Errorf("%s: mode %v, want %v (%v)", path, st.Mode(), mode, err)
		}
	}
}

func TestRotationAndGenerations(t *testing.T) {
	dir := t.TempDir()
	const perRun = 300
	for range 3 {
		j := open(t, options(t, dir))
		for i := range perRun {
			put(t, j, event("exc_1", i, strings.Repeat("x", 500)))
		}
		put(t, j, event("exc_1", 0, strings.Repeat("y", 3*minSegment))) // larger than a segment
		closeJournal(t, j)
	}
	rep := verified(t, dir)
	if rep.Generations != 3 || rep.Segments < 9 {
		t.Errorf("report %+v", rep)
	}
	events := 0
	for _, e := range entries(t, dir) {
		if e.Kind == pipeline.KindEvent {
			events++
		}
	}
	if events != 3*(perRun+1) {
		t.Errorf("%d events, want %d", events, 3*(perRun+1))
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
}

func TestManyWriters(t *testing.T) {
	dir := t.TempDir()
	j := open(t, options(t, dir))
	const writers, each = 16, 100
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				_, done := j.Append(event(fmt.Sprintf("exc_%d", w), i, "some data"))
				if i%10 == 0 {
					if err := <-done; err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	closeJournal(t, j)
	next := map[string]int{}
	for _, e := range entries(t, dir) {
		if e.Kind != pipeline.KindEvent {
			continue
		}
		var ev pipeline.Event
		if err := e.Decode(&ev); err != nil {
			t.Fatal(err)
		}
		if ev.Seq != next[e.Exchange] {
			t.Fatalf("%s: event %d, want %d", e.Exchange, ev.Seq, next[e.Exchange])
		}
		next[e.Exchange]++
	}
	if len(next) != writers || next["exc_0"] != each {
		t.Errorf("events by writer: %v", next)
	}
	verified(t, dir)
}

func TestSecondWriterIsRefused(t *testing.T) {
	dir := t.TempDir()
	j := open(t, options(t, dir))
	if _, err := Open(options(t, dir)); !errors.Is(err, ErrLocked) {
		t.Fatalf("second Open: %v, want %v", err, ErrLocked)
	}
	put(t, j, outcome("exc_1"))
	closeJournal(t, j)
	closeJournal(t, open(t, options(t, dir)))
}

func TestAppendRefusals(t *testing.T) {
	dir := t.TempDir()
	j := open(t, options(t, dir))
	tests := map[string]struct {
		rec  pipeline.Record
		want string
	}{
		"unknown kind":  {pipeline.Record{Kind: "nonsense"}, `unknown record kind "nonsense"`},
		"long session":  {pipeline.Record{Kind: pipeline.KindFlow, Session: strings.Repeat("s", 256)}, "more than 255 bytes"},
		"not encodable": {pipeline.Record{Kind: pipeline.KindFlow, Body: func() {}}, "encoding a flow record"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, done := j.Append(tt.rec)
			if err := <-done; err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	closeJournal(t, j)
	if _, done := j.Append(outcome("exc_1")); !errors.Is(<-done, ErrClosed) {
		t.Error("append after Close was taken")
	}
	closeJournal(t, j) // twice is fine
	verified(t, dir)
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"relative folder": {Dir: "journal"},
		"tiny quota":      {Dir: "/nonexistent/journal", MaxBytes: 4096},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Open(o); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
