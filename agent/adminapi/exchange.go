// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Verdict is the most severe verdict of an exchange.
type Verdict struct {
	Action    string `json:"action"`
	Stage     string `json:"stage"`
	Rule      string `json:"rule"`
	Reason    string `json:"reason"`
	Mode      string `json:"mode"`
	Enforced  bool   `json:"enforced"`
	Decision  string `json:"decision,omitempty"`
	Elevation string `json:"elevation_id,omitempty"` // the grant without which it would have been denied
	Approval  string `json:"approval_id,omitempty"`  // what people were asked
}

// Parts are the records of one exchange as the journal has them.
type Parts struct {
	Session   string
	Exchange  string
	Time      time.Time        // of the intent
	Intent    *pipeline.Intent // never nil
	Decisions []Timed[pipeline.Decision]
	Outcome   *pipeline.Outcome // nil while it runs, or if the daemon died
	Content   string            // why contents are not there: "erased", "no_key", "omitted"
}

// Timed is the body of a record with the record's time.
type Timed[T any] struct {
	Time time.Time
	Body T
}

// NewExchange puts the records of an exchange into the shape that people and programs read.
func NewExchange(p Parts) Exchange {
	in := p.Intent
	x := Exchange{
		SessionID: p.Session, ExchangeID: p.Exchange, FlowID: in.Flow, Parent: in.Parent, Time: p.Time, Scope: in.Scope, Policy: in.Policy,
		Principal: NewPrincipal(in.Principal), Workload: NewWorkload(in.Workload),
		Endpoint: in.Endpoint.Name, Host: in.Endpoint.Host, Port: in.Endpoint.Port, Protocol: in.Endpoint.Protocol,
		Operation: in.Call.Operation, Model: in.Call.Model, Stream: in.Call.Stream,
		Request: Request{Method: in.Method, Target: in.Target, UserAgent: in.UserAgent, Credential: in.Credential, Bytes: in.BodyBytes, SHA256: in.Digest(), Body: Valid(in.Body)},
		Steps:   newSteps(in.Call.Steps),
		Masked:  append([]pipeline.Mask{}, in.Masks...),
		Tools:   []Tool{},
		Open:    p.Outcome == nil, Uninspected: in.Uninspected, Content: p.Content,
	}
	for _, d := range p.Decisions {
		dec := NewDecision(d.Time, p.Session, p.Exchange, d.Body)
		if d.Body.Step != nil {
			step := *d.Body.Step
			step.Args = Valid(step.Args)
			dec.Step = &step
		}
		x.Decisions = append(x.Decisions, dec)
	}
	x.Verdict = Verdict{Action: pipeline.Allow.String(), Stage: "call", Mode: in.Mode.String(), Enforced: in.Mode == pipeline.ModeEnforce}
	if out := p.Outcome; out != nil {
		x.Response = Response{Status: out.Status, ID: out.ResponseID, Model: out.ResponseModel, Finish: out.Finish,
			Text: out.Text, Bytes: out.BytesReleased, Cut: out.Cut, CutReason: out.CutReason, Pace: out.Pace}
		x.Usage, x.DurationMS, x.OverheadUS, x.FirstMS = out.Usage, out.DurationMS, out.OverheadUS, out.FirstReleaseMS
		x.HoldMS, x.ReplyOf = out.HoldMS, out.ReplyOf
		x.Masked = append(x.Masked, out.Masks...)
		for i := range out.Tools {
			x.Tools = append(x.Tools, newTool(&out.Tools[i], p.Decisions))
		}
		v := out.Verdict
		x.Verdict = Verdict{Action: v.Action.String(), Stage: v.Stage, Rule: v.Rule, Reason: v.Reason,
			Mode: in.Mode.String(), Enforced: out.Enforced, Decision: out.Decision, Elevation: v.Elevation, Approval: v.Approval}
	} else if d := decisive(p.Decisions); d != nil {
		v := d.Body.Verdict
		x.Verdict = Verdict{Action: v.Action.String(), Stage: v.Stage, Rule: v.Rule, Reason: v.Reason,
			Mode: d.Body.Mode.String(), Enforced: d.Body.Enforced, Decision: d.Body.ID, Elevation: v.Elevation, Approval: v.Approval}
	}
	if x.Verdict.Stage == "" {
		x.Verdict.Stage = "call"
	}
	x.Originals = newOriginals(in, p.Outcome)
	return x
}

// Originals says what is kept of an exchange as it was before it was masked, for the people who can unseal it. What is not kept has a reason.
type Originals struct {
	Request        bool           `json:"request,omitempty"`
	RequestMissing string         `json:"request_missing,omitempty"`
	Reply          *pipeline.Kept `json:"reply,omitempty"`
	ReplyMissing   string         `json:"reply_missing,omitempty"`
}

// newOriginals tells of originals, not what is in them, sealed or not; nil if none is kept or missing.
func newOriginals(in *pipeline.Intent, out *pipeline.Outcome) *Originals {
	o := Originals{Request: len(in.SealedOriginal) > 0, RequestMissing: in.OriginalMissing}
	if out != nil {
		o.Reply, o.ReplyMissing = out.Original, out.OriginalMissing
	}
	if o == (Originals{}) {
		return nil
	}
	return &o
}

