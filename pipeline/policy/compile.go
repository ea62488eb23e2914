// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// compile checks the meaning of the documents and makes a Set of them. It is of use only if there are no problems.
func (l *loader) compile() *Set {
	s := &Set{roles: map[string]*role{}}
	for _, d := range sorted(l.roles) {
		s.roles[d.Metadata.Name.s] = l.role(d)
	}
	for _, d := range sorted(l.bindings) {
		s.bindings = append(s.bindings, l.binding(s, d))
	}
	slices.Sort(s.labels)
	s.labels = slices.Compact(s.labels)
	for _, d := range sorted(l.guards) {
		s.guards = append(s.guards, l.guard(d))
	}
	return s
}

func (l *loader) role(d *doc[roleSpec]) *role {
	r := &role{name: d.Metadata.Name.s}
	for _, in := range d.Spec.Rules {
		u := rule{l.globs(d.file, in.Endpoints), l.globs(d.file, in.Models), l.globs(d.file, in.Operations), l.globs(d.file, in.Tools), nil}
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
	b := binding{name: name, role: s.roles[d.Spec.Role.s]}
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

// kinds are the steps that a guardrail may name, and whether it may. Those that cannot be decided yet are refused: a
// rule that is accepted but not applied is worse than none.
var kinds = map[string]bool{pipeline.StepPrompt: true, pipeline.StepToolOffer: true, pipeline.StepToolCall: true,
	pipeline.StepToolResult: true, pipeline.StepResponse: false, "exec": false, "egress": false}

func (l *loader) guard(d *doc[guardSpec]) guard {
	in, name := &d.Spec, d.Metadata.Name.s
	g := guard{name: name, message: in.Message.s}
	if g.message == "" {
		g.message = "refused by guardrail " + name
	}
	if len(in.On) == 0 {
		l.add(d.file, d.line, "Guardrail %s has no on and looks at nothing: name prompt, toolOffer, toolCall or toolResult", name)
	}
	for _, o := range in.On {
		if ready, known := kinds[o.s]; !known {
			l.add(d.file, o.line, "Guardrail %s is on %q, which is no step: use prompt, toolOffer, toolCall or toolResult", name, o.s)
		} else if !ready {
			l.add(d.file, o.line, "Guardrail %s: on %s is not supported yet: use prompt, toolOffer, toolCall or toolResult", name, o.s)
		}
		if o.s == pipeline.StepPrompt && in.Match.Tools != nil {
			l.add(d.file, o.line, "Guardrail %s: a prompt has no tool: remove tools, or write a second guardrail for prompts", name)
		}
		g.on = append(g.on, o.s)
	}
	if t := in.Match.Tools; t != nil {
		if len(*t) == 0 {
			l.add(d.file, d.line, "Guardrail %s has an empty list of tools: remove it to match any tool", name)
		}
		g.tools = l.globs(d.file, *t)
	}
	if t := in.Match.Regex; t != nil {
		var err error
		if t.s == "" {
			l.add(d.file, t.line, "Guardrail %s has an empty regex: remove it to match any text", name)
		} else if g.re, err = regexp.Compile(t.s); err != nil {
			l.add(d.file, t.line, "Guardrail %s has a bad regex (%s): mend it, RE2 syntax", name, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		} else if parsed, err := syntax.Parse(t.s, syntax.Perl); err == nil { // as Compile does; without it, no shortcut
			g.need = needOf(parsed)
		}
	}
	switch in.Action.s {
	case "deny":
		g.action = pipeline.Deny
	case "alert":
		g.action = pipeline.Alert
	case "hold", "mask":
		l.add(d.file, in.Action.line, "Guardrail %s: action %s is not supported yet: use deny or alert", name, in.Action.s)
	default:
		l.add(d.file, cmp.Or(in.Action.line, d.line), "Guardrail %s: action %q is not known: use deny or alert", name, in.Action.s)
	}
	return g
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
