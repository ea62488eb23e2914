// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline/policy/cond"
	"github.com/sallyport-dev/sallyport/pipeline/policy/meter"
)

// compile checks the meaning of the documents and makes a Set of them. It is of use only if there are no problems.
func (l *loader) compile() *Set {
	s := &Set{roles: map[string]*role{}, about: map[string]*kind{}}
	for _, d := range sorted(l.roles) {
		s.roles[d.Metadata.Name.s] = l.role(d)
	}
	for _, d := range sorted(l.bindings) {
		s.bindings = append(s.bindings, l.binding(s, d))
	}
	slices.Sort(s.labels)
	s.labels = slices.Compact(s.labels)
	for _, d := range sorted(l.guards) {
		l.guard(s, d)
	}
	return s
}

func (l *loader) role(d *doc[roleSpec]) *role {
	r := &role{name: d.Metadata.Name.s}
	for _, in := range d.Spec.Rules {
		u := rule{endpoints: l.globs(d.file, in.Endpoints), models: l.globs(d.file, in.Models), operations: l.globs(d.file, in.Operations),
			tools: l.globs(d.file, in.Tools), observe: l.observe(d.file, in.Enforcement), when: l.cond(d.file, in.When)}
		what := "Role " + r.name
		u.limit = l.limit(d, what, in.Limits)
		u.maxTokens = l.count(d, what, "maxTokens", in.MaxTokens)
		if u.observe && u.limit.Per == 0 && u.maxTokens == 0 && u.when == nil {
			l.add(d.file, in.Enforcement.line, "%s has a rule that is only observed and has neither limits nor when: there is nothing to observe, "+
				"put enforcement on the RoleBinding to watch what the role lacks", what)
		}
		for _, g := range u.endpoints {
			if strings.Contains(g.text, ".") {
				u.hosts = append(u.hosts, newGlob(strings.ToLower(g.text)))
			}
		}
		r.rules = append(r.rules, u)
	}
	return r
}

func (l *loader) binding(s *Set, d *doc[bindingSpec]) binding {
	name := d.Metadata.Name.s
	b := binding{name: name, role: s.roles[d.Spec.Role.s], observe: l.observe(d.file, d.Spec.Enforcement)}
	if b.role == nil {
		l.add(d.file, cmp.Or(d.Spec.Role.line, d.line), "RoleBinding %s names role %q, which there is not: add the role or mend the name", name, d.Spec.Role.s)
	}
	if len(d.Spec.Subjects) == 0 {
		l.add(d.file, d.line, "RoleBinding %s has no subjects and binds nobody: add one", name)
	}
	for _, in := range d.Spec.Subjects {
		b.subjects = append(b.subjects, l.subject(s, d, &in))
	}
	return b
}

func (l *loader) subject(s *Set, d *doc[bindingSpec], in *subjectSpec) subject {
	line := d.line
	value := func(t *text, what string) string {
		if t == nil {
			return ""
		}
		line = t.line
		if t.s == "" {
			l.add(d.file, t.line, "%s of a subject is empty: give a value or remove it", what)
		}
		return t.s
	}
	pattern := func(t *text, what string) *glob {
		if value(t, what) == "" {
			return nil
		}
		g := l.glob(d.file, *t)
		return &g
	}
	x := subject{
		spiffe: pattern(in.SPIFFE, "spiffe"), unit: pattern(in.Unit, "unit"), uid: in.UID,
		user: value(in.User, "user"), group: value(in.Group, "group"),
		namespace: value(in.Namespace, "namespace"), serviceAccount: value(in.ServiceAccount, "serviceAccount"),
	}
	for k, v := range in.PodLabels {
		if x.labels == nil {
			x.labels = map[string]string{}
		}
		x.labels[k] = value(&v, "a pod label")
		s.labels = append(s.labels, k)
	}
	if in.SPIFFE == nil && in.Unit == nil && in.User == nil && in.Group == nil && in.UID == nil && in.Namespace == nil &&
		in.ServiceAccount == nil && len(in.PodLabels) == 0 {
		l.add(d.file, line, "RoleBinding %s has a subject that names nobody: set spiffe, unit, user, group, uid, namespace or podLabels", d.Metadata.Name.s)
	}
	if in.ServiceAccount != nil && in.Namespace == nil {
		l.add(d.file, in.ServiceAccount.line, "a service account is named within its namespace: add namespace")
	}
	return x
}

func (l *loader) globs(file string, in []text) []glob {
	out := make([]glob, 0, len(in))
	for _, t := range in {
		out = append(out, l.glob(file, t))
	}
	return out
}

// glob refuses what looks like a wildcard but is none: taken literally it would never match, and silently so.
func (l *loader) glob(file string, t text) glob {
	if t.s == "" {
		l.add(file, t.line, "an empty pattern matches nothing: give one, or \"*\" for all")
	} else if strings.ContainsAny(t.s, `?[]{}\`) {
		l.add(file, t.line, "pattern %q: only * is a wildcard: write the alternatives as entries of their own", t.s)
	}
	return newGlob(t.s)
}

// observe reads enforcement: enforce, which is the default, or observe.
func (l *loader) observe(file string, t *text) bool {
	if t != nil && t.s != "observe" && t.s != "enforce" {
		l.add(file, t.line, "enforcement %q is not known: use observe or enforce", t.s)
	}
	return t != nil && t.s == "observe"
}

// cond compiles a condition.
func (l *loader) cond(file string, t *text) *cond.Program {
	if t == nil {
		return nil
	}
	if l.conds == nil {
		env, err := cond.New()
		if err != nil {
			l.add(file, t.line, "conditions cannot be compiled (%v): tell whoever made Sallyport", err)
			return nil
		}
		l.conds = env
	}
	p, err := l.conds.Compile(t.s)
	if err != nil {
		l.add(file, t.line, "bad condition (%v): mend it, see docs/policy.md for what it can ask", err)
	}
	return p
}

// duration reads a time span such as 90s or 24h.
func (l *loader) duration(file string, t text, least, most time.Duration) time.Duration {
	d, err := time.ParseDuration(t.s)
	if err != nil || d < least || d > most {
		l.add(file, t.line, "%q is no time span from %s to %s: write it like 90s, 15m or 24h", t.s, span(least), span(most))
		return 0
	}
	return d
}

// count reads a number of which at least one makes sense.
func (l *loader) count(d *doc[roleSpec], what, field string, n *int64) int64 {
	if n == nil {
		return 0
	}
	if *n < 1 {
		l.add(d.file, d.line, "%s: %s of %d lets nothing through: give 1 or more, or remove the rule", what, field, *n)
	}
	return *n
}

func (l *loader) limit(d *doc[roleSpec], what string, in *limitSpec) meter.Limit {
	if in == nil {
		return meter.Limit{}
	}
	out := meter.Limit{Requests: l.count(d, what, "limits.requests", in.Requests), Tokens: l.count(d, what, "limits.tokens", in.Tokens)}
	if in.Requests == nil && in.Tokens == nil {
		l.add(d.file, cmp.Or(in.Per.line, d.line), "%s has limits that limit nothing: give requests, tokens or both", what)
	}
	if in.Per.s == "" {
		l.add(d.file, d.line, "%s has limits without per: say in which time, such as 1h", what)
		return out
	}
	out.Per = l.duration(d.file, in.Per, meter.MinWindow, meter.MaxWindow)
	return out
}
