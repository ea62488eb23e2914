// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// stuck is a journal whose disk does not answer until the test lets it.
func stuck(t *testing.T) (j *Journal, x *Index, let func()) {
	t.Helper()
	x = NewIndex(0)
	j, err := Open(Options{Dir: t.TempDir(), Index: x})
	if err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	j.mu.Lock()
	j.sync = func(f *os.File, _ int) error { <-gate; return datasync(f) }
	j.mu.Unlock()
	t.Cleanup(func() { _ = j.Close() })
	return j, x, func() { close(gate) }
}

// inFile counts the records that a reader of the folder sees.
func inFile(t *testing.T, j *Journal) int {
	t.Helper()
	r, err := OpenReader(j.Dir(), pipeline.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for n := 0; ; n++ {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestAwaitedGather: awaited records may wait for the committer; what is not awaited is in the file at once, and takes
// those before it along, in order.
func TestAwaitedGather(t *testing.T) {
	j, _, let := stuck(t)
	defer let()
	j.mu.Lock()
	before := inFile(t, j)
	j.mu.Unlock()
	awaited := func() <-chan error {
		_, done := j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Exchange: "e", Awaited: true, Body: &pipeline.Outcome{}})
		return done
	}
	awaited()
	awaited()
	if _, done := j.Append(pipeline.Record{Kind: pipeline.KindEvent, Exchange: "e", Body: &pipeline.Event{Data: "x"}}); len(done) != 0 {
		t.Fatalf("answered before the disk: %v", <-done)
	}
	if got := inFile(t, j) - before; got != 3 {
		t.Errorf("%d records in the file after one that is not awaited, want 3", got)
	}
}

// TestIndexSeesAwaited: the index reads records that wait for the committer.
func TestIndexSeesAwaited(t *testing.T) {
	j, x, let := stuck(t)
	defer let()
	for _, id := range []string{"e1", "e2", "e3"} {
		j.Append(pipeline.Record{Kind: pipeline.KindIntent, Session: "s", Exchange: id, Awaited: true, Body: &pipeline.Intent{Method: "POST"}})
		p, err := x.Exchange(id)
		if err != nil || p.Intent.Method != "POST" {
			t.Fatalf("%s: %v, %v", id, p, err)
		}
	}
}

// TestAwaitedWriteFails: who waits hears of a write that the committer could not do.
func TestAwaitedWriteFails(t *testing.T) {
	j, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	j.mu.Lock()
	_ = j.active.Close() // each write fails from now on
	j.mu.Unlock()
	_, done := j.Append(pipeline.Record{Kind: pipeline.KindIntent, Exchange: "e", Awaited: true, Body: &pipeline.Intent{}})
	if err := <-done; err == nil || !strings.Contains(err.Error(), "writing to the journal") {
		t.Errorf("got %v, want the failed write", err)
	}
	if j.State().Err == nil {
		t.Error("the journal takes more records")
	}
	_ = j.Close()
}

// TestTextsOnce: the text of a step is stored once, inside the body, and comes back.
func TestTextsOnce(t *testing.T) {
	j, err := Open(Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("find \"me\" ", 20)
	quoted := strings.Repeat(`find \"me\" `, 20)
	body := `{"content":"` + quoted + `"}`
	at := [2]int{11, 13 + len(quoted)}
	short := pipeline.Step{Kind: pipeline.StepPrompt, Text: "short", From: [2]int{0, 2}}
	in := &pipeline.Intent{Body: []byte(body), BodyBytes: int64(len(body)),
		Call: pipeline.Call{Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: text, From: at}, short}}}
	pos, done := j.Append(pipeline.Record{Kind: pipeline.KindIntent, Exchange: "e", Body: in})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(segmentPath(j.Dir(), pos.Segment))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(raw), "find "); n != 0 {
		t.Errorf("the text is stored %d times in the clear", n)
	}
	l := NewLoader(j.Dir())
	defer l.Close()
	e, err := l.Read(pos)
	if err != nil {
		t.Fatal(err)
	}
	var got pipeline.Intent
	if err := e.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if s := got.Call.Steps; s[0].Text != text || s[1].Text != "short" || s[0].From != [2]int{} || s[1].From != [2]int{} {
		t.Errorf("read back %+v", s)
	}
	if got.Digest() == "" {
		t.Error("no digest of a body that is there")
	}
	if n := e.End.Offset - e.Position.Offset; n > uint64(len(body)+len(text)+900) {
		t.Errorf("the record has %d bytes for a body of %d", n, len(body))
	}
	// A place that is no text is damage, not an empty text: in the form that older versions wrote, too.
	for from, bad := range map[int]bool{11: false, 12: true} {
		doc := fmt.Sprintf(`{"call":{"steps":[{"kind":"prompt","index":0,"from":[%d,%d]}]}}`, from, at[1])
		old := Entry{Kind: e.Kind, flags: flagAttachment, content: append(binary.LittleEndian.AppendUint32(nil, uint32(len(doc))), doc+body...)}
		got = pipeline.Intent{}
		var d *Damage
		if err := old.Decode(&got); errors.As(err, &d) != bad || !bad && got.Call.Steps[0].Text != text {
			t.Errorf("from %d: %+v, %v", from, got.Call.Steps, err)
		}
	}
}
