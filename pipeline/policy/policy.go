// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Set is a compiled policy. The zero Set denies everything.
type Set struct {
	version  string
	roles    map[string]*role
	bindings []binding // by name
	guards   []guard   // by name
	labels   []string  // the pod labels that bindings ask for, sorted

	mu    sync.RWMutex
	known map[string][]*role // by caller key, bounded by maxKnown; its lists are not changed
}

// maxKnown bounds how many callers are remembered; when it is reached, all are forgotten.
const maxKnown = 4096

type role struct {
	name  string
	rules []rule
}

// rule grants what all of its lists grant; an empty list grants nothing.
type rule struct {
	endpoints, models, operations, tools []glob
	hosts                                []glob // those of endpoints that have a dot, in lower case
}

type binding struct {
	name     string
	role     *role
	subjects []subject
}

// subject selects callers; every criterion that is set must hold.
type subject struct {
	spiffe, unit              *glob
	user, group               string
	namespace, serviceAccount string
	uid                       *uint32
	labels                    map[string]string
}

type guard struct {
	name    string
	on      []string
	tools   []glob // nil: any tool
	re      *regexp.Regexp
	need    *need
	action  pipeline.Action
	message string
}

// Version names the policy by its content: "sha256:…".
func (s *Set) Version() string { return s.version }

// Decide gives the verdict on a call (step nil) or on one step of a call that was allowed.
//
// A call needs a role with a rule that grants its endpoint, operation and model. A tool call needs such a rule that
// grants the tool too. Guardrails look at steps only; deny wins over alert, and of several the first by name speaks.
// A guardrail that names tools also matches a step whose tool is not known, for want of proof that it is another.
func (s *Set) Decide(m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) pipeline.Verdict {
	if m == nil || c == nil {
		return pipeline.Verdict{Action: pipeline.Deny, Stage: "call", Rule: "builtin/no-call", Reason: "there is no call to decide on"}
	}
	if step == nil {
		return s.role(m, c, nil)
	}
	switch step.Kind {
	case pipeline.StepToolCall:
		if v := s.role(m, c, step); v.Action == pipeline.Deny {
			return v
		}
	case pipeline.StepPrompt, pipeline.StepToolOffer, pipeline.StepToolResult:
	case pipeline.StepResponse: // no guardrail can name it yet
		return pipeline.Verdict{Stage: step.Kind}
	default:
		return pipeline.Verdict{Action: pipeline.Deny, Stage: plain(step.Kind), Rule: "builtin/unknown-step", Reason: "policy does not know this kind of step"}
	}
	return s.guard(step)
}

// role asks the roles of the caller: about the call, or about a tool within it.
func (s *Set) role(m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) pipeline.Verdict {
	roles := s.bound(m)
	stage := "call"
	if step != nil {
		stage = step.Kind
	}
	for _, r := range roles {
		for i := range r.rules {
			if u := &r.rules[i]; u.grants(m, c) && (step == nil || matchAny(u.tools, step.Name)) {
				return pipeline.Verdict{Stage: stage, Rule: "role/" + r.name}
			}
		}
	}
	v := pipeline.Verdict{Action: pipeline.Deny, Stage: stage, Rule: "builtin/no-binding"}
	if len(roles) > 0 {
		v.Rule = "role/" + roles[0].name
	}
	if step == nil {
		v.Reason = fmt.Sprintf("%s may not use model %s for %s at %s", who(m), plain(c.Model), plain(c.Operation), m.Endpoint.Name)
	} else {
		v.Reason = fmt.Sprintf("%s may not call tool %s with model %s at %s", who(m), plain(step.Name), plain(c.Model), m.Endpoint.Name)
	}
	return v
}

// guard asks the guardrails.
func (s *Set) guard(step *pipeline.Step) pipeline.Verdict {
	out := pipeline.Verdict{Stage: step.Kind}
	var in *input
	for i := range s.guards {
		g := &s.guards[i]
		if g.action <= out.Action || !g.about(step) {
			continue
		}
		if g.re != nil {
			if in == nil {
				in = newInput(step)
			}
			if !in.match(g) {
				continue
			}
		}
		out.Action, out.Rule, out.Reason = g.action, "guardrail/"+g.name, g.message
		if g.action == pipeline.Deny {
			break
		}
	}
	return out
}

