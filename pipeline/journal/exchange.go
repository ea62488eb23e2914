// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/json"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Exchange is one request and its response as one document. Contents are masked. The JSON names are an interface.
type Exchange struct {
	SessionID   string          `json:"session_id"`
	ExchangeID  string          `json:"exchange_id"`
	FlowID      string          `json:"flow_id,omitempty"`
	Parent      string          `json:"parent_id,omitempty"` // the exchange of this session that this one goes on from
	Time        time.Time       `json:"time"`
	Scope       string          `json:"scope"`
	Principal   Principal       `json:"principal"`
	Workload    Workload        `json:"workload"`
	Endpoint    string          `json:"endpoint"`
	Host        string          `json:"host"`
	Port        uint16          `json:"port"`
	Protocol    string          `json:"protocol"`
	Operation   string          `json:"operation"`
	Model       string          `json:"model"`
	Stream      bool            `json:"stream"`
	Request     Request         `json:"request"`
	Response    Response        `json:"response"`
	Tools       []Tool          `json:"tools"` // the tool calls of the reply, refused ones included
	Steps       []pipeline.Step `json:"steps"` // what the request held that policy can name
	Verdict     Verdict         `json:"verdict"`
	Decisions   []Decision      `json:"decisions"`
	Masked      []pipeline.Mask `json:"masked"`
	Usage       pipeline.Usage  `json:"usage"`
	DurationMS  int64           `json:"duration_ms"`
	OverheadUS  int64           `json:"overhead_us"`
	FirstMS     int64           `json:"first_release_ms,omitempty"`
	HoldMS      int64           `json:"hold_ms,omitempty"`  // time spent waiting for people
	ReplyOf     string          `json:"reply_of,omitempty"` // the exchange whose kept reply this is
	Status      int             `json:"status"`
	Cut         string          `json:"cut,omitempty"`     // why the reply did not end by itself
	Open        bool            `json:"open,omitempty"`    // no outcome yet
	Content     string          `json:"content,omitempty"` // why the contents are not there: "erased", "no_key", "omitted"
	Uninspected string          `json:"uninspected,omitempty"`
	Policy      string          `json:"policy,omitempty"` // version of the policy that decided
	Ended       time.Time       `json:"ended,omitzero"`
	Record      Place           `json:"record"`
}

// Place is where the journal has the outcome of an exchange.
type Place struct {
	Hash    Hash   `json:"hash"`
	Segment uint64 `json:"segment"`
	Offset  uint64 `json:"offset"`
}

// Principal is who acted; unknown fields are empty, never missing.
type Principal struct {
	SPIFFEID string `json:"spiffe_id"`
	User     string `json:"user"`
	Source   string `json:"source,omitempty"`
}

// Workload is what ran; unknown fields are empty, never missing.
type Workload struct {
	PID            uint32 `json:"pid"`
	Start          uint64 `json:"start"`
	UID            uint32 `json:"uid"`
	LoginUID       uint32 `json:"login_uid"`
	Cgroup         string `json:"cgroup"`
	Unit           string `json:"unit"`
	Container      string `json:"container"`
	Pod            string `json:"pod"`
	Namespace      string `json:"namespace,omitempty"`
	ServiceAccount string `json:"service_account,omitempty"`
	Comm           string `json:"comm,omitempty"`
	Exe            string `json:"exe,omitempty"`
	Found          string `json:"found,omitempty"` // how it was recognised as a LangChain program, if not by opening a package's file
}

// Request is what the application asked.
type Request struct {
	Method     string          `json:"method"`
	Target     string          `json:"target"`
	UserAgent  string          `json:"user_agent,omitempty"`
	Credential string          `json:"credential,omitempty"` // keyed fingerprint
	Bytes      int64           `json:"bytes"`
	SHA256     string          `json:"sha256,omitempty"`
	Body       json.RawMessage `json:"body,omitempty"`
}

// Response is what came back.
type Response struct {
	Status int      `json:"status"`
	ID     string   `json:"id,omitempty"`
	Model  string   `json:"model,omitempty"`
	Finish []string `json:"finish,omitempty"`
	Text   string   `json:"text,omitempty"`
	Bytes  int64    `json:"bytes"`
	Cut    string   `json:"cut,omitempty"`

	CutReason string `json:"cut_reason,omitempty"`
}

