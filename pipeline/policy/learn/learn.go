// SPDX-License-Identifier: Apache-2.0

// Package learn writes the least Role that allows what was recorded: each endpoint, operation, model and tool exactly as it
// was used, without wildcards, and a RoleBinding to whoever used it. It does no I/O and applies nothing: people read what it
// writes, and take out what should not have happened.
//
// Names come from programs and models. One that a policy would read as a pattern is never written: a request for a model
// "*" must not teach a role that allows every model.
package learn

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy/replay"
)

// Options say what is learned from.
type Options struct {
	Principal func(*pipeline.Intent) bool // nil: everybody
	Denied    bool                        // also from what was refused, or allowed by an elevation alone; what only would have been, in observe, is learned in any case
	Called    bool                        // tools that were called, not those that were only offered
}

// Learner gathers exchange by exchange.
type Learner struct {
	o       Options
	callers map[subject]*caller
	left    map[string]int // what was left out, and why
	n       int
	from    time.Time
	to      time.Time
}

// subject is who a binding is for; one field, or namespace with service account.
type subject struct {
	SPIFFE         string  `yaml:"spiffe,omitempty" json:"spiffe,omitempty"`
	Unit           string  `yaml:"unit,omitempty" json:"unit,omitempty"`
	Namespace      string  `yaml:"namespace,omitempty" json:"namespace,omitempty"`
	ServiceAccount string  `yaml:"serviceAccount,omitempty" json:"serviceAccount,omitempty"`
	User           string  `yaml:"user,omitempty" json:"user,omitempty"`
	UID            *uint32 `yaml:"uid,omitempty" json:"uid,omitempty"`
	uid            int64   // for comparison; -1 = none
}

// use is one combination of what a rule grants.
type use struct{ endpoint, operation, model string }

type caller struct {
	n     int
	uses  map[use]map[string]bool // tools
	idle  map[string]bool         // offered
	calls map[string]bool         // called
}

// New makes a Learner that knows nothing.
func New(o Options) *Learner {
	return &Learner{o: o, callers: map[subject]*caller{}, left: map[string]int{}}
}

// Exchanges is how many it has learned from.
func (l *Learner) Exchanges() int { return l.n }

// Add learns from one exchange.
func (l *Learner) Add(x *replay.Exchange) {
	in := x.Intent
	if l.o.Principal != nil && !l.o.Principal(in) {
		return
	}
	switch {
	case in.Uninspected != "" || in.Call.Operation == "":
		l.left["exchanges that were not inspected"]++
		return
	case !l.o.Denied && refused(x):
		l.left["exchanges that were refused"]++
		return
	case !l.o.Denied && elevated(x):
		l.left["exchanges that only a role for a time (an elevation) allowed"]++
		return
	}
	who, ok := whose(in)
	if !ok {
		l.left["exchanges of callers that no binding can name"]++
		return
	}
	u := use{in.Endpoint.Name, in.Call.Operation, in.Call.Model}
	if u.model == "" && u.operation == pipeline.OpModels {
		u.model = "*" // it asks for none; the rule grants this operation alone
	} else if !plain(u.model) {
		l.left[fmt.Sprintf("exchanges with the model %.80q, which is no plain name", u.model)]++
		return
	}
	if !plain(u.endpoint) || !plain(u.operation) {
		l.left[fmt.Sprintf("exchanges at the endpoint %.80q, which is no plain name", u.endpoint)]++
		return
	}
	c := l.callers[who]
	if c == nil {
		c = &caller{uses: map[use]map[string]bool{}, idle: map[string]bool{}, calls: map[string]bool{}}
		l.callers[who] = c
	}
	u = use{strings.Clone(u.endpoint), strings.Clone(u.operation), strings.Clone(u.model)}
	tools := c.uses[u]
	if tools == nil {
		tools = map[string]bool{}
		c.uses[u] = tools
	}
	c.n++
	l.n++
	if l.from.IsZero() || x.Time.Before(l.from) {
		l.from = x.Time
	}
	if x.Time.After(l.to) {
		l.to = x.Time
	}
	add := func(s *pipeline.Step, note map[string]bool) {
		if !plain(s.Name) {
			l.left[fmt.Sprintf("tools named %.80q, which is no plain name", s.Name)]++
			return
		}
		name := strings.Clone(s.Name)
		note[name] = true
		if !l.o.Called || s.Kind == pipeline.StepToolCall {
			tools[name] = true
		}
	}
	for i := range in.Call.Steps {
		if s := &in.Call.Steps[i]; s.Kind == pipeline.StepToolOffer && (l.o.Denied || !stopped(x, s)) {
			add(s, c.idle)
		}
	}
	for i := range x.Decisions {
		for k := range x.Decisions[i].Verdict.Removed { // where that was enforced, the request is recorded without them
			if l.o.Denied && x.Decisions[i].Enforced {
				add(&x.Decisions[i].Verdict.Removed[k], c.idle)
			}
		}
	}
	if x.Outcome != nil {
		for i := range x.Outcome.Tools {
			if s := &x.Outcome.Tools[i]; l.o.Denied || !stopped(x, s) {
				add(s, c.calls)
			}
		}
	}
}

