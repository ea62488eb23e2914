// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/kernel/survey"
	"github.com/sallyport-dev/sallyport/agent/trust"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// atomicReason is why something is not so; "" = it is.
type atomicReason struct{ p atomic.Pointer[string] }

func (a *atomicReason) set(s string) { a.p.Store(&s) }
func (a *atomicReason) get() string  { return *a.p.Load() }

func (d *daemon) openAdmin(context.Context) (err error) {
	c := console{d}
	d.admin, err = admin.New(admin.Options{Socket: d.cfg.Admin.Socket, Later: d.pred != nil, Admins: d.cfg.Admin.Admins, Status: c, Doctor: c, Sessions: c, Archive: c, Trust: c,
		Policy: c, Rollout: c, Quarantine: c, Records: c, Desk: c, Recorder: c, Scopes: c, Words: d.words, Log: d.Log})
	return err
}

// console answers the admin API out of the running parts.
type console struct{ d *daemon }

// Record implements admin.Recorder.
func (c console) Record(ctx context.Context, r pipeline.Record) error { return c.d.append(ctx, r) }

// Status implements admin.StatusSource.
func (c console) Status(ctx context.Context) (adminapi.Status, error) {
	d := c.d
	s := adminapi.Status{Version: d.Version, Ready: d.ready.get() == ""}
	if why := d.ready.get(); why != "" {
		s.Warnings = append(s.Warnings, "not ready: "+why)
		if why == "starting" { // the kernel part may not be there yet
			return s, nil
		}
	}
	d.health.tell(&s)
	d.policy.tell(&s)
	var err error
	s.Kernel.Attached = d.kernel.Attached()
	if s.Kernel.Errors, err = d.kernel.Errors(); err != nil {
		return s, err
	}
	if err := c.learning(&s); err != nil {
		return s, err
	}
	for i, sc := range d.cfg.Protect {
		n, err := d.kernel.Scope(uint32(i))
		if err != nil {
			return s, err
		}
		quic, err := d.kernel.QUIC(uint32(i))
		if err != nil {
			return s, err
		}
		s.Scopes = append(s.Scopes, adminapi.Scope{Name: sc.Name, Mode: sc.Mode, Fail: sc.Fail, Untrusted: sc.Untrusted, EncryptedDNS: sc.EncryptedDNS, QUICRefused: quic.Refused, Canary: percent(sc.Canary)})
		left, err := d.kernel.BypassUntil(uint32(i))
		if err != nil {
			return s, err
		}
		if left > 0 {
			s.Warnings = append(s.Warnings, "scope "+sc.Name+" is bypassed for another "+left.Round(1e9).String())
		}
		if n.Opened > 0 {
			s.Warnings = append(s.Warnings, "scope "+sc.Name+" went direct while no agent was there: its connections then are not recorded")
		}
	}
	if s.Quarantine, err = listed(d.quarantine); err != nil {
		return s, err
	}
	for _, q := range s.Quarantine {
		s.Warnings = append(s.Warnings, q.Selector+" is cut off: "+q.Reason)
	}
	p := d.proxy.Stats()
	s.Flows = adminapi.Flows{Seen: uint64(p.Seen), Proxied: uint64(p.Proxied), Passed: uint64(p.Passed), Denied: uint64(p.Denied), Missed: uint64(p.Missed)}
	if s.Coverage, err = d.coverage(); err != nil {
		return s, err
	}
	if n := s.Coverage.Unexplained; n > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%d connection(s) of protected workloads cannot be explained: see coverage, and the gaps in the journal", n))
	}
	j := d.journal.State()
	s.Journal = adminapi.Journal{Head: j.Head.String(), Bytes: j.Bytes}
	if j.Err != nil {
		s.Warnings = append(s.Warnings, "the journal takes nothing any more: "+j.Err.Error())
	} else if j.Full {
		s.Warnings = append(s.Warnings, journal.ErrFull.Error())
	}
	s.Approvals = c.approvals()
	if w := s.Approvals.Webhook; w.Error != "" || w.Dropped > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the webhook does not get everything: %d queued, %d failed, %d dropped; %s", w.Queued, w.Failed, w.Dropped, w.Error))
	}
	s.Archive = d.archiveStatus(ctx)
	s.Warnings = append(s.Warnings, archiveWarnings(&s.Archive)...)
	s.Elastic = d.elasticStatus()
	if d.elastic != nil {
		if st := d.elastic.State(); st.Dead > 0 {
			s.Warnings = append(s.Warnings, fmt.Sprintf("Elasticsearch refused %d documents for good: sallyport journal export shows which, as elastic.dead_letter", st.Dead))
		} else if st.LastError != "" {
			s.Warnings = append(s.Warnings, "Elasticsearch: "+st.LastError)
		}
		if d.elastic.State().Blind {
			s.Warnings = append(s.Warnings, "Elasticsearch: the key may not look for documents whose answer was lost, so that one can be there twice after a rollover: give it read and view_index_metadata")
		}
	}
	if d.pred != nil {
		if n := len(d.pred.Left()); n > 0 {
			s.Warnings = append(s.Warnings, fmt.Sprintf("%d process(es) that handed over still end their exchanges", n))
		}
	}
	for _, t := range d.trusting() {
		if !t.Proven {
			s.Untrusted = append(s.Untrusted, t)
		}
	}
	sp := d.spaces.Stats()
	s.Spaces = adminapi.Spaces{Served: sp.Served, Refused: sp.Refused, Failed: sp.Failed}
	if sp.Refused > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%d times there was no room for another network namespace: connections there did what their scopes say for a dead agent; raise proxy.max_namespaces", sp.Refused))
	}
	if sp.Failed > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("%d times a network namespace could not be served: see the log", sp.Failed))
	}
	for name, err := range d.kernel.Refused() {
		s.Warnings = append(s.Warnings, "the kernel refused "+name+": "+err.Error())
	}
	return s, nil
}

