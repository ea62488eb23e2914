// SPDX-License-Identifier: Apache-2.0

package document

import (
	"cmp"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// Doc is one document.
type Doc struct {
	Stream string // its name
	ID     string
	JSON   []byte // without line breaks
	Action string // of a record of administration
}

// Maker makes documents. It is safe for concurrent use.
type Maker struct {
	origin  Origin
	streams map[string]*tree
}

// tree is a stream with its fields as a tree of objects.
type tree struct {
	Stream
	root *node
}

// NewMaker makes the documents of one agent.
func NewMaker(o Origin) *Maker {
	m := &Maker{o, map[string]*tree{}}
	for _, s := range Streams() {
		m.streams[s.Name] = &tree{s, newTree(&s)}
	}
	return m
}

// Origin is what all of its documents have in common.
func (m *Maker) Origin() Origin { return m.origin }

func (m *Maker) doc(name, id string, s *source) Doc {
	t := m.streams[name]
	s.Origin, s.stream = m.origin, &t.Stream
	b, ok := appendNode(nil, t.root, s)
	if !ok {
		b = []byte("{}")
	}
	return Doc{Stream: name, ID: id, JSON: b}
}

// Record makes the document of a record that has one of its own, and is no outcome.
func (m *Maker) Record(e *journal.Entry) (Doc, error) {
	rec := RecordOf(e)
	s := &source{rec: rec, Exchange: &journal.Exchange{SessionID: rec.Session, ExchangeID: rec.Exchange, Time: rec.Time}}
	if err := s.read(e); err != nil {
		return Doc{}, err
	}
	d := m.doc(Route(e.Kind), rec.Hash.String(), s)
	if s.action != nil {
		d.Action = s.action.Action
	}
	return d, nil
}

// read takes from a record what may be shown. Contents of decisions and approvals are not even decrypted.
func (s *source) read(e *journal.Entry) error {
	var body any
	switch e.Kind {
	case pipeline.KindDecision:
		body = new(pipeline.Decision)
	case pipeline.KindApproval, pipeline.KindElevation:
		body = new(pipeline.Approval)
	case pipeline.KindFlow:
		body = new(pipeline.Flow)
	case pipeline.KindGap:
		body = new(pipeline.Gap)
	case pipeline.KindCheckpoint:
		body = new(journal.Checkpoint)
	case pipeline.KindAdmin, pipeline.KindPolicy, pipeline.KindConfig:
		var raw json.RawMessage
		if err := e.Metadata(&raw); err != nil {
			return err
		}
		s.take(readAction(raw))
		return nil
	default:
		return nil
	}
	if err := e.Metadata(body); err != nil {
		return err
	}
	s.take(body)
	return nil
}

// take notes a body, and what it says of who acted and what was decided.
func (s *source) take(body any) {
	switch b := body.(type) {
	case *pipeline.Decision:
		s.decision = b
		s.Policy, s.Scope, s.Model, s.Endpoint, s.Principal.SPIFFEID = b.Policy, b.Scope, b.Model, b.Endpoint, b.SPIFFEID
		v := &b.Verdict
		s.Verdict = journal.Verdict{Action: v.Action.String(), Stage: v.Stage, Rule: v.Rule, Reason: v.Reason, Mode: b.Mode.String(), Enforced: b.Enforced, Decision: b.ID,
			Elevation: v.Elevation, Approval: v.Approval}
	case *pipeline.Approval:
		s.approval = b
		s.Verdict.Reason = b.Note
		if s.rec.Kind == pipeline.KindElevation {
			s.Verdict.Elevation = b.ID
		} else {
			s.Verdict.Approval = b.ID
		}
		if q := b.Asked; q != nil {
			s.Scope, s.Endpoint, s.Operation, s.Model = q.Scope, q.Endpoint, q.Operation, q.Model
			s.who(&q.Workload, &q.Principal)
			s.Verdict.Rule, s.Verdict.Reason = q.Rule, q.Reason
			s.SessionID, s.ExchangeID = cmp.Or(s.SessionID, q.Session), cmp.Or(s.ExchangeID, q.Exchange)
		}
	case *pipeline.Flow:
		s.flow = b
		s.FlowID, s.Scope, s.Verdict.Mode = b.ID, b.Scope, b.Mode.String()
		s.who(&b.Workload, &b.Principal)
	case *pipeline.Gap:
		s.gap = b
	case *action:
		s.action = b
		s.Workload.PID, s.Workload.Comm, s.Workload.LoginUID, s.Workload.UID = b.PID, b.Comm, noLogin, noLogin
		s.Principal.User = cmp.Or(b.By.User, b.User)
		s.SessionID = cmp.Or(s.SessionID, b.Session)
	case *journal.Checkpoint:
		s.checkpoint = b
	}
}

func (s *source) who(w *pipeline.Workload, p *pipeline.Principal) {
	s.Workload = journal.Workload{PID: w.PID, Start: w.Start, UID: w.UID, LoginUID: w.LoginUID, Cgroup: w.Cgroup, Unit: w.Unit, Container: w.Container,
		Pod: w.Pod, Namespace: w.Namespace, ServiceAccount: w.ServiceAccount, Comm: w.Comm, Exe: w.Exe, Found: w.Found}
	s.Principal = journal.Principal{SPIFFEID: p.SPIFFEID, User: p.User, Source: p.Source}
}

// Exchange makes the documents of an exchange that has ended: that of the exchange, and those of its contents unless they are gone.
// rec is the outcome's record.
func (m *Maker) Exchange(rec Record, p *journal.Parts) []Doc {
	x := p.Document()
	base := source{Exchange: &x, rec: rec, thread: p.Intent.Call.Thread}
	s := base
	out := []Doc{m.doc(Exchange, rec.Hash.String(), &s)}
	if p.Content != journal.ContentHere {
		return out
	}
	parts, asked := split(p, m.origin.Whole)
	for i := range parts {
		s := base
		s.part, s.parts, s.whole = &parts[i], len(parts), asked
		out = append(out, m.doc(Content, ContentID(rec.Hash, i+1), &s))
	}
	return out
}

// ContentID is the ID of a part of the contents, from 1.
func ContentID(outcome journal.Hash, part int) string {
	return outcome.String() + "-" + strconv.Itoa(part)
}

// action is what records of administration have in common, as far as they do.
type action struct {
	Action    string `json:"action"`
	Target    string `json:"target"`
	Reason    string `json:"reason"`
	Cause     string `json:"cause"`
	Version   string `json:"version"`
	Scope     string `json:"scope"`
	Selector  string `json:"selector"`
	Session   string `json:"session"`
	Principal string `json:"principal"`
	User      string `json:"user"`
	UID       *int64 `json:"uid"`
	PID       uint32 `json:"pid"`
	Comm      string `json:"comm"`
	By        struct {
		User string `json:"user"`
		UID  *int64 `json:"uid"`
	} `json:"by"`

	detail string
}

// maxDetail bounds the JSON of a record of administration in a document.
const maxDetail = 64 << 10

func readAction(raw []byte) *action {
	a := new(action)
	var other *json.UnmarshalTypeError
	if err := json.Unmarshal(raw, a); err != nil && !errors.As(err, &other) {
		a = new(action) // of which nothing is known but the detail
	}
	a.detail = string(raw)
	if len(raw) > maxDetail {
		a.detail = strings.ToValidUTF8(a.detail[:maxDetail], "") + "…"
	}
	return a
}

func (a *action) name(kind string) string { return cmp.Or(a.Action, kind) }

func (a *action) target() string { return cmp.Or(a.Target, a.Selector, a.Scope, a.Version) }

func (a *action) uid() string {
	for _, n := range []*int64{a.By.UID, a.UID} {
		if n != nil && *n != int64(pipeline.NoUID) {
			return strconv.FormatInt(*n, 10)
		}
	}
	return ""
}