// refused says whether the call, or something that it brought, was refused and the exchange ended by that.
func refused(x *replay.Exchange) bool {
	return slices.ContainsFunc(x.Decisions, func(d pipeline.Decision) bool {
		return d.Enforced && d.Verdict.Action == pipeline.Deny && (d.Step == nil || d.Step.Kind != pipeline.StepToolCall)
	})
}

// elevated says whether something of the exchange hung on an elevation: what was granted for a time is not to be had for good.
func elevated(x *replay.Exchange) bool {
	return x.Outcome != nil && x.Outcome.Verdict.Elevation != "" ||
		slices.ContainsFunc(x.Decisions, func(d pipeline.Decision) bool { return d.Verdict.Elevation != "" })
}

// stopped says whether a tool was refused, or taken out of the offer.
func stopped(x *replay.Exchange, s *pipeline.Step) bool {
	return slices.ContainsFunc(x.Decisions, func(d pipeline.Decision) bool {
		return d.Enforced && d.Step != nil && d.Step.Kind == s.Kind && d.Step.Name == s.Name && d.Step.Index == s.Index && d.Step.ID == s.ID &&
			(d.Verdict.Action == pipeline.Deny || d.Verdict.Action == pipeline.Transform && s.Kind == pipeline.StepToolOffer)
	})
}

// whose finds the narrowest name of a caller that is known. If a binding cannot hold that one, a wider one does not stand in
// for it: it would let in others. So would the scope of a login, such as session-4.scope: the next to have it is somebody else.
func whose(in *pipeline.Intent) (subject, bool) {
	w, p := &in.Workload, &in.Principal
	s := subject{uid: -1}
	passing := strings.HasSuffix(w.Unit, ".scope")
	switch {
	case p.SPIFFEID != "" && !(passing && strings.Contains(p.SPIFFEID, w.Unit)):
		s.SPIFFE = strings.Clone(p.SPIFFEID)
	case w.Namespace != "" && w.ServiceAccount != "":
		s.Namespace, s.ServiceAccount = strings.Clone(w.Namespace), strings.Clone(w.ServiceAccount)
	case w.Unit != "" && !passing:
		s.Unit = strings.Clone(w.Unit)
	case p.User != "":
		s.User = strings.Clone(p.User)
	case w.UID != 0 || w.PID != 0:
		s.uid = int64(w.UID)
		return s, true
	default:
		return s, false
	}
	return s, plain(s.SPIFFE + s.Namespace + s.ServiceAccount + s.Unit + s.User)
}