// Doctor implements admin.Doctor.
func (c console) Doctor(context.Context) (adminapi.Doctor, error) {
	return Doctor(c.d.cfg.Capture.PinDir), nil
}

// Doctor examines the host without a daemon.
func Doctor(pinDir string) adminapi.Doctor {
	if pinDir == "" {
		pinDir = kernel.DefaultPinDir
	}
	var out adminapi.Doctor
	for _, k := range kernel.Doctor(pinDir) {
		state := adminapi.CheckOK
		if !k.OK {
			state = adminapi.CheckFail
		}
		out.Checks = append(out.Checks, adminapi.Check{Name: k.Name, State: state, Detail: k.Detail, Mend: k.Mend})
	}
	findings := survey.Features(survey.Lacking())
	if root, err := kernel.CgroupRoot(); err == nil {
		attach := root
		if dirs := kernel.AttachedTo(pinDir); len(dirs) > 0 {
			attach = dirs[0]
		}
		findings = append(findings, survey.Hooks(pinDir, root, attach)...)
	}
	for _, f := range findings {
		state := map[survey.State]string{survey.OK: adminapi.CheckOK, survey.Warn: adminapi.CheckWarn, survey.Fail: adminapi.CheckFail}[f.State]
		out.Checks = append(out.Checks, adminapi.Check{Name: f.Name, State: state, Detail: f.Detail, Mend: f.Mend})
	}
	return out
}

// Sessions implements admin.Sessions.
func (c console) Sessions(ctx context.Context, q adminapi.Query) ([]adminapi.Session, error) {
	list, err := c.listed(ctx, q)
	if err == nil && q.Exchanges {
		list, err = c.whole(ctx, list)
	}
	return list, err
}

// listed lists sessions without their exchanges.
func (c console) listed(ctx context.Context, q adminapi.Query) ([]adminapi.Session, error) {
	if q.Find != "" {
		return c.found(ctx, q)
	}
	out, open := []adminapi.Session{}, map[string]int{}
	for _, s := range c.d.index.Sessions(q.Limit, func(s *journal.Summary) bool { return !s.Last.Before(q.Since) }) {
		models := s.Models
		if models == nil {
			models = []string{}
		}
		open[s.Session] = s.Open
		out = append(out, adminapi.Session{ID: s.Session, Started: s.Started, Last: s.Last, Models: models, Count: s.Exchanges, Denied: s.Denied, Masked: s.Masked,
			Principal: adminapi.NewPrincipal(s.Principal), Workload: adminapi.NewWorkload(s.Workload)})
	}
	if c.d.archive == nil {
		return out, nil
	}
	return c.completed(ctx, q, out, open)
}

// Session implements admin.Sessions.
func (c console) Session(ctx context.Context, id string) (adminapi.Session, error) {
	return c.session(ctx, id)
}

func (c console) session(ctx context.Context, id string) (adminapi.Session, error) {
	_, parts, err := c.d.index.Session(id)
	if err == nil || errors.Is(err, journal.ErrNotFound) {
		parts, err = c.archived(ctx, id, parts)
	}
	if err != nil {
		return adminapi.Session{}, notFound(err)
	}
	var xs []adminapi.Exchange
	for _, p := range parts {
		xs = append(xs, adminapi.NewExchange(adminParts(p)))
	}
	return adminapi.NewSession(xs), nil
}

// Decision implements admin.Sessions.
func (c console) Decision(ctx context.Context, id string) (adminapi.Decision, error) {
	if pid, ok := strings.CutPrefix(id, "pid_"); ok {
		return c.trustOf(pid)
	}
	dec, parts, err := c.d.index.Decision(id)
	if err == nil {
		out := adminapi.NewDecision(dec.Time, parts.Session, parts.Exchange, dec.Decision)
		return c.advised(out), nil
	}
	if p, xerr := c.d.index.Exchange(id); xerr == nil {
		return c.advised(adminapi.OfExchange(adminParts(p))), nil
	}
	if strings.HasPrefix(id, "exc_") { // decisions are found by their exchanges there
		if older, aerr := c.archived(ctx, id, nil); aerr == nil {
			return c.advised(adminapi.OfExchange(adminParts(older[0]))), nil
		} else if !errors.Is(aerr, admin.ErrNotFound) {
			return adminapi.Decision{}, aerr
		}
	}
	return adminapi.Decision{}, notFound(err)
}

