// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

const deskPolicy = `apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: support}
spec: {rules: [{endpoints: [openai], operations: [chat], models: ["gpt-4o-mini"], tools: [search, delete]}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: writer}
spec: {rules: [{endpoints: [openai], operations: [chat], models: ["gpt-4o-mini"], tools: [write]}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: everything}
spec: {rules: [{endpoints: ["*"], operations: ["*"], models: ["*"], tools: ["*"]}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: support}
spec: {role: support, subjects: [{unit: app.service}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: ask}
spec:
  on: [toolCall]
  match: {tools: [delete]}
  action: hold
  message: somebody has to look
  approval: {groups: [owners], approvers: 2, timeout: 5m, escalation: [{after: 1m, groups: [leads]}], scope: [once, session]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: plain}
spec: {on: [toolCall], match: {tools: [write]}, action: hold, message: ask}
`

// deskDaemon is a daemon of which only what the desk needs is there.
func deskDaemon(t *testing.T, edit ...func(*config.Config)) *daemon {
	t.Helper()
	dir := t.TempDir()
	cfg := config.Default()
	cfg.Policy.Dir, cfg.Record.Dir, cfg.Mask.KeyFile = filepath.Join(dir, "policy.d"), filepath.Join(dir, "journal"), filepath.Join(dir, "mask.key")
	if err := errors.Join(os.Mkdir(cfg.Policy.Dir, 0o755), os.WriteFile(filepath.Join(cfg.Policy.Dir, "p.yaml"), []byte(deskPolicy), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, e := range edit {
		e(cfg)
	}
	d := &daemon{cfg: cfg, Options: Options{Log: slog.New(slog.DiscardHandler)}}
	if err := d.openPolicy(t.Context()); err != nil {
		t.Fatal(err)
	}
	openDesk(t, d)
	return d
}

// openDesk opens journal and desk, as a start does.
func openDesk(t *testing.T, d *daemon) {
	t.Helper()
	var err error
	d.index = journal.NewIndex(0)
	if d.journal, err = journal.Open(journal.Options{Dir: d.cfg.Record.Dir, Index: d.index, SegmentBytes: 1 << 16}); err == nil {
		err = d.openDesk(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	j := d.journal
	t.Cleanup(func() { _ = j.Close() }) // closed already where a test starts anew
}

func caller() *pipeline.Meta {
	return &pipeline.Meta{Session: "ses_1", Exchange: "exc_1", Mode: pipeline.ModeEnforce, Scope: "agents", Start: time.Now(),
		Workload:  pipeline.Workload{PID: 7, Unit: "app.service", UID: 1000, LoginUID: 1000},
		Principal: pipeline.Principal{SPIFFEID: "spiffe://example.org/unit/app", User: "ada"},
		Endpoint:  pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443}}
}

// holdOne holds a call of the tool delete until ctx ends, and returns once it waits.
func holdOne(t *testing.T, d *daemon, path string) (adminapi.Approval, <-chan pipeline.Verdict) {
	t.Helper()
	step := pipeline.Step{Kind: pipeline.StepToolCall, Name: "delete", ID: "call_1", Args: json.RawMessage(`{"path":"` + path + `"}`)}
	v := d.policy.Decide(caller(), &pipeline.Call{Operation: "chat", Model: "gpt-4o-mini"}, &step)
	if v.Action != pipeline.Hold {
		t.Fatalf("%+v", v)
	}
	feed := d.desk.Changes()
	defer feed.Close()
	got := make(chan pipeline.Verdict, 1)
	ctx := t.Context()
	go func() {
		v, err := d.desk.Wait(ctx, &pipeline.Held{Meta: caller(), Call: &pipeline.Call{Operation: "chat", Model: "gpt-4o-mini"}, Step: &step, Raw: step.Args,
			Use: "exc_1#" + path, Verdict: v, Decision: "dec_1"})
		if err != nil {
			v = pipeline.Verdict{Action: pipeline.Deny, Reason: err.Error()}
		}
		got <- v
	}()
	c, err := feed.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	a, err := console{d}.Approval(ctx, c.Item.ID)
	if err != nil {
		t.Fatal(err)
	}
	return a, got
}

func human(uid uint32, name string, groups ...string) admin.Person {
	return admin.Person{Peer: admin.Peer{UID: uid, PID: 1}, ID: uid, Login: true, User: name, Groups: groups}
}

func TestApprovalSettings(t *testing.T) {
	d := deskDaemon(t, func(c *config.Config) {
		c.Approvals.Groups, c.Approvals.Elevation.Groups = []string{"everyone"}, []string{"leads"}
	})
	for rule, want := range map[string]pipeline.ApprovalSettings{
		"guardrail/ask": {Approvers: []string{"owners"}, Minimum: 2, Timeout: 5 * time.Minute, MaxFor: 8 * time.Hour,
			Escalate: []pipeline.ApprovalEscalation{{After: time.Minute, Groups: []string{"leads"}}}},
		"guardrail/plain": {Approvers: []string{"everyone"}, Minimum: 1, Timeout: 10 * time.Minute, MaxFor: 8 * time.Hour, Once: true},
		"role/writer":     {Approvers: []string{"leads"}, Minimum: 1, Timeout: time.Hour, MaxFor: 8 * time.Hour},
	} {
		got, ok := d.approvalSettings(rule)
		if g, w := jsonOf(t, got), jsonOf(t, want); !ok || g != w {
			t.Errorf("%s: %s, want %s", rule, g, w)
		}
	}
	if _, ok := d.approvalSettings("guardrail/none"); ok {
		t.Error("a rule that is not there has settings")
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestDecide: what the desk refuses has the kind of refusal that the API needs, and two people release what one does not.
func TestDecide(t *testing.T) {
	d := deskDaemon(t)
	c, ctx := console{d}, t.Context()
	a, got := holdOne(t, d, "/srv")
	if a.Tool != "delete" || string(a.Args) != `{"path":"/srv"}` || a.Rule != "guardrail/ask" || a.Needed != 2 || a.Waiting != 1 || a.Principal.User != "ada" ||
		!slices.Equal(a.Groups, []string{"owners"}) || a.Decision != "dec_1" || a.Digest == "" {
		t.Errorf("shown: %+v", a)
	}
	yes := adminapi.ApprovalDecision{Approve: true}
	var denied *admin.Denied
	if _, err := c.DecideApproval(ctx, human(1000, "ada", "owners"), a.ID, yes); !errors.As(err, &denied) || !strings.Contains(err.Error(), "nobody approves") {
		t.Errorf("one's own: %v", err)
	}
	if _, err := c.DecideApproval(ctx, human(1003, "eve", "users"), a.ID, yes); !errors.As(err, &denied) || !strings.Contains(err.Error(), "only members of owners") {
		t.Errorf("no member: %v", err)
	}
	if _, err := c.DecideApproval(ctx, human(1001, "bob", "owners"), "apr_none", yes); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	if b, err := c.DecideApproval(ctx, human(1001, "bob", "owners"), a.ID, yes); err != nil || b.State != adminapi.StateWaiting || b.Given != 1 {
		t.Errorf("the first of two: %+v, %v", b, err)
	}
	if _, err := c.DecideApproval(ctx, human(1001, "bob", "owners"), a.ID, yes); !errors.As(err, &denied) || !strings.Contains(err.Error(), "already") {
		t.Errorf("the first again: %v", err)
	}
	if s := c.approvals(); s.Waiting != 1 || s.Active != 0 || s.Webhook.State != "off" {
		t.Errorf("status: %+v", s)
	}
	if b, err := c.DecideApproval(ctx, human(1002, "cat", "owners"), a.ID, yes); err != nil || b.Given != 2 || len(b.Votes) != 2 || b.Votes[1].By.User != "cat" {
		t.Errorf("the second: %+v, %v", b, err)
	}
	if v := <-got; v.Action != pipeline.Allow || v.Approval != a.ID {
		t.Errorf("released: %+v", v)
	}
	var late *admin.Conflict
	if _, err := c.DecideApproval(ctx, human(1002, "cat", "owners"), a.ID, yes); !errors.As(err, &late) || !strings.Contains(err.Error(), "already") {
		t.Errorf("too late: %v", err)
	}
	if list, err := c.Approvals(ctx, adminapi.StateQuery{State: adminapi.StateUsed}); err != nil || len(list) != 1 || len(list[0].Uses) != 1 {
		t.Errorf("used: %+v, %v", list, err)
	}
	if _, err := c.Elevation(ctx, a.ID); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("an approval is no elevation: %v", err)
	}
}

// TestRestore: what waits and what is granted is there after a start, however much the journal holds since the last snapshot.
func TestRestore(t *testing.T) {
	d := deskDaemon(t)
	c, ctx := console{d}, t.Context()
	a, _ := holdOne(t, d, "/srv")
	e, err := c.Elevate(ctx, human(1000, "ada"), adminapi.ElevationRequest{Role: "writer", Seconds: 600, Reason: "a release"})
	if err != nil || e.State != adminapi.StateWaiting || e.Principal.User != "ada" || e.UID != nil {
		t.Fatalf("%+v, %v", e, err)
	}
	if e, err = c.DecideElevation(ctx, human(1001, "bob"), e.ID, adminapi.ElevationDecision{Approve: true, Seconds: 60}); err != nil || e.State != adminapi.StateActive {
		t.Fatalf("%+v, %v", e, err)
	}
	for round, name := range []string{"at once", "many segments later", "after that snapshot"} {
		if round == 1 {
			for range 400 {
				if err := d.append(ctx, pipeline.Record{Kind: pipeline.KindGap, Time: time.Now(), Body: pipeline.Gap{Reason: strings.Repeat("x", 1000)}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := d.journal.Close(); err != nil {
			t.Fatal(err)
		}
		openDesk(t, d)
		if b, err := c.Approval(ctx, a.ID); err != nil || b.State != adminapi.StateWaiting || b.Digest != a.Digest {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
		if g := d.desk.Grants(caller()); len(g) != 1 || g[0].Role != "writer" || g[0].ID != e.ID {
			t.Errorf("%s: granted %+v", name, g)
		}
	}
	v := d.policy.Decide(caller(), &pipeline.Call{Operation: "chat", Model: "gpt-4o-mini"}, &pipeline.Step{Kind: pipeline.StepToolOffer, Name: "write"})
	if v.Action != pipeline.Allow || v.Elevation != e.ID {
		t.Errorf("the policy does not know the grant: %+v", v)
	}
	if _, err := c.RevokeElevation(ctx, human(1001, "bob"), e.ID, "done"); err != nil || len(d.desk.Grants(caller())) != 0 {
		t.Errorf("revoked: %v, %v", err, d.desk.Grants(caller()))
	}
}

// deny records an exchange with a denial.
func deny(t *testing.T, d *daemon, dec pipeline.Decision) {
	t.Helper()
	m := caller()
	for _, r := range []pipeline.Record{
		{Kind: pipeline.KindIntent, Body: &pipeline.Intent{Scope: m.Scope, Mode: m.Mode, Workload: m.Workload, Principal: m.Principal, Endpoint: m.Endpoint,
			Call: pipeline.Call{Operation: "chat", Model: "gpt-4o-mini"}}},
		{Kind: pipeline.KindDecision, Body: &dec},
	} {
		r.Time, r.Session, r.Exchange = m.Start, m.Session, m.Exchange
		if err := d.append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// TestElevateForDenial: the role and who gets it come from the denial; only who it is about, or an operator, may ask.
func TestElevateForDenial(t *testing.T) {
	d := deskDaemon(t)
	c, ctx := console{d}, t.Context()
	deny(t, d, pipeline.Decision{ID: "dec_1", Mode: pipeline.ModeEnforce, Enforced: true, UID: 1000, Step: &pipeline.Step{Kind: pipeline.StepToolOffer, Name: "write"},
		Verdict: pipeline.Verdict{Action: pipeline.Deny, Stage: "toolOffer", Rule: "role/support", Reason: "the role lacks it"}})
	ask := adminapi.ElevationRequest{Decision: "dec_1", Seconds: 60, Reason: "r"}
	ada := human(1000, "ada")
	var no *admin.Refused
	if _, err := c.Elevate(ctx, ada, ask); !errors.As(err, &no) || !strings.Contains(err.Error(), "everything, writer: choose one") {
		t.Errorf("which role: %v", err)
	}
	ask.Role = "writer"
	if _, err := c.Elevate(ctx, human(1001, "bob"), ask); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("somebody else: %v", err)
	}
	ask.DryRun = true
	if e, err := c.Elevate(ctx, ada, ask); err != nil || e.ID != "" || *e.UID != 1000 || e.Principal.SPIFFEID != "spiffe://example.org/unit/app" || e.Principal.User != "ada" {
		t.Errorf("dry: %+v, %v", e, err)
	}
	ask.DryRun, ask.Seconds, ask.UntilSessionEnd = false, 0, true
	e, err := c.Elevate(ctx, ada, ask)
	if err != nil || e.Session != "ses_1" || e.Decision != "dec_1" || e.By.User != "ada" || e.Needed != 1 {
		t.Errorf("asked: %+v, %v", e, err)
	}
	ask.Role = "none"
	if _, err := c.Elevate(ctx, ada, ask); !errors.As(err, &no) || !strings.Contains(err.Error(), "there is no role") {
		t.Errorf("a role that is not there: %v", err)
	}
	out, err := c.Decision(ctx, "dec_1")
	if err != nil || out.Elevate != "sallyport elevate --for dec_1 --reason TEXT" || out.Approval != "" {
		t.Errorf("why: %+v, %v", out, err)
	}
	if _, err := c.DecideElevation(ctx, ada, e.ID, adminapi.ElevationDecision{Approve: true}); err == nil {
		t.Error("granted to oneself")
	}
	root := admin.Person{Peer: admin.Peer{PID: 1}, User: "root", Operator: true}
	ask = adminapi.ElevationRequest{Role: "writer", Decision: "exc_1", Seconds: 60, Reason: "r"}
	if e, err := c.Elevate(ctx, root, ask); err != nil || e.Needed != 2 { // root is nobody in particular
		t.Errorf("an operator: %+v, %v", e, err)
	}
}

// TestWebhook: the receiver is told what waits already, what is asked, and what becomes of it; contents only if so configured.
func TestWebhook(t *testing.T) {
	for _, include := range []string{"none", "masked"} {
		t.Run(include, func(t *testing.T) {
			got := make(chan Announcement, 10)
			s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				var a Announcement
				raw, err := io.ReadAll(r.Body)
				if err = errors.Join(err, json.Unmarshal(raw, &a)); err != nil || r.Header.Get("webhook-signature") == "" || include == "none" && strings.Contains(string(raw), "/srv") {
					t.Errorf("%s %v, %v", raw, r.Header, err)
				}
				got <- a
			}))
			defer s.Close()
			dir := t.TempDir()
			secret, ca := filepath.Join(dir, "secret"), filepath.Join(dir, "ca.pem")
			if err := errors.Join(os.WriteFile(secret, []byte("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), 0o600),
				os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600)); err != nil {
				t.Fatal(err)
			}
			d := deskDaemon(t, func(c *config.Config) {
				c.Approvals.Webhook = config.Webhook{URL: s.URL, SecretFile: secret, CAFile: ca, Include: include}
				c.Approvals.ConsoleURL = "https://console.example/"
			})
			first, _ := holdOne(t, d, "/srv/a")
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 2)
			go func() { ended <- d.watchDesk(ctx) }()
			go func() { ended <- d.runWebhook(ctx) }()
			defer func() {
				cancel()
				if err := errors.Join(<-ended, <-ended); err != nil {
					t.Error(err)
				}
			}()
			a := <-got
			if a.Type != "approval.asked" || a.ID != first.ID || a.Kind != "toolCall" || a.Tool != "delete" || a.Rule != "guardrail/ask" || a.Needed != 2 ||
				a.Principal.User != "ada" || !slices.Equal(a.Groups, []string{"owners"}) || a.Command != "sallyport approvals approve "+first.ID ||
				a.Link != "https://console.example/approvals/"+first.ID || !a.Expires.Equal(first.Expires) || (a.Content != nil) != (include == "masked") {
				t.Errorf("what waited already: %+v", a)
			}
			if include == "masked" && string(a.Content.Args) != `{"path":"/srv/a"}` {
				t.Errorf("content: %+v", a.Content)
			}
			c := console{d}
			if _, err := c.DecideApproval(ctx, human(1001, "bob", "owners"), first.ID, adminapi.ApprovalDecision{Reason: "no"}); err != nil {
				t.Error(err)
			}
			if a = <-got; a.Type != "approval.denied" || a.ID != first.ID {
				t.Errorf("denied: %+v", a)
			}
			e, err := c.Elevate(ctx, human(1000, "ada"), adminapi.ElevationRequest{Role: "writer", Seconds: 600, Reason: "a release"})
			if a = <-got; err != nil || a.Type != "elevation.asked" || a.ID != e.ID || a.Role != "writer" || a.Seconds != 600 || a.Reason != "a release" || a.Content != nil ||
				a.Link != "https://console.example/elevations/"+e.ID || a.Command != "sallyport grants approve "+e.ID {
				t.Errorf("elevation: %+v, %v", a, err)
			}
		})
	}
}

// A secret that cannot be one is a mistake in the configuration, and found by a check of it.
func TestWebhookChecked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secret")
	if err := os.WriteFile(path, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.Policy.Dir, cfg.Approvals.Webhook = dir, config.Webhook{URL: "https://hooks.example.org", SecretFile: path, Include: "none"}
	var usage *UsageError
	if err := Check(cfg); !errors.As(err, &usage) || !strings.Contains(err.Error(), "whsec_") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}

func TestContent(t *testing.T) {
	long := strings.Repeat("é", maxContent)
	it := approval.Item{ApprovalAsked: pipeline.ApprovalAsked{Body: long, Step: &pipeline.Step{Args: json.RawMessage(`{"a":"` + long + `"}`)}}}
	c := contentOf(&it)
	if !c.Cut || len(c.Body) > maxContent || !json.Valid(c.Args) || len(c.Args) > maxContent+maxContent/2 {
		t.Errorf("cut %v, body %d, args %d", c.Cut, len(c.Body), len(c.Args))
	}
}