// plain says whether a policy reads a name as itself.
func plain(s string) bool {
	return s != "" && len(s) <= 512 && !strings.ContainsAny(s, `*?[]{}\`) &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar })
}

// Document is one document of a policy folder.
type Document struct {
	APIVersion string   `yaml:"apiVersion" json:"apiVersion"`
	Kind       string   `yaml:"kind" json:"kind"`
	Metadata   Metadata `yaml:"metadata,flow" json:"metadata"`
	Spec       Spec     `yaml:"spec" json:"spec"`

	header string
}

// Metadata names a document.
type Metadata struct {
	Name string `yaml:"name" json:"name"`
}

// Spec is that of a Role (Rules) or a RoleBinding (Role, Subjects).
type Spec struct {
	Rules    []Rule    `yaml:"rules,omitempty" json:"rules,omitempty"`
	Role     string    `yaml:"role,omitempty" json:"role,omitempty"`
	Subjects []subject `yaml:"subjects,omitempty" json:"subjects,omitempty"`
}

// Rule is one rule of a Role.
type Rule struct {
	Endpoints  []string `yaml:"endpoints,flow" json:"endpoints"`
	Operations []string `yaml:"operations,flow" json:"operations"`
	Models     []string `yaml:"models,flow" json:"models"`
	Tools      []string `yaml:"tools,flow,omitempty" json:"tools,omitempty"`
}

const apiVersion = "sallyport.dev/v1alpha1"

// Documents are a Role and a RoleBinding for each caller.
func (l *Learner) Documents() []Document {
	var out []Document
	names := map[string]bool{}
	subjects := slices.SortedFunc(maps.Keys(l.callers), func(a, b subject) int {
		return cmp.Or(cmp.Compare(a.label(), b.label()))
	})
	for _, s := range subjects {
		c := l.callers[s]
		name := s.name()
		for n := 2; names[name]; n++ {
			name = fmt.Sprintf("%.58s-%d", s.name(), n)
		}
		names[name] = true
		if s.uid >= 0 {
			uid := uint32(s.uid)
			s.UID = &uid
		}
		header := fmt.Sprintf("%s: learned from %d exchanges.", s.label(), c.n)
		var idle []string
		for _, t := range slices.Sorted(maps.Keys(c.idle)) {
			if !c.calls[t] {
				idle = append(idle, fmt.Sprintf("%q", t))
			}
		}
		if len(idle) > 0 {
			verb := "Offered, never called; take out what is not needed: "
			if l.o.Called {
				verb = "Offered, never called, and not granted: it will be taken out of the offer: "
			}
			header += "\n" + verb + strings.Join(idle, ", ") + "."
		}
		out = append(out, Document{APIVersion: apiVersion, Kind: "Role", Metadata: Metadata{name}, Spec: Spec{Rules: c.rules()}, header: header},
			Document{APIVersion: apiVersion, Kind: "RoleBinding", Metadata: Metadata{name}, Spec: Spec{Role: name, Subjects: []subject{s}}})
	}
	return out
}

// rules joins what was used only where joining grants nothing else: models with the same tools.
func (c *caller) rules() []Rule {
	type key struct{ endpoint, operation, tools string }
	by := map[key]*Rule{}
	for u, set := range c.uses {
		tools := slices.Sorted(maps.Keys(set))
		k := key{u.endpoint, u.operation, strings.Join(tools, "\x00")}
		if by[k] == nil {
			by[k] = &Rule{Endpoints: []string{u.endpoint}, Operations: []string{u.operation}, Tools: tools}
		}
		by[k].Models = append(by[k].Models, u.model)
	}
	var out []Rule
	for _, k := range slices.SortedFunc(maps.Keys(by), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.endpoint, b.endpoint), cmp.Compare(a.operation, b.operation), cmp.Compare(a.tools, b.tools))
	}) {
		slices.Sort(by[k].Models)
		out = append(out, *by[k])
	}
	return out
}

// label names a subject for people.
func (s subject) label() string {
	switch {
	case s.SPIFFE != "":
		return s.SPIFFE
	case s.ServiceAccount != "":
		return "service account " + s.Namespace + "/" + s.ServiceAccount
	case s.Unit != "":
		return s.Unit
	case s.User != "":
		return "user " + s.User
	}
	return fmt.Sprintf("uid %d", s.uid)
}

// name is fit for metadata.name.
func (s subject) name() string {
	last := strings.TrimSuffix(path.Base(strings.ReplaceAll(s.label(), " ", "-")), ".service")
	last = strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '.' || r == '-' || r == '_') {
			return r
		}
		return '-'
	}, last)
	return fmt.Sprintf("learned-%.50s", last)
}

// YAML gives the documents as a file, with a header that says what they were learned from. source names the record.
func (l *Learner) YAML(source string) ([]byte, error) {
	var b strings.Builder
	comment := func(format string, args ...any) {
		for line := range strings.Lines(fmt.Sprintf(format, args...)) {
			b.WriteString("# " + strings.Map(printable, strings.TrimSuffix(line, "\n")) + "\n")
		}
	}
	comment("Learned by sallyport policy learn from %s: %d exchanges, %s to %s.", oneLine(source), l.n, l.from.UTC().Format(time.RFC3339), l.to.UTC().Format(time.RFC3339))
	comment("Nothing applies it. Read it: what was recorded is not always what should be allowed. Then try it:")
	comment("sallyport policy test DIR, with this file in DIR.")
	for _, why := range slices.Sorted(maps.Keys(l.left)) {
		comment("Left out: %d %s.", l.left[why], why)
	}
	for _, d := range l.Documents() {
		if d.Kind == "Role" {
			b.WriteString("---\n")
			comment("%s", d.header)
		} else {
			b.WriteString("---\n")
		}
		raw, err := yaml.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("writing the learned policy: %w", err)
		}
		b.Write(raw)
	}
	return []byte(b.String()), nil
}

// JSON gives the documents, and what was left out.
func (l *Learner) JSON(source string) ([]byte, error) {
	docs := l.Documents()
	if docs == nil {
		docs = []Document{}
	}
	return json.MarshalIndent(struct {
		Source    string         `json:"source"`
		Exchanges int            `json:"exchanges"`
		From      time.Time      `json:"from"`
		To        time.Time      `json:"to"`
		LeftOut   map[string]int `json:"left_out,omitempty"`
		Documents []Document     `json:"documents"`
	}{source, l.n, l.from, l.to, l.left, docs}, "", "  ")
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return '?'
	}
	return r
}
