// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

var auditor = pipeline.Person{User: "ada", UID: 1001, Source: "socket"}

// by is a turn of a session of somebody.
func by(user, session string, n int) pipeline.Record {
	r, _ := turn(session, n)
	r.Body.(*pipeline.Intent).Principal = pipeline.Principal{SPIFFEID: "spiffe://example.org/" + user, User: user}
	return r
}

// states are the contents of the intents of each session.
func states(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, e := range entries(t, dir) {
		if e.Kind == pipeline.KindIntent {
			state := must(e.Content())
			if state == "" {
				state = "here"
			}
			if !strings.Contains(out[e.Session], state) {
				out[e.Session] = strings.TrimSpace(out[e.Session] + " " + state)
			}
		}
	}
	return out
}

// admins are the bodies of the admin records with an action.
func admins[T any](t testing.TB, dir, action string) (out []T) {
	t.Helper()
	for _, e := range entries(t, dir) {
		var a struct {
			Action string `json:"action"`
		}
		if e.Kind != pipeline.KindAdmin || e.Decode(&a) != nil || a.Action != action {
			continue
		}
		var v T
		if err := e.Decode(&v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

func TestEraseSubjects(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	closeJournal(t, func() *Journal { // content of an earlier start is erased too
		j := open(t, options(t, dir))
		put(t, j, by("mallory", "ses_0", 0))
		return j
	}())
	o := options(t, dir)
	o.Index = NewIndex(0)
	j := open(t, o)
	for n := range 2 {
		for i, user := range []string{"mallory", "mallory", "bob"} {
			put(t, j, by(user, fmt.Sprint("ses_", i+1), n))
		}
	}
	put(t, j, pipeline.Record{Kind: pipeline.KindOutcome, Session: "ses_1", Exchange: "exc_ses_1_0", Body: &pipeline.Outcome{Text: "secret words", Usage: pipeline.Usage{}}})

	if _, err := j.Find(ctx, Subject{Session: "ses_9"}); !errors.Is(err, ErrNothing) {
		t.Errorf("of no session: %v", err)
	}
	if _, err := j.Find(ctx, Subject{Session: "a", Principal: "b"}); err == nil {
		t.Error("both a session and a principal")
	}
	e, err := j.Erase(ctx, Subject{Session: "ses_1"}, auditor, "asked by the person")
	if err != nil || e.Keys != 1 || e.Sessions != 1 {
		t.Fatalf("%+v %v", e, err)
	}
	if got := states(t, dir); got["ses_1"] != ContentErased || got["ses_2"] != "here" || got["ses_0"] != "here" {
		t.Errorf("contents %v", got)
	}
	p, err := o.Index.Exchange("exc_ses_1_0")
	if err != nil || p.Content != ContentErased || p.Outcome.Text != "" || p.Intent.Body != nil || p.Document().Content != ContentErased {
		t.Errorf("by the index: %+v %v", p, err)
	}
	found, err := j.Find(ctx, Subject{Principal: "mallory"})
	if err != nil || found.Keys != 2 || found.Sessions != 3 {
		t.Fatalf("%+v %v", found, err)
	}
	e, err = j.Erase(ctx, Subject{Principal: "spiffe://example.org/mallory"}, auditor, "")
	if err != nil || e.Keys != 2 || e.Digest != found.Digest {
		t.Fatalf("%+v %v", e, err)
	}
	if got := states(t, dir); got["ses_0"] != ContentErased || got["ses_2"] != ContentErased || got["ses_3"] != "here" {
		t.Errorf("contents %v", got)
	}
	put(t, j, by("mallory", "ses_2", 2)) // it goes on
	if got := states(t, dir); got["ses_2"] != "erased here" {
		t.Errorf("contents %v", got)
	}
	for _, action := range []string{ActionErase, ActionErased} {
		if got := admins[Erasure](t, dir, action); len(got) != 2 || got[0].By.User != "ada" || got[0].Reason == "" || got[1].Sessions != 3 || len(got[1].List) != 3 {
			t.Errorf("%s: %+v", action, got)
		}
	}
	closeJournal(t, j)
	if rep := verified(t, dir); rep.Erased == 0 || rep.NoKey != 0 {
		t.Errorf("report %+v", rep)
	}
}

// An erasure that cannot be recorded does not happen.
func TestErasureThatCannotBeRecorded(t *testing.T) {
	dir := t.TempDir()
	j := open(t, options(t, dir))
	put(t, j, by("bob", "ses_1", 0))
	j.mu.Lock()
	j.sync = func(*os.File, int) error { return errors.New("broken disk") }
	j.mu.Unlock()
	if _, err := j.Erase(context.Background(), Subject{Session: "ses_1"}, auditor, ""); err == nil || !strings.Contains(err.Error(), "not begun") {
		t.Errorf("got %v", err)
	}
	if got := states(t, dir); got["ses_1"] != "here" {
		t.Errorf("contents %v", got)
	}
}

// A hold keeps content from being erased and from expiring, also after starts and over segments, until it is released.
func TestHolds(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := options(t, dir)
	o.Now = func() time.Time { return now }
	j := open(t, o)
	for _, user := range []string{"mallory", "bob"} {
		put(t, j, by(user, "ses_"+user, 0))
		put(t, j, by(user, "ses_"+user+"2", 0))
	}
	must(j.AddHold(Subject{Principal: "mallory"}, auditor, "case 7"))
	must(j.AddHold(Subject{Session: "ses_bob"}, auditor, "case 8"))
	if _, err := j.AddHold(Subject{Session: "ses_bob"}, auditor, "again"); !errors.Is(err, ErrHold) {
		t.Error("the same hold twice")
	}
	if _, err := j.AddHold(Subject{Session: "ses_x"}, auditor, ""); err == nil {
		t.Error("a hold without a reason")
	}
	for i := range 300 { // some segments
		put(t, j, event("exc_1", i, strings.Repeat("x", 800)))
	}
	for range 2 { // some starts
		closeJournal(t, j)
		j = open(t, o)
	}
	if got := j.Holds(); len(got) != 2 || got[0].Reason != "case 7" || got[0].By.User != "ada" {
		t.Fatalf("holds %+v", got)
	}
	for _, s := range []Subject{{Session: "ses_bob"}, {Session: "ses_mallory"}, {Principal: "bob"}, {Principal: "mallory"}} {
		if _, err := j.Erase(ctx, s, auditor, ""); !errors.Is(err, ErrHeld) {
			t.Errorf("%s: %v", s, err)
		}
	}
	now = now.Add(100 * 24 * time.Hour)
	if x, err := j.Expire(ctx, Retention{Content: 24 * time.Hour, Metadata: 48 * time.Hour}, 0); err != nil || x.Keys == 0 || x.Segments != 0 {
		t.Errorf("expired %+v %v", x, err)
	}
	if got := states(t, dir); got["ses_bob"] != "here" || got["ses_mallory"] != "here" || got["ses_mallory2"] != "here" || got["ses_bob2"] != ContentErased {
		t.Errorf("contents %v", got)
	}
	if _, err := j.ReleaseHold(Subject{Session: "ses_bob"}, auditor, "closed"); err != nil {
		t.Fatal(err)
	}
	if _, err := j.ReleaseHold(Subject{Session: "ses_bob"}, auditor, "closed"); err == nil {
		t.Error("released twice")
	}
	closeJournal(t, j)
	j = open(t, o)
	if _, err := j.Erase(ctx, Subject{Session: "ses_bob"}, auditor, ""); err != nil || len(j.Holds()) != 1 {
		t.Errorf("after the release: %v, %+v", err, j.Holds())
	}
	if h, r := admins[HoldChange](t, dir, ActionHold), admins[HoldChange](t, dir, ActionRelease); len(h) != 2 || len(r) != 1 || r[0].Reason != "closed" {
		t.Errorf("records %+v %+v", h, r)
	}
	closeJournal(t, j)
	verified(t, dir)
}

// What is due goes, on record: first keys, then whole segments, oldest first. Verify does not call it a gap.
func TestExpire(t *testing.T) {
	const day = 24 * time.Hour
	ctx := context.Background()
	dir := t.TempDir()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	o := options(t, dir)
	o.Now, o.Index = func() time.Time { return now }, NewIndex(0)
	j := open(t, o)
	for d := range 10 {
		for n := range 3 {
			r := by("bob", fmt.Sprint("ses_", d), n)
			r.Time = now
			put(t, j, r)
		}
		if d == 4 {
			closeJournal(t, j)
			j = open(t, o)
		}
		for i := range 80 {
			r := event("exc_1", i, strings.Repeat("x", 800))
			r.Time, r.Session = now, fmt.Sprint("ses_", d)
			put(t, j, r)
		}
		now = now.Add(day)
	}
	before := verified(t, dir)
	keep := Retention{Content: 2 * day, Metadata: 5 * day}
	x, err := j.Expire(ctx, keep, 0)
	if err != nil || x.Keys != 8 || x.Segments == 0 {
		t.Fatalf("expired %+v %v", x, err)
	}
	rep := verified(t, dir)
	if rep.First != uint64(x.Segments)+1 || rep.Expired != rep.First-1 || rep.Unrecorded() || rep.Erased == 0 || rep.Segments >= before.Segments {
		t.Errorf("report %+v", rep)
	}
	if !rep.From.After(start.Add(3 * day)) {
		t.Errorf("the oldest record is of %s", rep.From)
	}
	if _, err := o.Index.Exchange("exc_ses_0_0"); !errors.Is(err, ErrNotFound) {
		t.Errorf("the index still has an exchange that is gone: %v", err)
	}
	if again, err := j.Expire(ctx, keep, 0); err != nil || again != (Expired{}) {
		t.Errorf("again: %+v %v", again, err)
	}
	now = now.Add(400 * day)
	needed := rep.First + 2
	if x, err := j.Expire(ctx, keep, needed); err != nil || x.Segments != 2 {
		t.Errorf("with segments that somebody needs: %+v %v", x, err)
	}
	closeJournal(t, j)
	j = open(t, o)
	put(t, j, by("bob", "ses_new", 0))
	if _, err := j.Expire(ctx, keep, 0); err != nil {
		t.Fatal(err)
	}
	closeJournal(t, j)
	if rep := verified(t, dir); rep.Unrecorded() || rep.Generations != 2 { // what administrators did is kept for good
		t.Errorf("report %+v", rep)
	}
	if got := admins[Expiry](t, dir, ActionExpireSegments); len(got) < 2 || got[0].First != 1 || len(got[0].Removed) == 0 {
		t.Errorf("records %+v", got)
	}

	// Who takes segments away by hand leaves no record of it.
	if err := os.Remove(segmentPath(dir, verified(t, dir).First)); err != nil {
		t.Fatal(err)
	}
	if rep := verified(t, dir); !rep.Unrecorded() {
		t.Errorf("report %+v", rep)
	}
}

// Admin records have a retention of their own, and a segment stays while it holds one that is not due.
func TestExpireKeepsAdmin(t *testing.T) {
	const day = 24 * time.Hour
	dir := t.TempDir()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o := options(t, dir)
	o.Now = func() time.Time { return now }
	j := open(t, o)
	put(t, j, pipeline.Record{Kind: pipeline.KindAdmin, Body: json.RawMessage(`{"action":"x"}`)})
	closeJournal(t, j)
	j = open(t, o)
	now = now.Add(100 * day)
	for _, tt := range []struct {
		admin time.Duration
		want  int
	}{{0, 0}, {365 * day, 0}, {50 * day, 1}} {
		x, err := j.Expire(context.Background(), Retention{Metadata: day, Admin: tt.admin}, 0)
		if err != nil || x.Segments != tt.want {
			t.Errorf("admin records kept for %s: %+v %v", tt.admin, x, err)
		}
	}
	closeJournal(t, j)
	verified(t, dir)
}
