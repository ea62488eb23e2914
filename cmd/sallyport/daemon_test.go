// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// daemonCmd starts an admin server for a script: "daemon [ready|starting|empty|sick|stuck]".
func daemonCmd(ts *testscript.TestScript, neg bool, args []string) {
	f := &fakeDaemon{kind: "ready", work: ts.Getenv("WORK")}
	if len(args) > 0 {
		f.kind = args[0]
	}
	s, err := admin.New(admin.Options{Socket: ts.Getenv("SALLYPORT_SOCKET"), Admins: []uint32{uint32(os.Getuid())},
		Status: f, Doctor: f, Sessions: f, Archive: f, Trust: f, Policy: f, Rollout: f, Quarantine: f, Records: &fakeRecords{daemon: f}, Desk: &fakeDesk{fakeDaemon: f}, Recorder: f,
		People: func(uid uint32) (string, []string, error) { return "bob", []string{"owners"}, nil }})
	ts.Check(err)
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	ts.Defer(func() {
		ts.Check(s.Shutdown(context.Background()))
		ts.Check(<-served)
	})
}

// fakeDaemon answers with fixed data and remembers what was done, in a file that scripts can read.
type fakeDaemon struct {
	kind string
	work string

	asked int // searches of a tail, one at a time
}

func (f *fakeDaemon) Status(context.Context) (adminapi.Status, error) {
	st := adminapi.Status{Ready: f.kind != "starting", Version: "v1.2.3",
		Kernel: adminapi.Kernel{Attached: []string{"connect4", "connect6", "sockops"}, Errors: map[string]uint64{"record_full": 2, "no_listener": 1}},
		Scopes: []adminapi.Scope{{Name: "agents", Mode: "enforce", Fail: "closed", Untrusted: "deny", EncryptedDNS: "deny", QUICRefused: 3}, {Name: "pods", Mode: "observe", Fail: "open", Untrusted: "passthrough"}},
		Flows:  adminapi.Flows{Seen: 10, Proxied: 7, Passed: 1, Denied: 1, Missed: 1}, Coverage: adminapi.Coverage{Explained: 9, Unexplained: 1, Workloads: []adminapi.Covered{
			{Scope: "agents", Cgroup: "/system.slice/a.service", Unit: "a.service", Redirected: 9, Explained: 9, Unexplained: 1, Last: "process 7 (python3) of user 1000 to 192.0.2.1:443"}}},
		DNS:     adminapi.DNS{Addresses: 4, Answers: 6},
		Journal: adminapi.Journal{Head: "0123456789abcdef0123456789abcdef", Bytes: 5 << 20}, Elastic: adminapi.Elastic{Lag: 3, State: "ok"},
		Approvals: adminapi.Approvals{Waiting: 2, Requested: 1, Active: 3, Webhook: adminapi.Webhook{State: "ok", Sent: 4, Queued: 1}},
		Warnings:  []string{"the self-test has not passed yet"}}
	switch f.kind {
	case "empty":
		st = adminapi.Status{Ready: true}
	case "distrusted":
		st.Untrusted = f.processes()[:1]
	}
	return st, nil
}

func (f *fakeDaemon) Doctor(context.Context) (adminapi.Doctor, error) {
	d := adminapi.Doctor{Checks: []adminapi.Check{{Name: "kernel", State: adminapi.CheckOK, Detail: "6.18"},
		{Name: "memory lock", State: adminapi.CheckWarn, Detail: "limited", Mend: "LimitMEMLOCK=infinity"}}}
	if f.kind == "sick" {
		d.Checks = append(d.Checks, adminapi.Check{Name: "bpffs", State: adminapi.CheckFail, Detail: "not mounted", Mend: "mount -t bpf bpf /sys/fs/bpf"})
	}
	return d, nil
}

func second(s int) time.Time { return time.Date(2026, 1, 31, 12, 0, s, 0, time.UTC) }

