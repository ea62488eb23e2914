// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Several rules may hold one thing, each with approvers of its own. It is one approval, of which each rule has to get what it wants:
// people are not asked one after the other, and nobody approves for the approvers of another rule.

// also adds what other rules want that hold the same.
func (d *Desk) also(a *pipeline.ApprovalAsked, v *pipeline.Verdict) {
	s := &a.Settings
	var names []string
	for _, m := range v.Matched {
		if m.Observed || m.Action != pipeline.Hold || m.Rule == v.Rule || slices.Contains(names, m.Rule) {
			continue
		}
		names = append(names, m.Rule)
		o := d.settings(m.Rule)
		s.Also = append(s.Also, pipeline.ApprovalAlso{Rule: m.Rule, Approvers: o.Approvers, Minimum: o.Minimum, Escalate: o.Escalate})
		s.Owners = append(slices.Clone(s.Owners), o.Owners...)
		s.Timeout, s.Valid, s.MaxFor, s.Once = min(s.Timeout, o.Timeout), min(s.Valid, o.Valid), min(s.MaxFor, o.MaxFor), s.Once || o.Once
	}
	if len(names) > 0 {
		a.Reason = strings.TrimSpace(a.Reason + " (held also by " + strings.Join(names, ", ") + ", whose approvers decide too)")
	}
}

// demand is what one rule wants: so many people out of these groups; no group: whoever may decide at all.
type demand struct {
	groups []string
	least  int
}

// demands are those of all rules, after some time.
func (it *item) demands(waited time.Duration) []demand {
	due := func(groups []string, escalate []pipeline.ApprovalEscalation) []string {
		if groups = slices.Clone(groups); len(groups) == 0 {
			return nil
		}
		for _, e := range escalate {
			if waited >= e.After {
				groups = append(groups, e.Groups...)
			}
		}
		return groups
	}
	s := &it.Settings
	out := []demand{{due(s.Approvers, s.Escalate), s.Minimum}}
	for _, o := range s.Also {
		out = append(out, demand{due(o.Approvers, o.Escalate), o.Minimum})
	}
	return out
}

// met tells whether each rule has what it wants. Who is a member for one rule does not count for another that names no group, as
// that may let others decide only.
func (it *item) met(votes []pipeline.ApprovalVote, waited time.Duration) bool {
	all := it.demands(waited)
	if len(all) == 1 {
		return have(votes) >= it.Need
	}
	var named []string
	for _, d := range all {
		named = append(named, d.groups...)
	}
	for _, d := range all {
		n := 0
		for _, v := range votes {
			if !v.Approve {
				continue
			}
			if len(d.groups) > 0 && overlap(d.groups, v.By.Groups) || len(d.groups) == 0 && !overlap(named, v.By.Groups) {
				n++
			}
		}
		if n < d.least {
			return false
		}
	}
	return have(votes) >= it.Need
}
