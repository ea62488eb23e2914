// SPDX-License-Identifier: Apache-2.0

package document

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// noLogin is the audit login uid of a process outside any login session.
const noLogin = ^uint32(0)

// Origin is what all documents of one agent have in common.
type Origin struct {
	Host      string
	Version   string
	Namespace string
	Whole     bool // documents of contents repeat what earlier ones of the session have
}

// Record is where a record stands, and what its head says.
type Record struct {
	Kind       string
	Time       time.Time
	Session    string
	Exchange   string
	Generation uint64
	Sequence   uint64
	At         pipeline.Position
	Hash       journal.Hash
}

// RecordOf takes the head of an entry, whose memory is used again.
func RecordOf(e *journal.Entry) Record {
	return Record{e.Kind, e.Time, strings.Clone(e.Session), strings.Clone(e.Exchange), e.Generation, e.Sequence, e.Position, e.Hash}
}

// source is what a document is made from. The Exchange of a record that is none holds what the record says of who acted and what
// was decided, and nothing else.
type source struct {
	*journal.Exchange
	Origin
	stream *Stream
	rec    Record

	thread     string              // exchange, content
	part       *part               // content
	parts      int                 // content
	whole      *asked              // content
	decision   *pipeline.Decision  // decision
	approval   *pipeline.Approval  // decision
	flow       *pipeline.Flow      // flow
	gap        *pipeline.Gap       // flow
	action     *action             // admin
	checkpoint *journal.Checkpoint // agent
}

func (s *source) denied() bool { return s.Verdict.Action == pipeline.Deny.String() }

// rule splits "guardrail/NAME".
func (s *source) rule() (kind, name string) {
	kind, name, ok := strings.Cut(s.Verdict.Rule, "/")
	if !ok {
		return "", kind
	}
	return kind, name
}

func (s *source) uid(n uint32) string {
	if s.Workload.PID == 0 || n == noLogin {
		return ""
	}
	return strconv.FormatUint(uint64(n), 10)
}

func (s *source) pod(word string) string {
	if s.Workload.Pod == "" {
		return ""
	}
	return word
}

func (s *source) tools(of func(*journal.Tool) string) []string {
	var out []string
	for i := range s.Tools {
		out = append(out, of(&s.Tools[i]))
	}
	return unique(out...)
}

func (s *source) steps(kind string) []string {
	var out []string
	for i := range s.Steps {
		if s.Steps[i].Kind == kind {
			out = append(out, s.Steps[i].Name)
		}
	}
	return unique(out...)
}

// message is the document in one line.
func (s *source) message() string {
	switch {
	case s.part != nil:
		return words("contents of", s.ExchangeID, s.Operation, s.Model, fmt.Sprintf("%d of %d", s.part.number, s.parts))
	case s.approval != nil:
		return words(s.rec.Kind, s.approval.ID, state(s.approval), s.tool(), s.Verdict.Reason)
	case s.gap != nil:
		return words("gap:", s.gap.Reason)
	case s.flow != nil:
		return words(s.Principal.SPIFFEID, s.Workload.Comm, s.flow.Disposition, cmp.Or(s.flow.SNI, s.flow.Dest), s.flow.Reason)
	case s.action != nil:
		return words(s.action.name(s.rec.Kind), s.action.target(), s.action.Reason)
	case s.checkpoint != nil:
		return words(s.rec.Kind, s.checkpoint.Reason, fmt.Sprintf("generation %d, record %d", s.checkpoint.Generation, s.checkpoint.Sequence))
	case s.decision == nil && s.rec.Kind != pipeline.KindOutcome:
		return words(s.rec.Kind, fmt.Sprintf("generation %d, record %d", s.rec.Generation, s.rec.Sequence))
	}
	var b strings.Builder
	b.WriteString(words(s.Principal.SPIFFEID, s.Operation, s.tool(), s.Model, "at", s.Endpoint+":", s.Verdict.Action))
	if s.Verdict.Rule != "" {
		b.WriteString(" by " + s.Verdict.Rule)
	}
	if s.denied() && !s.Verdict.Enforced {
		b.WriteString(" (not enforced)")
	}
	if s.Cut != "" {
		b.WriteString(", cut: " + s.Cut)
	}
	return b.String()
}

func words(in ...string) string {
	return strings.Join(slices.DeleteFunc(in, func(s string) bool { return s == "" }), " ")
}

// types are those of the event.
func (s *source) types() []string {
	switch s.stream.Name {
	case Flow:
		if s.gap != nil {
			return []string{"info"}
		}
		return []string{"connection"}
	case Admin:
		return []string{"change"}
	case Agent:
		return []string{"info"}
	}
	switch {
	case s.approval != nil:
		return []string{"access"}
	case s.denied() && s.Verdict.Enforced:
		return []string{"access", "denied"}
	}
	return []string{"access", "allowed"}
}

func (s *source) id() string {
	switch {
	case s.decision != nil:
		return s.decision.ID
	case s.approval != nil && s.approval.ID != "":
		return s.approval.ID
	case s.rec.Kind == pipeline.KindOutcome:
		return s.ExchangeID
	}
	return s.rec.Hash.String()
}

func (s *source) users() []string {
	out := []string{s.Principal.User, s.uid(s.Workload.UID), s.uid(s.Workload.LoginUID)}
	if s.action != nil {
		out = append(out, s.action.User, s.action.By.User, s.action.uid())
	}
	if s.decision != nil || s.approval != nil {
		out = append(out, s.actor())
		if v, ok := s.vote(func(v *pipeline.ApprovalVote) any { return v.By.User }).(string); ok {
			out = append(out, v)
		}
	}
	return unique(out...)
}

func (s *source) sni() string {
	if s.flow == nil {
		return ""
	}
	return s.flow.SNI
}

func (s *source) masks(of func(*pipeline.Mask) string) []string {
	var out []string
	for i := range s.Masked {
		out = append(out, of(&s.Masked[i]))
	}
	return unique(out...)
}

// path leaves out the query, whose values the record does not have either.
func path(target string) string {
	if u, err := url.Parse(target); err == nil && u.Path != "" {
		return u.Path
	}
	p, _, _ := strings.Cut(target, "?")
	return p
}

func nonzero(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

func count(n *int64) any {
	if n == nil {
		return nil
	}
	return *n
}

// unique drops empty strings and repetitions and keeps the order.
func unique(in ...string) []string {
	var out []string
	for _, s := range in {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