// session is a conversation of two turns in which a tool call is refused; a text tries to steer the terminal.
func session() adminapi.Session {
	in := pipeline.Intent{
		Scope: "agents", Mode: pipeline.ModeEnforce, Method: "POST", Target: "/v1/chat/completions",
		Workload:  pipeline.Workload{PID: 7, Comm: "python3", Exe: "/usr/bin/python3", Cgroup: "/system.slice/support.service", Unit: "support.service", UID: 1000},
		Principal: pipeline.Principal{SPIFFEID: "spiffe://example.org/unit/support", User: "ada"},
		Endpoint:  pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443},
		Call: pipeline.Call{Operation: pipeline.OpChat, Model: "gpt-4o-mini", Stream: true, Steps: []pipeline.Step{
			{Kind: pipeline.StepToolOffer, Name: "search"}, {Kind: pipeline.StepToolOffer, Name: "bash", Index: 1},
			{Kind: pipeline.StepPrompt, Text: "Who is [EMAIL]?\nAnd clean up.\x1b]0;owned\x07"}}},
		Body: json.RawMessage(`{"model":"gpt-4o-mini","big":12345678901234567890}`), BodyBytes: 50,
		Masks: []pipeline.Mask{{Carrier: "text", Type: "EMAIL", Rule: "mail", Why: "a name, @ and a domain", Fingerprint: "00c1d2e3f4a5b697", At: 7, Len: 15, With: "[EMAIL]"}},

		SealedOriginal: json.RawMessage(`{"box":"sealed"}`),
	}
	tokens := func(n int64) *int64 { return &n }
	refused := pipeline.Step{Kind: pipeline.StepToolCall, Name: "bash", ID: "call_2", Index: 1, Args: json.RawMessage(`{"cmd": "rm -rf /"}`)}
	first := adminapi.NewExchange(adminapi.Parts{Session: "ses_1", Exchange: "exc_1", Time: second(0), Intent: &in,
		Decisions: []adminapi.Timed[pipeline.Decision]{{Time: second(1), Body: decision(&refused)}},
		Outcome: &pipeline.Outcome{Status: 200, Verdict: decision(nil).Verdict, Decision: "dec_1", Enforced: true, Finish: []string{"tool_calls"},
			Text: "Let me see.", Tools: []pipeline.Step{{Kind: pipeline.StepToolCall, Name: "search", ID: "call_1", Args: json.RawMessage(`{"q":"x"}`)}, refused},
			Usage: pipeline.Usage{InputTokens: tokens(11), OutputTokens: tokens(22)}, BytesReleased: 400, DurationMS: 250, FirstReleaseMS: 40, OverheadUS: 300,
			Original: &pipeline.Kept{Pieces: 2, Bytes: 90_000, Cut: pipeline.KeptNotRead}}})
	in.SealedOriginal = nil
	in.Call.Steps = append(in.Call.Steps, pipeline.Step{Kind: pipeline.StepToolCall, Name: "search", ID: "call_1", Args: json.RawMessage(`{"q":"x"}`)},
		pipeline.Step{Kind: pipeline.StepToolResult, ID: "call_1", Text: "found"})
	in.Parent = "exc_1"
	in.OriginalMissing = "no recipient\x1b[2J"
	next := adminapi.NewExchange(adminapi.Parts{Session: "ses_1", Exchange: "exc_2", Time: second(5), Intent: &in})
	return adminapi.NewSession([]adminapi.Exchange{first, next})
}

func decision(step *pipeline.Step) pipeline.Decision {
	return pipeline.Decision{ID: "dec_1", Mode: pipeline.ModeEnforce, Enforced: true, Step: step, Policy: "sha256:1234", UID: 1000, Scope: "agents",
		Model: "gpt-4o-mini", Endpoint: "openai", SPIFFEID: "spiffe://example.org/unit/support",
		Verdict: pipeline.Verdict{Action: pipeline.Deny, Stage: pipeline.StepToolCall, Rule: "guardrail/no-shell", Reason: "Destructive shell commands are not allowed"}}
}

func (f *fakeDaemon) Sessions(_ context.Context, q adminapi.Query) ([]adminapi.Session, error) {
	s := session()
	if f.kind == "empty" || s.Last.Before(q.Since) {
		return nil, nil
	}
	if !q.Exchanges {
		s.Exchanges = nil
	}
	return []adminapi.Session{s}, nil
}

