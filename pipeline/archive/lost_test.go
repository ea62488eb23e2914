// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// generation closes the journal and opens it again: what is written then is in another segment.
func (r *rig) generation() {
	r.t.Helper()
	if err := r.j.Close(); err != nil {
		r.t.Fatal(err)
	}
	var err error
	if r.j, err = journal.Open(journal.Options{Dir: filepath.Join(r.dir, "journal"), EventDelay: time.Microsecond}); err != nil {
		r.t.Fatal(err)
	}
	j := r.j
	r.t.Cleanup(func() { _ = j.Close() })
}

// TestLost: what began in segments that the journal does not have any more is forgotten, however much it is, and nothing else; also behind an
// exchange that goes on into a segment that is there, and around one that began there.
func TestLost(t *testing.T) {
	r := newRig(t)
	ask := func(session string, after time.Duration) x {
		return x{session: session, user: "u", unit: "s", model: "m", prompts: []string{"word"}, answer: "a", after: after}
	}
	segment := func(n int) string { return filepath.Join(r.j.Dir(), fmt.Sprintf("%016d.segment", n)) }
	kept := func() string {
		t.Helper()
		ids := strings.Fields(r.find("word"))
		slices.Sort(ids)
		return strings.Join(ids, " ")
	}
	lose := func() {
		t.Helper()
		if err := r.a.lost(t.Context(), r.j.Dir()); err != nil {
			t.Fatal(err)
		}
	}
	// Segment 1: what began first ends in segment 2; and more than are looked at at a time.
	r.j.Append(pipeline.Record{Kind: pipeline.KindIntent, Time: r.base.Add(-time.Hour), Session: "ses_long", Exchange: "exc_long",
		Body: &pipeline.Intent{Call: pipeline.Call{Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "word"}}}}})
	for i := range 2*lostBatch + 10 {
		r.write(ask("ses_first", time.Duration(i)*time.Millisecond))
	}
	r.write(ask("ses_both", 3*time.Second))
	r.generation()
	_, durable := r.j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Time: r.base, Session: "ses_long", Exchange: "exc_long", Body: &pipeline.Outcome{Status: 200}})
	if err := <-durable; err != nil {
		t.Fatal(err)
	}
	r.n = 5000
	r.write(ask("ses_both", 4*time.Second), ask("ses_second", 5*time.Second))
	r.generation()
	r.n = 6000
	r.write(ask("ses_third", 6*time.Second))
	r.follow(2*lostBatch + 15)
	lose()
	if st, err := r.a.Stats(t.Context()); err != nil || st.Exchanges != 2*lostBatch+15 || st.Sessions != 5 {
		t.Fatalf("nothing is lost, and %+v is left, %v", st, err)
	}
	if err := os.Remove(segment(1)); err != nil {
		t.Fatal(err)
	}
	lose()
	if got := kept(); got != "5001 5002 6001" {
		t.Errorf("without segment 1: %q", got)
	}
	if st, err := r.a.Stats(t.Context()); err != nil || st.Exchanges != 3 || st.Sessions != 3 {
		t.Errorf("%+v, %v", st, err)
	}
	if hits, err := r.a.Of(t.Context(), "ses_both"); err != nil || len(hits) != 1 {
		t.Errorf("of a session that is lost in part: %v %v", hits, err)
	}
	for _, id := range []string{"ses_first", "ses_long", "exc_long"} {
		if _, err := r.a.Of(t.Context(), id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if err := os.Remove(segment(2)); err != nil {
		t.Fatal(err)
	}
	lose()
	if got := kept(); got != "6001" {
		t.Errorf("without segment 2: %q", got)
	}
	if err := os.Remove(segment(3)); err != nil {
		t.Fatal(err)
	}
	lose()
	lose() // there is nothing to look at
	if got := kept(); got != "" {
		t.Errorf("without anything: %q", got)
	}
}

// TestPagesOfSessions: over pages of any size, also of one and of a filter that is sifted, sessions come once each and in the order of their newest
// exchanges, whatever is added to them meanwhile.
func TestPagesOfSessions(t *testing.T) {
	for _, size := range []int{1, 4, 9} {
		for _, query := range []string{"", "principal:u*", "-model:other"} {
			t.Run(fmt.Sprintf("%d %s", size, query), func(t *testing.T) {
				r := newRig(t)
				var want []string
				for i := range 40 {
					v := x{session: fmt.Sprintf("ses_%d", i*i%11), user: fmt.Sprintf("u%d", i), unit: "s", model: "m", prompts: []string{"word"}, answer: "a", after: time.Duration(i) * time.Second}
					r.write(v)
					want = append(slices.DeleteFunc(want, func(id string) bool { return id == v.session }), v.session)
				}
				slices.Reverse(want)
				r.follow(40)
				q, err := Parse(query, r.base)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				n := int64(40)
				for before := int64(0); ; {
					list, next, err := r.a.Sessions(t.Context(), q, before, size)
					if err != nil || len(list) > size {
						t.Fatal(len(list), err)
					}
					for _, s := range list {
						got = append(got, s.ID)
					}
					if before = next; before == 0 {
						break
					}
					r.write(x{session: want[len(want)-1], user: "u", unit: "s", model: "m", prompts: []string{"word"}, after: 30 * time.Second}, // in between
						x{session: "ses_new", user: "u", unit: "s", model: "m", prompts: []string{"word"}, after: time.Hour}) // before all
					n += 2
					r.follow(n)
				}
				// The last one is, once something newer was added to it, where that is: on a page that may have been given already.
				got, want = slices.DeleteFunc(got, func(id string) bool { return id == want[len(want)-1] }), want[:len(want)-1]
				if !slices.Equal(got, want) {
					t.Errorf("got  %q\nwant %q", got, want)
				}
			})
		}
	}
}

// TestKnown: sessions by their IDs.
func TestKnown(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	got, err := r.a.Known(t.Context(), []string{"ses_a", "ses_b", `ses_"'`, "ses_zz"})
	if err != nil || len(got) != 2 || got["ses_a"].Exchanges != 2 || got["ses_a"].Masked != 2 || got["ses_b"].Denied != 1 || !got["ses_a"].Started.Equal(r.base) || !got["ses_a"].Last.Equal(r.base.Add(2*time.Minute)) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := r.a.Known(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
