// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy/carrier"
	"github.com/sallyport-dev/sallyport/pipeline/policy/cond"
	"github.com/sallyport-dev/sallyport/pipeline/policy/fold"
)

type guard struct {
	name    string
	tools   []glob // nil: any tool
	re      *regexp.Regexp
	start   *regexp.Regexp // re at the start of a text
	behind  *regexp.Regexp // re behind the first character of a text
	when    *cond.Program
	action  pipeline.Action
	with    string
	observe bool
	message string
	digest  string

	approval ApprovalSettings
}

// kind lists the guardrails about one kind of step.
type kind struct {
	plain   []bool  // by guardrail: it has an expression and is about any tool
	left    int     // how many these are
	special []int32 // the others
}

// about says whether a guardrail looks at a tool.
func (g *guard) about(step *pipeline.Step) bool {
	return g.tools == nil || step.Name == "" || matchAny(g.tools, step.Name)
}

// guard asks the guardrails about a step: those without an expression first, then all expressions in one go, conditions last.
func (s *Set) guard(env *Env, m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step, v *pipeline.Verdict) {
	k := s.about[step.Kind]
	if k == nil {
		return
	}
	r, _ := s.scratch.Get().(*reading)
	if r == nil {
		r = &reading{pending: make([]bool, len(s.guards))}
	}
	defer func() {
		r.drop()
		s.scratch.Put(r)
	}()
	copy(r.pending, k.plain)
	r.matched, r.left = r.matched[:0], k.left
	for _, i := range k.special {
		if g := &s.guards[i]; !g.about(step) {
			continue
		} else if g.re == nil {
			r.matched = append(r.matched, i)
		} else {
			r.pending[i], r.left = true, r.left+1
		}
	}
	if r.left > 0 {
		s.meet(r, step)
	}
	if len(r.matched) == 0 {
		return
	}
	slices.Sort(r.matched)
	matched := r.matched[:0]
	var in *cond.Input
	for _, i := range r.matched {
		g := &s.guards[i]
		if g.when != nil {
			if in == nil {
				in = &cond.Input{Meta: m, Call: c, Step: step, Now: env.Now, Texts: func() ([]string, error) { return new(reading).texts(step) }}
			}
			if yes, err := g.when.Eval(in); err == nil && !yes { // one that fails counts as a match
				continue
			}
		}
		matched = append(matched, i)
		v.Matched = append(v.Matched, pipeline.Matched{Rule: "guardrail/" + g.name, Action: g.action, Observed: g.observe})
		if !g.observe && g.action > v.Action {
			v.Action, v.Rule, v.Reason = g.action, "guardrail/"+g.name, g.message
			v.Hold, v.Digest = "", ""
			if g.action == pipeline.Hold {
				v.Hold, v.Digest = g.name, g.digest
			}
		} else if !g.observe && g.action == pipeline.Hold && v.Hold != "" { // a decision about one of them is none about both
			sum := sha256.Sum256([]byte(v.Digest + "\x00" + g.digest))
			v.Digest = hex.EncodeToString(sum[:])
		}
	}
	r.matched = matched
	if v.Action == pipeline.Transform || v.Action == pipeline.Hold {
		s.mask(r, step, v)
	}
}

// drop lets go of the texts of a step, and of buffers that became large.
func (r *reading) drop() {
	if cap(r.forms) > 256 {
		r.forms = nil
		return
	}
	clear(r.forms[:cap(r.forms)])
}

// meet finds which of the pending expressions match any reading of a step.
func (s *Set) meet(r *reading, step *pipeline.Step) {
	for src := range carrier.Each(step) {
		s.meetText(r, src.Text)
		if r.left == 0 {
			return
		}
		forms, complete := fold.Forms(r.forms[:0], src.Text, false)
		r.forms = forms
		for j := range forms {
			s.meetText(r, forms[j].Text)
		}
		if !complete { // more is hidden in it than can be looked at: nobody knows what
			for g, p := range r.pending {
				if p {
					r.met(int32(g))
				}
			}
			return
		}
	}
}

func (s *Set) meetText(r *reading, text string) {
	for _, i := range s.index.Scan(text, &r.scan) {
		if r.pending[i] && s.guards[i].match(r, i, text) {
			r.met(i)
		}
	}
}

// met notes that the expression of a guardrail matches.
func (r *reading) met(i int32) {
	r.pending[i] = false
	r.matched, r.left = append(r.matched, i), r.left-1
}

// maxStarts is from how many places an expression is tried one by one: beyond, it is cheaper to try it at once.
const maxStarts = 16

// match runs the expression of a guardrail, only where a match can begin if that is known.
func (g *guard) match(r *reading, number int32, text string) bool {
	at, known := r.scan.Starts(number, maxStarts, r.starts[:0])
	if r.starts = at; !known {
		return g.re.MatchString(text)
	}
	for _, p := range at {
		if p == 0 {
			if g.start.MatchString(text) {
				return true
			}
			continue
		}
		_, n := utf8.DecodeLastRuneInString(text[:p])
		if g.behind.MatchString(text[p-n:]) {
			return true
		}
	}
	return false
}