func (f *fakeDaemon) Search(_ context.Context, q adminapi.Search) (adminapi.Found, error) {
	if strings.Contains(q.Query, "bogus:") {
		return adminapi.Found{}, &admin.QueryError{Err: errors.New("the query cannot be read: there is no field \"bogus\"")}
	}
	if f.kind == "empty" || strings.Contains(q.Query, "nothing") {
		return adminapi.Found{}, nil
	}
	h := adminapi.Hit{SessionID: "ses_1", ExchangeID: "exc_1", Time: second(0), Principal: adminapi.Principal{SPIFFEID: "spiffe://example.org/unit/support"}, Tenant: "agents",
		Workload: "support.service", UID: 1000, Scope: "agents", Mode: "enforce", Endpoint: "openai", Operation: "chat", Model: "gpt-4o-mini", Tools: []string{"bash", "search"},
		Action: "deny", Rule: "guardrail/no-shell", Enforced: true, Status: 200, Masked: 2, Input: 11, Output: 22, DurationMS: 250}
	if f.kind == "tail" { // one exchange, then one more, then an end
		switch f.asked++; f.asked {
		case 1:
			return adminapi.Found{Exchanges: []adminapi.Hit{h}}, nil
		case 2:
			more := h
			more.ExchangeID = "exc_2"
			return adminapi.Found{Exchanges: []adminapi.Hit{more, h}}, nil
		}
		return adminapi.Found{}, &admin.QueryError{Err: errors.New("enough")}
	}
	second := h
	second.ExchangeID, second.Action, second.Rule, second.Estimated, second.Tools = "exc_0", "allow", "role/support", true, nil
	if q.Query == `principal:"a b" "c d" -e` {
		return adminapi.Found{Exchanges: []adminapi.Hit{second}}, nil
	}
	if q.Before == "100" {
		return adminapi.Found{Exchanges: []adminapi.Hit{second}}, nil
	}
	return adminapi.Found{Exchanges: []adminapi.Hit{h}, Next: "100"}, nil
}

func (f *fakeDaemon) Usage(_ context.Context, _ string, days bool) (adminapi.UsageReport, error) {
	if f.kind == "empty" {
		return adminapi.UsageReport{}, nil
	}
	row := func(day, model string, in, out, cached int64) adminapi.UsageRow {
		return adminapi.UsageRow{Day: day, Principal: adminapi.Principal{SPIFFEID: "spiffe://example.org/unit/support"}, Tenant: "agents", Endpoint: "openai", Model: model,
			Exchanges: 2, Input: in, Output: out, Cached: cached}
	}
	rows := []adminapi.UsageRow{row("2026-01-30", "gpt-4o-mini", 1_000_000, 500_000, 400_000), row("2026-01-31", "gpt-4o-mini", 2_000_000, 100_000, 0), row("2026-01-31", "=odd/model", 7, 3, 0)}
	rows[1].Estimated = 1
	if !days {
		rows = []adminapi.UsageRow{row("", "gpt-4o-mini", 3_000_000, 600_000, 400_000), row("", "=odd/model", 7, 3, 0)}
	}
	return adminapi.UsageReport{Rows: rows, SharedKeys: []adminapi.SharedKey{{Credential: "ab12", Workloads: []string{"a.service", "b.service"}, Exchanges: 9, Last: second(0)}}}, nil
}

func (f *fakeDaemon) Session(_ context.Context, id string) (adminapi.Session, error) {
	if id != "ses_1" {
		return adminapi.Session{}, admin.ErrNotFound
	}
	return session(), nil
}

