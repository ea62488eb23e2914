// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"encoding/json"
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

// rig is a journal and an archive.
type rig struct {
	t    testing.TB
	dir  string
	j    *journal.Journal
	a    *Archive
	base time.Time
	n    int
}

func newRig(t testing.TB) *rig {
	r := &rig{t: t, dir: t.TempDir(), base: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	if r.j, err = journal.Open(journal.Options{Dir: filepath.Join(r.dir, "journal"), EventDelay: time.Microsecond}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.j.Close() })
	r.open(Options{})
	return r
}

func (r *rig) open(o Options) {
	r.t.Helper()
	o.Path = filepath.Join(r.dir, "archive.db")
	if o.Now == nil {
		o.Now = func() time.Time { return r.base.Add(24 * time.Hour) }
	}
	a, err := Open(r.t.Context(), o)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = a.Close() })
	r.a = a
}

// x is one exchange.
type x struct {
	session, user, unit, model string
	prompts                    []string
	answer                     string
	tool, args                 string
	action                     pipeline.Action
	rule                       string
	masks                      int
	after                      time.Duration // since the base
	parent                     string
	key                        string
	in, out                    int64
}

func (r *rig) write(list ...x) {
	r.t.Helper()
	var last <-chan error
	for _, v := range list {
		r.n++
		id, at := fmt.Sprintf("exc_%d", r.n), r.base.Add(v.after)
		in := &pipeline.Intent{Scope: "agents", Mode: pipeline.ModeEnforce, Workload: pipeline.Workload{PID: 7, UID: 1000, Unit: v.unit, Exe: "/usr/bin/python3"},
			Principal: pipeline.Principal{User: v.user, SPIFFEID: "spiffe://example.org/" + v.unit}, Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com"},
			Call: pipeline.Call{Operation: pipeline.OpChat, Model: v.model}, Parent: v.parent, Credential: v.key, BodyBytes: 400}
		for i, p := range v.prompts {
			in.Call.Steps = append(in.Call.Steps, pipeline.Step{Kind: pipeline.StepPrompt, Text: p, Index: i})
		}
		r.j.Append(pipeline.Record{Kind: pipeline.KindIntent, Time: at, Session: v.session, Exchange: id, Body: in})
		verdict := pipeline.Verdict{Action: v.action, Rule: v.rule, Stage: "toolCall"}
		if v.action != pipeline.Allow {
			r.j.Append(pipeline.Record{Kind: pipeline.KindDecision, Time: at, Session: v.session, Exchange: id,
				Body: &pipeline.Decision{ID: "dec_" + id, Verdict: verdict, Mode: in.Mode, Enforced: true}})
		}
		o := &pipeline.Outcome{Status: 200, Text: v.answer, Verdict: verdict, Enforced: true}
		if v.in > 0 {
			o.Usage = pipeline.Usage{InputTokens: &v.in, OutputTokens: &v.out}
		}
		if v.tool != "" {
			o.Tools = []pipeline.Step{{Kind: pipeline.StepToolCall, Name: v.tool, Args: json.RawMessage(v.args)}}
		}
		for range v.masks {
			o.Masks = append(o.Masks, pipeline.Mask{Type: "EMAIL", Fingerprint: "ab12"})
		}
		_, last = r.j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Time: at.Add(time.Second), Session: v.session, Exchange: id, Body: o})
	}
	if err := <-last; err != nil {
		r.t.Fatal(err)
	}
}

