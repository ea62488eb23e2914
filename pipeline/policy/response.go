// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	masking "github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// responseRule makes the rule by which a guardrail masks replies: they are released as they come, so its matches must have a longest one.
func (l *loader) responseRule(d *doc[guardSpec], g *guard) *masking.Rule {
	t := d.Spec.Match.Regex
	if t == nil || g.re == nil {
		return nil // told already
	}
	if d.Spec.Match.CEL != nil {
		l.add(d.file, cmp.Or(d.Spec.Match.CEL.line, d.line), "Guardrail %s masks a response, whose text is released before all of it is there for a condition to look at: remove cel, or use deny, hold or alert", g.name)
		return nil
	}
	pattern, left, right, _, err := masking.Written(t.s)
	if err != nil {
		l.add(d.file, t.line, "Guardrail %s cannot mask a response, which is released as it comes: %s", g.name, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return nil
	}
	return &masking.Rule{Name: "guardrail/" + g.name, Type: strings.ToUpper(g.name), Family: masking.Secret, Why: "what a guardrail of the policy matches", With: g.with,
		Pattern: pattern, Left: left, Right: right}
}

// ResponseRules are those of the guardrails that mask replies, but for those that only observe. Masks carry their names: guardrail/NAME.
func (s *Set) ResponseRules() []*masking.Rule { return s.replies }

// RolesOf names the roles that a caller has now: those bound to it, and those granted for a time. It does not allocate for a caller that is known and
// has no grants.
func (e *Engine) RolesOf(m *pipeline.Meta) []string {
	set := e.set.Load()
	names := set.bound(m).names
	g := e.grants.Load()
	if g == nil {
		return names
	}
	now := e.now()
	for _, grant := range (*g).For(m) {
		if set.roles[grant.Role] != nil && (grant.Until.IsZero() || now.Before(grant.Until)) && !slices.Contains(names, grant.Role) {
			names = append(names[:len(names):len(names)], grant.Role)
		}
	}
	return names
}