func (f *fakeDaemon) Decision(_ context.Context, id string) (adminapi.Decision, error) {
	step := pipeline.Step{Kind: pipeline.StepToolCall, Name: "bash"}
	d := decision(&step)
	switch id {
	case "pid_8":
		return adminapi.Decision{ID: id, Action: "deny", Stage: "trust", Rule: "builtin/trust-missing", Reason: "it has not read our root: set NODE_EXTRA_CA_CERTS=/roots.pem",
			Endpoint: "api.openai.com", Enforced: true, Time: second(2)}, nil
	case "dec_1", "exc_1":
	case "dec_2":
		d.ID, d.Enforced, d.Mode = id, false, pipeline.ModeObserve
	case "dec_3":
		d.ID, d.Verdict.Action = id, pipeline.Hold
		out := adminapi.NewDecision(second(1), "ses_1", "exc_1", d)
		out.Approval, out.ApprovalState, out.Elevate = "apr_1", "waiting", "sallyport elevate --for dec_3"
		return out, nil
	case "dec_4":
		d.ID, d.Verdict.Action, d.Verdict.Elevation = id, pipeline.Allow, "elv_1"
	case "exc_2":
		in := pipeline.Intent{Mode: pipeline.ModeEnforce, Scope: "agents", Call: pipeline.Call{Model: "gpt-4o-mini"}, Endpoint: pipeline.Endpoint{Name: "openai"}}
		offer := decision(&step)
		offer.ID, offer.Verdict = "dec_6", pipeline.Verdict{Action: pipeline.Transform, Stage: pipeline.StepToolOffer, Rule: "role/bot", Removed: []pipeline.Step{{Name: "sql"}, {Name: "curl"}}}
		d.Verdict.Matched = []pipeline.Matched{{Rule: "guardrail/new", Action: pipeline.Hold, Observed: true}, {Rule: "guardrail/no-shell", Action: pipeline.Deny}}
		out := adminapi.OfExchange(adminapi.Parts{Session: "ses_1", Exchange: id, Intent: &in, Decisions: []adminapi.Timed[pipeline.Decision]{{Body: offer}, {Body: d}}})
		out.Next = out.Advice()
		return out, nil
	case "exc_3":
		in := pipeline.Intent{Mode: pipeline.ModeEnforce, Scope: "agents", Call: pipeline.Call{Model: "gpt-4o-mini"}, Endpoint: pipeline.Endpoint{Name: "openai"}}
		return adminapi.OfExchange(adminapi.Parts{Session: "ses_1", Exchange: id, Time: second(3), Intent: &in, Outcome: &pipeline.Outcome{Enforced: true, Verdict: pipeline.Verdict{Rule: "role/bot"}}}), nil
	default:
		return adminapi.Decision{}, admin.ErrNotFound
	}
	return adminapi.NewDecision(second(1), "ses_1", "exc_1", d), nil
}

func (f *fakeDaemon) entries(state string) []adminapi.TrustEntry {
	if f.kind == "empty" {
		return nil
	}
	return []adminapi.TrustEntry{{Kind: "mount", Store: "system", Path: "/etc/ssl/certs/ca-certificates.crt", PID: 7, Comm: "python3", State: state, Current: true, Time: second(0)},
		{Kind: "mount", Store: "certifi", Path: "/app/venv/certifi/cacert.pem", PID: 7, Comm: "python3", State: state, Current: true, Time: second(0)},
		{Kind: "block", Store: "certifi", Path: "/srv/venv/certifi/cacert.pem", PID: 7, Comm: "python3", State: state, Time: second(0)}}
}

func (f *fakeDaemon) processes() []adminapi.TrustProcess {
	return []adminapi.TrustProcess{
		{PID: 8, Comm: "node", Kind: "node", Host: "api.openai.com", State: "missing", Why: "it has not read our root", Mend: "set NODE_EXTRA_CA_CERTS=/roots.pem", Conns: 2},
		{PID: 7, Comm: "python3", Kind: "python", Host: "api.openai.com", Proven: true, State: "opened", Conns: 1},
	}
}

func (f *fakeDaemon) Trust(context.Context) (adminapi.Trust, error) {
	if f.kind == "distrusted" {
		return adminapi.Trust{Entries: f.entries("applied"), Processes: f.processes()}, nil
	}
	return adminapi.Trust{Roots: []adminapi.Root{{Subject: "CN=Sallyport Root 1", SHA256: "00112233445566778899aabbccddeeff", NotAfter: second(0)}},
		Host: adminapi.TrustHost{Mode: "files", Tool: "update-ca-certificates (Debian, Ubuntu, Alpine)"}, Entries: f.entries("applied")}, nil
}

