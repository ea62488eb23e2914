// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// turn writes turn n of a conversation, from 0: all questions so far, of which the parent's record has all but the last.
func (r *rig) turn(session string, n int) {
	r.t.Helper()
	r.ask(session, n)
	r.answer(session, n)
}

func (r *rig) ask(session string, n int) {
	r.t.Helper()
	in := &pipeline.Intent{Scope: "agents", Call: pipeline.Call{Operation: "chat"}}
	for i := range n + 1 {
		in.Call.Steps = append(in.Call.Steps, pipeline.Step{Kind: pipeline.StepPrompt, Index: i, Text: fmt.Sprintf("question %d of %s", i, session)})
	}
	if n > 0 {
		in.Parent, in.Repeats = fmt.Sprintf("exc_%s_%d", session, n-1), n
	}
	r.append(pipeline.Record{Kind: pipeline.KindIntent, Session: session, Exchange: fmt.Sprintf("exc_%s_%d", session, n), Body: in})
}

func (r *rig) answer(session string, n int) {
	r.t.Helper()
	r.append(pipeline.Record{Kind: pipeline.KindOutcome, Session: session, Exchange: fmt.Sprintf("exc_%s_%d", session, n), Body: &pipeline.Outcome{Status: 200, Text: "a reply"}})
}

// forms says of each document of contents, in the order in which they came, how many questions it has and where the others are.
func (r *rig) forms() (out []string) {
	r.t.Helper()
	for _, h := range r.f.Docs(document.Content) {
		var doc struct {
			Sallyport struct {
				Exchange struct{ ID string }
				Content  struct{ Earlier string }
			}
		}
		if err := json.Unmarshal(h.Source, &doc); err != nil {
			r.t.Error(err)
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %d %s", doc.Sallyport.Exchange.ID, strings.Count(string(h.Source), `"text":"question`), doc.Sallyport.Content.Earlier)))
	}
	return out
}

func (r *rig) wantForms(want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.forms()); diff != "" {
		r.t.Errorf("documents of contents (-want +got):\n%s", diff)
	}
}

// What was said is shipped once, and whole where it is asked for; a change of that is for what is recorded from then on.
func TestForms(t *testing.T) {
	r := newRig(t)
	r.start()
	r.turn("a", 0)
	r.turn("a", 1)
	r.shipped()
	r.stop()
	r.turn("a", 2) // before the start with another configuration
	r.o.Whole = true
	r.start()
	r.turn("a", 3)
	r.shipped()
	r.stop()
	r.start()
	r.turn("a", 4)
	r.shipped()
	r.stop()
	r.o.Whole = false
	r.start()
	r.turn("a", 5)
	r.shipped()
	r.wantForms("exc_a_0 1", "exc_a_1 1 exc_a_0", "exc_a_2 1 exc_a_1", "exc_a_3 4", "exc_a_4 5", "exc_a_5 1 exc_a_4")
}

// However often a start ships what was recorded before it, and whatever is configured by then, it makes the same documents.
func TestFormsAreTheSameAgain(t *testing.T) {
	r := newRig(t)
	cursor := filepath.Join(r.dir, "journal", "elastic.cursor")
	r.o.Whole = true
	r.start()
	r.turn("a", 0)
	r.turn("a", 1)
	r.shipped()
	r.stop()
	behind, err := os.ReadFile(cursor)
	if err != nil {
		t.Fatal(err)
	}
	r.o.Whole = false
	r.start()
	r.turn("a", 2)
	r.turn("a", 3)
	r.shipped()
	r.stop()
	want := []string{"exc_a_0 1", "exc_a_1 2", "exc_a_2 1 exc_a_1", "exc_a_3 1 exc_a_2"}
	r.wantForms(want...)
	after, err := readCursor(cursor)
	if err != nil || len(after.Forms) != 2 {
		t.Fatal(after.Forms, err)
	}
	// A crash: the cursor is behind, but for the note of the form, which is on disk before anything is sent.
	old := cursorFile{}
	if err := json.Unmarshal(behind, &old); err != nil {
		t.Fatal(err)
	}
	old.Forms = after.Forms
	if err := writeCursor(cursor, &old); err != nil {
		t.Fatal(err)
	}
	r.f.Set(func() { clear(r.f.Streams); r.f.Order = nil }) // nothing of it is there: it is made again
	r.o.Whole = true
	r.start()
	r.shipped()
	r.wantForms(want[2:]...)
}

// Nothing leans on contents that are not in Elasticsearch.
func TestNothingLeansOnWhatIsNotThere(t *testing.T) {
	for name, lose := range map[string]func(*rig){
		"refused for good": func(r *rig) {
			r.f.OnItem = func(stream, _ string, doc map[string]any) (int, bool) {
				b, err := json.Marshal(doc)
				return http.StatusBadRequest, err == nil && strings.Contains(stream, ".content") && strings.Contains(string(b), `"id":"exc_a_0"`)
			}
		},
		"erased before it was shipped": func(r *rig) {
			if _, err := r.j.Erase(r.t.Context(), journal.Subject{Session: "a"}, pipeline.Person{User: "ada"}, "asked"); err != nil {
				r.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.turn("a", 0)
			lose(r)
			r.start()
			r.shipped()
			r.stop()
			r.start() // what is missing is known after a start too
			r.turn("a", 1)
			r.turn("a", 2)
			r.shipped()
			r.wantForms("exc_a_1 2", "exc_a_2 1 exc_a_1")
		})
	}
}

func TestWholeAt(t *testing.T) {
	forms := []formFrom{{0, 0, true}, {2, 10, false}, {3, 5, true}}
	for _, c := range []struct {
		generation, sequence uint64
		want                 bool
	}{{1, 1, true}, {2, 10, true}, {2, 11, false}, {3, 5, false}, {3, 6, true}, {4, 1, true}} {
		if got := wholeAt(forms, c.generation, c.sequence); got != c.want {
			t.Errorf("record %d of generation %d: %v", c.sequence, c.generation, got)
		}
	}
	if wholeAt(nil, 1, 1) {
		t.Error("whole, and nobody asked for it")
	}
}