// decisive is the most severe decision, the earliest of several.
func decisive(ds []Timed[pipeline.Decision]) *Timed[pipeline.Decision] {
	var best *Timed[pipeline.Decision]
	for i := range ds {
		if best == nil || ds[i].Body.Verdict.Action > best.Body.Verdict.Action {
			best = &ds[i]
		}
	}
	return best
}

// Decisive gives the most severe decision of an exchange as Why wants it; false if there was none.
func Decisive(p Parts) (Decision, bool) {
	d := decisive(p.Decisions)
	if d == nil {
		return Decision{}, false
	}
	return NewDecision(d.Time, p.Session, p.Exchange, d.Body), true
}

func newTool(s *pipeline.Step, ds []Timed[pipeline.Decision]) Tool {
	t := Tool{Name: s.Name, ID: s.ID, Args: Valid(s.Args), Index: s.Index, Action: pipeline.Allow.String()}
	worst := pipeline.Allow
	for i := range ds {
		d := &ds[i].Body
		if d.Step == nil || d.Step.Kind != pipeline.StepToolCall || d.Step.Name != s.Name || d.Step.ID != s.ID || d.Step.Index != s.Index {
			continue
		}
		if d.Verdict.Action > worst {
			worst = d.Verdict.Action
			t.Action, t.Rule, t.Reason, t.Decided = worst.String(), d.Verdict.Rule, d.Verdict.Reason, d.ID
		}
	}
	return t
}

// NewDecision puts a recorded decision into the shape that Why shows: without the text that it was about, for Why answers
// whoever has the same uid.
func NewDecision(at time.Time, session, exchange string, d pipeline.Decision) Decision {
	out := Decision{
		ID: d.ID, Time: at, Session: session, Exchange: exchange,
		Action: d.Verdict.Action.String(), Stage: d.Verdict.Stage, Rule: d.Verdict.Rule, Reason: d.Verdict.Reason,
		Mode: d.Mode.String(), Enforced: d.Enforced, Scope: d.Scope, Endpoint: d.Endpoint, Model: d.Model,
		SPIFFEID: d.SPIFFEID, UID: d.UID, Policy: d.Policy, Elevation: d.Verdict.Elevation, Approval: d.Verdict.Approval,
		Code: d.Verdict.Code, Matched: d.Verdict.Matched, Removed: d.Verdict.Removed,
	}
	if d.Step != nil {
		out.Tool = d.Step.Name
	}
	return out
}

// NewSession sums up exchanges of one session. Who and what ran is that of the latest. It returns the zero Session for no
// exchanges.
func NewSession(xs []Exchange) Session {
	if len(xs) == 0 {
		return Session{}
	}
	xs = slices.Clone(xs)
	slices.SortStableFunc(xs, func(a, b Exchange) int { return a.Time.Compare(b.Time) })
	last := &xs[len(xs)-1]
	s := Session{ID: last.SessionID, Started: xs[0].Time, Last: last.Time, Principal: last.Principal, Workload: last.Workload,
		Models: []string{}, Count: len(xs), Exchanges: xs}
	for i := range xs {
		x := &xs[i]
		if x.Model != "" && !slices.Contains(s.Models, x.Model) {
			s.Models = append(s.Models, x.Model)
		}
		if x.Denied() {
			s.Denied++
		}
		s.Masked += len(x.Masked)
	}
	link(xs)
	return s
}

// link says of each tool call which later exchange brought its result. Calls are known by their IDs, which providers give anew each time; of
// an ID that was given again the newest call before the result is meant.
func link(xs []Exchange) {
	calls := map[string]*Tool{}
	for i := range xs {
		for _, s := range xs[i].Steps {
			if t := calls[s.ID]; s.Kind == pipeline.StepToolResult && t != nil && t.ResultIn == "" {
				t.ResultIn = xs[i].ExchangeID
			}
		}
		xs[i].Tools = slices.Clone(xs[i].Tools) // the caller's are left as they are
		for k := range xs[i].Tools {
			if t := &xs[i].Tools[k]; t.ID != "" {
				t.ResultIn = ""
				calls[t.ID] = t
			}
		}
	}
}

// Denied says whether something of the exchange was refused or, where nothing is enforced, would have been.
func (x *Exchange) Denied() bool { return x.Verdict.Action == pipeline.Deny.String() }

// NewPrincipal puts a principal into the shape of the API.
func NewPrincipal(p pipeline.Principal) Principal {
	return Principal{SPIFFEID: p.SPIFFEID, User: p.User, Source: p.Source, Groups: p.Groups}
}

// NewWorkload puts a workload into the shape of the API.
func NewWorkload(w pipeline.Workload) Workload {
	return Workload{PID: w.PID, Cgroup: w.Cgroup, Unit: w.Unit, Container: w.Container, Pod: w.Pod, UID: w.UID, LoginUID: w.LoginUID,
		Start: w.Start, Namespace: w.Namespace, ServiceAccount: w.ServiceAccount, Comm: w.Comm, Exe: w.Exe, Found: w.Found, Labels: w.Labels}
}

// Valid keeps valid JSON as it is and makes a string of anything else: a model may write arguments that are none.
func Valid(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || json.Valid(raw) {
		return raw
	}
	quoted, err := json.Marshal(string(raw))
	if err != nil {
		return nil // a string always encodes
	}
	return quoted
}

func newSteps(in []pipeline.Step) []pipeline.Step {
	out := make([]pipeline.Step, len(in))
	for i, s := range in {
		s.Args = Valid(s.Args)
		out[i] = s
	}
	return out
}