func (f *fakeDaemon) TrustRemove(_ context.Context, r adminapi.TrustRemoveRequest) (adminapi.TrustRemoved, error) {
	if r.DryRun {
		return adminapi.TrustRemoved{DryRun: true, Entries: f.entries("applied")}, nil
	}
	out := f.entries("removed")
	if f.kind == "stuck" {
		out[1].State = "failed: device or resource busy"
	}
	return adminapi.TrustRemoved{Entries: out}, f.note("removed")
}

// TrustApply looks at the process as the real one would and notes whom it was called for.
func (f *fakeDaemon) TrustApply(_ context.Context, p admin.Peer, _ string) (adminapi.TrustApplied, error) {
	if f.kind == "sick" {
		return adminapi.TrustApplied{}, errors.New("the roots are not readable")
	}
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", p.PID))
	if err != nil {
		return adminapi.TrustApplied{}, err
	}
	out := adminapi.TrustApplied{Entries: f.entries("applied"), RootsFile: filepath.Join(f.work, "roots.pem")}
	if f.kind == "stuck" {
		out.Entries[1].State = "failed: device or resource busy"
	}
	return out, f.note(fmt.Sprintf("%d %s %s", p.PID, p.Comm, ns))
}

func (f *fakeDaemon) note(s string) error {
	return os.WriteFile(filepath.Join(f.work, "done"), []byte(s+"\n"), 0o644)
}

func (f *fakeDaemon) Explain(_ context.Context, r adminapi.ExplainRequest) (adminapi.Explanation, error) {
	v := pipeline.Verdict{Action: pipeline.Deny, Stage: "call", Rule: "builtin/no-role", Reason: "no role allows model " + r.Call.Model}
	return adminapi.Explanation{Verdict: v, Policy: "sha256:1234", Trace: []string{"rolebinding/support: does not match"}}, nil
}

func (f *fakeDaemon) Rollout(_ context.Context, since time.Time) (adminapi.Rollout, error) {
	if f.kind == "empty" {
		return adminapi.Rollout{}, nil
	}
	r := adminapi.Rollout{Since: since, Until: second(9), Scopes: []adminapi.RolloutScope{
		{Name: "agents", Mode: "enforce", Canary: "10%", Enforced: 3, Observed: 21, Did: []adminapi.RolloutRule{{Rule: "role/bot", Action: "deny", Count: 4, Callers: 1, Last: second(2)}}},
		{Name: "pods", Mode: "observe", Observed: 2}}}
	if f.kind != "starting" {
		r.Scopes[0].Would = []adminapi.RolloutRule{{Rule: "guardrail/no-shell", Action: "deny", Count: 12, Callers: 2, Example: "dec_1", Last: second(5)}}
	}
	return r, nil
}

func (f *fakeDaemon) Quarantines(context.Context) ([]adminapi.Quarantine, error) {
	if f.kind == "empty" {
		return nil, nil
	}
	return []adminapi.Quarantine{{Selector: "unit:app.service", Since: second(0), Reason: "it runs a \x1b[31mminer", UID: 1000, Paths: []string{"/system.slice/app.service"}, Refused: 12,
		Cut: []adminapi.QuarantineCut{{PID: 7, Comm: "python3", Proto: "tcp", Peer: "192.0.2.1:443"}}}}, nil
}

func (f *fakeDaemon) Quarantine(_ context.Context, _ admin.Peer, r adminapi.QuarantineRequest) (adminapi.Quarantine, error) {
	if f.kind == "sick" {
		return adminapi.Quarantine{}, &admin.Refused{Err: errors.New("scope of this selection matches sshd, which the host cannot do without: narrow the scope")}
	}
	return adminapi.Quarantine{Selector: r.Selector, Reason: r.Reason, Cut: make([]adminapi.QuarantineCut, 2), Warning: "the journal is full"}, f.note(fmt.Sprint(r))
}

func (f *fakeDaemon) LiftQuarantine(_ context.Context, _ admin.Peer, r adminapi.QuarantineLift) (adminapi.Quarantine, error) {
	return adminapi.Quarantine{Selector: r.Selector}, f.note("lifted")
}

func (f *fakeDaemon) Record(context.Context, pipeline.Record) error { return nil }