// advised adds to a decision what can be done about it.
func (c console) advised(d adminapi.Decision) adminapi.Decision {
	d.HelpURL = c.d.cfg.Policy.HelpURL
	if d.ID != "" {
		c.asked(&d)
	}
	d.Next = d.Advice()
	return d
}

func adminParts(p *journal.Parts) adminapi.Parts {
	out := adminapi.Parts{Session: p.Session, Exchange: p.Exchange, Time: p.Time, Intent: p.Intent, Outcome: p.Outcome, Content: p.Content}
	for _, d := range p.Decisions {
		out.Decisions = append(out.Decisions, adminapi.Timed[pipeline.Decision]{Time: d.Time, Body: d.Decision})
	}
	return out
}

func notFound(err error) error {
	if errors.Is(err, journal.ErrNotFound) {
		return admin.ErrNotFound
	}
	return err
}

// Trust implements admin.Trust.
func (c console) Trust(context.Context) (adminapi.Trust, error) {
	changes, err := c.d.trust.Status()
	if err != nil {
		return adminapi.Trust{}, err
	}
	out := adminapi.Trust{Roots: []adminapi.Root{}, Entries: TrustEntries(changes)}
	mode, tool, problem := c.d.trust.Host()
	out.Host = adminapi.TrustHost{Mode: string(mode), Tool: tool, Problem: problem}
	for _, r := range c.d.ca.Roots() {
		sum := sha256.Sum256(r.Raw)
		out.Roots = append(out.Roots, adminapi.Root{Subject: r.Subject.String(), SHA256: hex.EncodeToString(sum[:]), NotAfter: r.NotAfter})
	}
	out.Processes = c.d.trusting()
	return out, nil
}

// TrustEntries puts changes into the shape of the API.
func TrustEntries(changes []trust.Change) []adminapi.TrustEntry {
	out := []adminapi.TrustEntry{}
	for _, t := range changes {
		out = append(out, adminapi.TrustEntry{Kind: t.Kind, Store: t.Store, Path: t.Path, PID: uint32(t.PID), Comm: t.Comm, State: t.State, Current: t.Current, Time: t.Time})
	}
	return out
}

// TrustRemove implements admin.Trust.
func (c console) TrustRemove(ctx context.Context, r adminapi.TrustRemoveRequest) (adminapi.TrustRemoved, error) {
	act := c.d.trust.Remove
	if r.DryRun {
		act = func(context.Context) ([]trust.Change, error) { return c.d.trust.Status() }
	}
	changes, err := act(ctx)
	return adminapi.TrustRemoved{DryRun: r.DryRun, Entries: TrustEntries(changes)}, err
}

// TrustApply implements admin.Trust.
func (c console) TrustApply(ctx context.Context, p admin.Peer, program string) (adminapi.TrustApplied, error) {
	var hints []string
	if program != "" {
		hints = append(hints, program)
	}
	r, err := c.d.trust.Apply(ctx, int(p.PID), p.Start, hints)
	if err != nil {
		return adminapi.TrustApplied{}, err
	}
	if r.Outcome != trust.Covered && r.Outcome != trust.Partly {
		return adminapi.TrustApplied{}, errors.New(string(r.Outcome) + ": " + r.Reason)
	}
	out := adminapi.TrustApplied{Entries: []adminapi.TrustEntry{}, RootsFile: c.d.trust.RootsFile()}
	for _, s := range r.Stores {
		out.Entries = append(out.Entries, adminapi.TrustEntry{Kind: "mount", Store: s.Kind, Path: s.Path, PID: p.PID, Comm: p.Comm, State: "applied", Current: true})
	}
	return out, nil
}

// Explain implements admin.Explainer.
func (c console) Explain(_ context.Context, r adminapi.ExplainRequest) (adminapi.Explanation, error) {
	m := pipeline.Meta{Mode: r.Mode, Workload: r.Workload, Principal: r.Principal, Endpoint: r.Endpoint}
	e := c.d.policy.Explain(&m, &r.Call, r.Step)
	return adminapi.Explanation{Verdict: e.Verdict, Policy: e.Policy, Trace: e.Trace}, nil
}

// Scoped implements admin.Scopes.
func (c console) Scoped(pid uint32) (bool, error) {
	if c.d.kernel == nil || c.d.enrol == nil {
		return false, errors.New("not started yet")
	}
	_, marked, err := c.d.kernel.Marked(pid)
	if err != nil {
		return true, err
	}
	if marked {
		return true, nil
	}
	w, err := c.d.ident.Look(pid)
	if err != nil {
		return true, err
	}
	_, in := c.d.enrol.Matches(&w, false)
	return in, nil
}