// follow feeds the archive until it has so many exchanges.
func (r *rig) follow(want int64) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.a.Follow(ctx, r.j) }()
	for {
		s, err := r.a.Stats(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		if s.Exchanges >= want {
			break
		}
		select {
		case err := <-done:
			r.t.Fatalf("following ended with %d of %d exchanges: %v", s.Exchanges, want, err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) find(query string) string {
	r.t.Helper()
	q, err := Parse(query, r.base.Add(24*time.Hour))
	if err != nil {
		return err.Error()
	}
	p, err := r.a.Search(r.t.Context(), q, 0, 100)
	if err != nil {
		return err.Error()
	}
	var ids []string
	for _, h := range p.Hits {
		ids = append(ids, strings.TrimPrefix(h.Exchange, "exc_"))
	}
	return strings.Join(ids, " ")
}

func samples() []x {
	return []x{
		{session: "ses_a", user: "ann", unit: "support.service", model: "gpt-4o", prompts: []string{"please make a wire transfer"}, answer: "Transfers by wire are not for me.", in: 10, out: 5, key: "k1"},
		{session: "ses_b", user: "bob", unit: "ops.service", model: "gpt-4o-mini", prompts: []string{"clean the disk"}, tool: "shell", args: `{"cmd":"rm -rf \u00fcber/x"}`,
			action: pipeline.Deny, rule: "guardrail/no-shell", after: time.Minute, in: 1000, out: 5, key: "k1"},
		{session: "ses_a", user: "ann", unit: "support.service", model: "gpt-4o", prompts: []string{"please make a wire transfer", "Transfers by wire are not for me.", "why not?"},
			answer: "Ask a person.", masks: 2, action: pipeline.Transform, rule: "builtin/mask", after: 2 * time.Minute, parent: "exc_1", key: "k2"},
		{session: "ses_c", user: "", unit: "", model: "claude", prompts: []string{"caf\u00e9 na\u00efve \x00 nul"}, answer: "ok", after: 20 * time.Hour},
	}
}

func TestSearch(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	for _, c := range []struct{ query, want string }{
		{"", "4 3 2 1"},
		{"transfer", "1"}, // what is said again is found where it was new
		{`"wire transfer"`, "1"},
		{`"transfer wire"`, ""},
		{"transf*", "1"},
		{"WIRE", "1"},
		{"not", "3 1"}, // in what was asked, and in what was answered
		{"-not", "4 2"},
		{"principal:ann", "3 1"},
		{"principal:ANN why", "3"},
		{"principal:spiffe://example.org/ops.service", "2"},
		{"principal:*ops*", "2"},
		{"principal:*", "4 3 2 1"}, // all have a SPIFFE ID here
		{"principal:x*", ""},
		{"-principal:ann", "4 2"},
		{"tool:shell verdict:deny", "2"},
		{`tool:shell verdict:deny "rm rf" since:24h`, "2"},
		{"über", "2"},
		{"uber", "2"}, // accents do not matter
		{"cafe", "4"},
		{"nul", "4"},
		{"is:denied", "2"},
		{"is:masked", "3"},
		{"is:estimated", "4 3"},
		{"mask:email", "3"},
		{"fingerprint:ab12", "3"},
		{"masks:>0", "3"},
		{"tokens:>1000", "2"},
		{"tokens:<=15", "1"},
		{"-tokens:<=1000", "2"},
		{"status:200 model:gpt-4o*", "3 2 1"},
		{"rule:guardrail/*", "2"},
		{"since:5h", "4"},
		{"until:5h", "3 2 1"},
		{"since:2026-03-01T12:01:00Z until:2026-03-01T12:02:00Z", "2"},
		{"session:ses_a", "3 1"},
		{"exchange:exc_2", "2"},
		{"workload:support.service -is:masked", "1"},
		{`model:"gpt-4o"`, "3 1"},
		{"bogus:1", `the query cannot be read: there is no field "bogus"`},
		{"tool:", "the query cannot be read: tool: has no value"},
		{"session:s*", "the query cannot be read: session: has too many values"},
		{`"open`, `the query cannot be read: a " has no other end`},
		{"tokens:many", "the query cannot be read: tokens:many: want a number"},
		{"since:soon", `the query cannot be read: "soon" is no time`},
		{"since:1h until:2h", "the query cannot be read: since is not before until"},
		{"!!!", `the query cannot be read: "!!!" has no word in it`},
	} {
		if got := r.find(c.query); got != c.want && (c.want == "" || !strings.HasPrefix(got, c.want) || !strings.HasPrefix(c.want, "the ")) {
			t.Errorf("%s: found %q, want %q", c.query, got, c.want)
		}
	}
}

func TestHit(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	hits, err := r.a.Of(t.Context(), "ses_b")
	if err != nil || len(hits) != 1 {
		t.Fatal(hits, err)
	}
	h := hits[0]
	if h.Records.Outcome == (pipeline.Position{}) || len(h.Records.Decisions) != 1 {
		t.Errorf("records %+v", h.Records)
	}
	l := journal.NewLoader(r.j.Dir())
	defer l.Close()
	p, err := l.Load(&h.Records)
	if err != nil || p.Intent.Call.Steps[0].Text != "clean the disk" || p.Outcome.Tools[0].Name != "shell" {
		t.Errorf("%+v, %v", p, err)
	}
	h.Records, h.n = journal.Refs{}, 0
	got, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"exchange_id":"exc_2","session_id":"ses_b","time":"2026-03-01T12:01:00Z","principal":"spiffe://example.org/ops.service","user":"bob","tenant":"agents","workload":"ops.service",` +
		`"uid":1000,"scope":"agents","mode":"enforce","endpoint":"openai","operation":"chat","model":"gpt-4o-mini","tools":"shell","action":"deny","rule":"guardrail/no-shell","enforced":true,` +
		`"status":200,"masked":0,"input_tokens":1000,"output_tokens":5,"cached_tokens":0,"estimated":false}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := r.a.Of(t.Context(), "ses_zz"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown session: %v", err)
	}
}

// TestPages: all exchanges, and all sessions, come once, also those that began in one microsecond.
func TestPages(t *testing.T) {
	r := newRig(t)
	var list []x
	for i := range 500 {
		list = append(list, x{session: fmt.Sprintf("ses_%d", i%7+i/100*10), user: "u", unit: "s", model: "m", prompts: []string{"word"}, after: time.Duration(i/50) * time.Second})
	}
	r.write(list...)
	r.follow(500)
	q, err := Parse("word", r.base)
	if err != nil {
		t.Fatal(err)
	}
	seen, before := map[string]bool{}, int64(0)
	for {
		p, err := r.a.Search(t.Context(), q, before, 33)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range p.Hits {
			if seen[h.Exchange] {
				t.Fatalf("%s comes twice", h.Exchange)
			}
			seen[h.Exchange] = true
		}
		if before = p.Next; before == 0 {
			break
		}
	}
	if len(seen) != 500 {
		t.Errorf("%d exchanges, want 500", len(seen))
	}
	var ids []string
	for before = 0; ; {
		list, next, err := r.a.Sessions(t.Context(), q, before, 3)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, s := range list {
			if slices.Contains(ids, s.ID) {
				t.Fatalf("%s comes twice", s.ID)
			}
			ids = append(ids, s.ID)
			total += s.Exchanges
			if s.Exchanges < 14 || s.Newest.Session != s.ID || s.Last.Before(s.Started) {
				t.Errorf("%+v", s)
			}
		}
		if before = next; before == 0 {
			break
		}
	}
	if len(ids) != 35 {
		t.Errorf("%d sessions, want 35", len(ids))
	}
}

// TestResume: an archive that is closed and opened again goes on where it was, and has each exchange once.
func TestResume(t *testing.T) {
	r := newRig(t)
	all := samples()
	r.write(all[:2]...)
	r.follow(2)
	if err := r.a.Close(); err != nil {
		t.Fatal(err)
	}
	r.write(all[2:]...)
	r.open(Options{})
	r.follow(4)
	if got := r.find(""); got != "4 3 2 1" {
		t.Errorf("found %s", got)
	}
	if s, err := r.a.Stats(t.Context()); err != nil || s.Exchanges != 4 || s.Sessions != 3 || s.Bytes == 0 || !s.Oldest.Equal(r.base) {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestDamagedFile: an archive that cannot be read is made anew from the journal.
func TestDamagedFile(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(path string) error
	}{
		{"no database", func(p string) error { return os.WriteFile(p, []byte("this is not a database at all, but text"), 0o600) }},
		{"of another version", func(p string) error {
			a, err := Open(context.Background(), Options{Path: p})
			if err != nil {
				return err
			}
			_, err = a.write.Exec("PRAGMA user_version = 99")
			return errors.Join(err, a.Close())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.write(samples()...)
			r.follow(4)
			if err := r.a.Close(); err != nil {
				t.Fatal(err)
			}
			if err := c.harm(filepath.Join(r.dir, "archive.db")); err != nil {
				t.Fatal(err)
			}
			r.open(Options{})
			r.follow(4)
			if got := r.find("transfer"); got != "1" {
				t.Errorf("found %q", got)
			}
		})
	}
}

// TestOtherJournal: what was read from another journal does not stay.
func TestOtherJournal(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	if err := r.j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(r.j.Dir()); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.j, err = journal.Open(journal.Options{Dir: filepath.Join(r.dir, "journal"), EventDelay: time.Microsecond}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.j.Close() })
	r.n = 50
	r.write(samples()[:1]...)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { _ = r.a.Follow(ctx, r.j) }()
	for r.find("") != "51" && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if got := r.find(""); got != "51" {
		t.Errorf("found %q", got)
	}
}

func TestRebuild(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	if err := r.j.Close(); err != nil {
		t.Fatal(err)
	}
	told := 0
	for range 2 {
		if err := r.a.Rebuild(t.Context(), r.j.Dir(), func(n int) { told = n }); err != nil {
			t.Fatal(err)
		}
		if got := r.find(""); got != "4 3 2 1" || told != 4 {
			t.Errorf("found %q, told %d", got, told)
		}
	}
}

func TestExpireAndForget(t *testing.T) {
	r := newRig(t)
	if err := r.a.Close(); err != nil {
		t.Fatal(err)
	}
	r.open(Options{Retain: 24*time.Hour - 90*time.Second}) // it is a day after the base
	r.write(samples()...)
	r.follow(4)
	if n, err := r.a.Expire(t.Context()); n != 2 || err != nil {
		t.Errorf("%d expired, %v", n, err)
	}
	if got := r.find(""); got != "4 3" {
		t.Errorf("found %q", got)
	}
	if n, err := r.a.Forget(t.Context(), "ses_a"); n != 1 || err != nil {
		t.Errorf("%d forgotten, %v", n, err)
	}
	for _, q := range []string{"why", "is:masked", "session:ses_a"} {
		if got := r.find(q); got != "" {
			t.Errorf("%s: found %q", q, got)
		}
	}
	if s, err := r.a.Stats(t.Context()); err != nil || s.Sessions != 1 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestUsage(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	q, err := Parse("principal:ann", r.base)
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.a.Usage(t.Context(), q, true)
	if err != nil || len(got) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	// The second exchange did not say: 400 bytes asked and 13 answered, at four a token.
	if u := got[0]; u != (Usage{"2026-03-01", "spiffe://example.org/support.service", "ann", "agents", "openai", "gpt-4o", 2, 110, 8, 0, 1}) {
		t.Errorf("%+v", u)
	}
	keys, err := r.a.SharedKeys(t.Context(), time.Time{})
	if err != nil || len(keys) != 1 || keys[0].Credential != "k1" || strings.Join(keys[0].Workloads, " ") != "ops.service support.service" || keys[0].Exchanges != 2 {
		t.Errorf("%+v, %v", keys, err)
	}
	if keys, err = r.a.SharedKeys(t.Context(), r.base.Add(time.Hour)); err != nil || len(keys) != 0 {
		t.Errorf("%+v, %v", keys, err)
	}
}

func TestDeadline(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	r.a.o.Deadline = time.Nanosecond
	if got := r.find("word"); got != ErrDeadline.Error() {
		t.Errorf("%s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`principal:a* tool:shell -verdict:deny "wire \"x\" transfer" since:24h`, `-"`, `tokens:>=3`, `a:b:c`, `*`, `"" x`, "text : \x00 NEAR(a)", `since:2026-01-01T00:00:00Z`} {
		f.Add(s)
	}
	r := newRig(f)
	now := r.base
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(s, now)
		if err != nil {
			var want *QueryError
			if !errors.As(err, &want) {
				t.Fatalf("%q: %v is no QueryError", s, err)
			}
			return
		}
		if _, err := r.a.Search(context.Background(), q, 0, 1); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
