// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