// Tool is one tool call of a reply and what was decided on it.
type Tool struct {
	Name     string          `json:"name"`
	ID       string          `json:"id,omitempty"`
	Args     json.RawMessage `json:"args,omitempty"` // JSON if the arguments are, else a string
	Action   string          `json:"action"`
	Rule     string          `json:"rule,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Decision string          `json:"decision,omitempty"`
}

// Verdict is the most severe verdict of an exchange.
type Verdict struct {
	Action   string `json:"action"`
	Stage    string `json:"stage"`
	Rule     string `json:"rule"`
	Reason   string `json:"reason"`
	Mode     string `json:"mode"`
	Enforced bool   `json:"enforced"`
	Decision string `json:"decision,omitempty"`

	Elevation string `json:"elevation_id,omitempty"` // the grant without which it would have been denied
	Approval  string `json:"approval_id,omitempty"`  // what people were asked
}

// Decision is one recorded decision of an exchange.
type Decision struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Action   string    `json:"action"`
	Stage    string    `json:"stage"`
	Rule     string    `json:"rule"`
	Reason   string    `json:"reason"`
	Enforced bool      `json:"enforced"`
	Tool     string    `json:"tool,omitempty"`
}

// Document puts the records of an exchange into one document.
func (p *Parts) Document() Exchange {
	in, w := p.Intent, p.Intent.Workload
	x := Exchange{
		SessionID: p.Session, ExchangeID: p.Exchange, FlowID: in.Flow, Parent: in.Parent, Time: p.Time, Scope: in.Scope,
		Principal: Principal{in.Principal.SPIFFEID, in.Principal.User, in.Principal.Source},
		Workload: Workload{PID: w.PID, Start: w.Start, UID: w.UID, LoginUID: w.LoginUID, Cgroup: w.Cgroup, Unit: w.Unit, Container: w.Container,
			Pod: w.Pod, Namespace: w.Namespace, ServiceAccount: w.ServiceAccount, Comm: w.Comm, Exe: w.Exe, Found: w.Found},
		Endpoint: in.Endpoint.Name, Host: in.Endpoint.Host, Port: in.Endpoint.Port, Protocol: in.Endpoint.Protocol,
		Operation: in.Call.Operation, Model: in.Call.Model, Stream: in.Call.Stream,
		Request: Request{Method: in.Method, Target: in.Target, UserAgent: in.UserAgent, Credential: in.Credential,
			Bytes: in.BodyBytes, SHA256: in.Digest(), Body: validJSON(in.Body)},
		Tools: []Tool{}, Steps: []pipeline.Step{}, Decisions: []Decision{}, Masked: append([]pipeline.Mask{}, in.Masks...),
		Verdict:     Verdict{Action: pipeline.Allow.String(), Stage: "call", Mode: in.Mode.String(), Enforced: in.Mode == pipeline.ModeEnforce},
		Uninspected: in.Uninspected, Policy: in.Policy, Open: p.Outcome == nil, Content: p.Content, Ended: p.Ended,
		Record: Place{p.Hash, p.Refs.Outcome.Segment, p.Refs.Outcome.Offset},
	}
	for _, s := range in.Call.Steps {
		s.Args = validJSON(s.Args)
		x.Steps = append(x.Steps, s)
	}
	var worst *TimedDecision
	for i := range p.Decisions {
		d := &p.Decisions[i]
		doc := Decision{ID: d.ID, Time: d.Time, Action: d.Verdict.Action.String(), Stage: d.Verdict.Stage,
			Rule: d.Verdict.Rule, Reason: d.Verdict.Reason, Enforced: d.Enforced}
		if d.Step != nil {
			doc.Tool = d.Step.Name
		}
		x.Decisions = append(x.Decisions, doc)
		if worst == nil || d.Verdict.Action > worst.Verdict.Action {
			worst = d
		}
	}
	if o := p.Outcome; o != nil {
		x.Response = Response{Status: o.Status, ID: o.ResponseID, Model: o.ResponseModel, Finish: o.Finish, Text: o.Text,
			Bytes: o.BytesReleased, Cut: o.Cut, CutReason: o.CutReason}
		x.Usage, x.DurationMS, x.OverheadUS, x.FirstMS = o.Usage, o.DurationMS, o.OverheadUS, o.FirstReleaseMS
		x.HoldMS, x.ReplyOf, x.Status, x.Cut = o.HoldMS, o.ReplyOf, o.Status, o.Cut
		x.Masked = append(x.Masked, o.Masks...)
		for i := range o.Tools {
			x.Tools = append(x.Tools, p.tool(&o.Tools[i]))
		}
		x.Verdict.set(o.Verdict, o.Enforced, o.Decision)
	} else if worst != nil {
		x.Verdict.set(worst.Verdict, worst.Enforced, worst.ID)
	}
	return x
}

func (v *Verdict) set(from pipeline.Verdict, enforced bool, decision string) {
	v.Action, v.Rule, v.Reason, v.Enforced, v.Decision = from.Action.String(), from.Rule, from.Reason, enforced, decision
	v.Elevation, v.Approval = from.Elevation, from.Approval
	if from.Stage != "" {
		v.Stage = from.Stage
	}
}

func (p *Parts) tool(s *pipeline.Step) Tool {
	t := Tool{Name: s.Name, ID: s.ID, Args: validJSON(s.Args), Action: pipeline.Allow.String()}
	worst := pipeline.Allow
	for i := range p.Decisions {
		d := &p.Decisions[i]
		if d.Step == nil || d.Step.Kind != pipeline.StepToolCall || d.Step.Name != s.Name || d.Step.ID != s.ID || d.Step.Index != s.Index {
			continue
		}
		if d.Verdict.Action > worst {
			worst = d.Verdict.Action
			t.Action, t.Rule, t.Reason, t.Decision = worst.String(), d.Verdict.Rule, d.Verdict.Reason, d.ID
		}
	}
	return t
}