// about says whether a guardrail looks at such a step and its tool.
func (g *guard) about(step *pipeline.Step) bool {
	return slices.Contains(g.on, step.Kind) && (g.tools == nil || step.Name == "" || matchAny(g.tools, step.Name))
}

func (u *rule) grants(m *pipeline.Meta, c *pipeline.Call) bool {
	return u.endpoint(&m.Endpoint) && matchAny(u.operations, c.Operation) && matchAny(u.models, c.Model)
}

// endpoint compares names, and hosts without case where a pattern has a dot: "a*" should not grant api.example.com.
func (u *rule) endpoint(e *pipeline.Endpoint) bool {
	return matchAny(u.endpoints, e.Name) || len(u.hosts) > 0 && matchAny(u.hosts, strings.ToLower(e.Host))
}

// bound lists the roles of a caller, each once, by name.
func (s *Set) bound(m *pipeline.Meta) []*role {
	var space [512]byte
	key := s.key(space[:0], m)
	s.mu.RLock()
	roles, ok := s.known[string(key)]
	s.mu.RUnlock()
	if ok {
		return roles
	}
	for i := range s.bindings {
		b := &s.bindings[i]
		if !slices.Contains(roles, b.role) && slices.ContainsFunc(b.subjects, func(x subject) bool { return x.holds(m) }) {
			roles = append(roles, b.role)
		}
	}
	slices.SortFunc(roles, func(a, b *role) int { return strings.Compare(a.name, b.name) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxKnown {
		s.known = make(map[string][]*role)
	}
	s.known[string(key)] = roles
	return roles
}

// key holds everything that subjects can ask for, so that callers with one key have the same roles.
func (s *Set) key(b []byte, m *pipeline.Meta) []byte {
	w, p := &m.Workload, &m.Principal
	put := func(v string) { b = append(binary.AppendUvarint(b, uint64(len(v))), v...) }
	put(p.SPIFFEID)
	put(p.User)
	put(w.Unit)
	put(w.Namespace)
	put(w.ServiceAccount)
	b = binary.AppendUvarint(b, uint64(w.UID)<<1)
	if w.PID != 0 {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	for _, l := range s.labels {
		put(w.Labels[l])
	}
	for _, g := range p.Groups {
		put(g)
	}
	return b
}

// holds: a value that is not known is empty and matches nothing, not even "*". The user ID 0 of a workload without a
// process is such a value.
func (x *subject) holds(m *pipeline.Meta) bool {
	w, p := &m.Workload, &m.Principal
	for k, v := range x.labels {
		if w.Labels[k] != v {
			return false
		}
	}
	return (x.spiffe == nil || p.SPIFFEID != "" && x.spiffe.match(p.SPIFFEID)) &&
		(x.unit == nil || w.Unit != "" && x.unit.match(w.Unit)) &&
		(x.user == "" || x.user == p.User) &&
		(x.group == "" || slices.Contains(p.Groups, x.group)) &&
		(x.namespace == "" || x.namespace == w.Namespace) &&
		(x.serviceAccount == "" || x.serviceAccount == w.ServiceAccount) &&
		(x.uid == nil || *x.uid == w.UID && (w.UID != 0 || w.PID != 0))
}

// who names the caller in words.
func who(m *pipeline.Meta) string {
	switch {
	case m.Principal.SPIFFEID != "":
		return m.Principal.SPIFFEID
	case m.Workload.Unit != "":
		return m.Workload.Unit
	}
	return fmt.Sprintf("uid %d", m.Workload.UID)
}

// plain makes a word from outside fit to stand in a message: short, printable, never nothing.
func plain(s string) string {
	if s == "" {
		return "(none)"
	}
	n := 0
	return strings.Map(func(r rune) rune {
		if n++; n > 128 {
			return -1
		}
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// glob is a pattern in which "*" stands for any run of characters, "/" and nothing included.
type glob struct {
	text  string
	parts []string // the text between the stars
}

func newGlob(s string) glob { return glob{s, strings.Split(s, "*")} }

func (g glob) match(s string) bool {
	first, last := g.parts[0], g.parts[len(g.parts)-1]
	if len(g.parts) == 1 {
		return s == first
	}
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, p := range g.parts[1 : len(g.parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return true
}

func matchAny(globs []glob, s string) bool {
	for _, g := range globs {
		if g.match(s) {
			return true
		}
	}
	return false
}
