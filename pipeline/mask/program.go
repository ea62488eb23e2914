// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"cmp"
	"fmt"
	"regexp/syntax"
	"sync/atomic"

	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/automaton"
	"github.com/sallyport-dev/sallyport/pipeline/mask/names"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

const (
	// tableStates is how many states of a union are kept.
	tableStates = 4096
	// jointStates is how many states of all unions as one are kept.
	jointStates = 8192
	// manyPlans is how many plans are remembered.
	manyPlans = 1024
)

// compiled is a rule that can be run.
type compiled struct {
	*rule.Rule
	id    int // index in Engine.rules
	re    *syntax.Regexp
	bound int
	exact *automaton.Exact
	first rule.Class // of bytes that a match begins with
	right bool       // Right has bytes
	twin  int        // the first rule with the same pattern, or -1: there is no other
	until []uint8

	part    int            // of the program
	trigger *syntax.Regexp // every match begins with one of this
	least   int            // the shortest match of it
	reach   int            // the longest
}

func compile(r *rule.Rule, id int) (*compiled, error) {
	re, bound, err := r.Compile()
	if err != nil {
		return nil, err
	}
	c := &compiled{Rule: r, id: id, re: re, bound: bound, right: r.Right != rule.Class{}, twin: -1}
	if c.exact, err = automaton.NewExact(re); err != nil {
		return nil, fmt.Errorf("rule %s: %w", r.Name, err)
	}
	c.first = c.exact.First()
	if r.Tail != nil && r.Tail.Until != "" {
		if len(r.Tail.Until) > 255 {
			return nil, fmt.Errorf("rule %s: the end of the tail has %d bytes, at most 255 are allowed", r.Name, len(r.Tail.Until))
		}
		c.until = borders(r.Tail.Until)
	}
	return c, c.aim()
}

// borders tells for each length of a beginning of s how long the longest shorter beginning is that it ends in.
func borders(s string) []uint8 {
	b := make([]uint8, len(s)+1)
	k := uint8(0)
	for i := 1; i < len(s); i++ {
		for k > 0 && s[i] != s[k] {
			k = b[k]
		}
		if s[i] == s[k] {
			k++
		}
		b[i+1] = k
	}
	return b
}

// The rules of a program are split over several automata, since the states of one that runs all would be the product of what words and
// numbers can turn out to be: those whose matches begin with texts that are known, those that begin with no letter, and the others.
const (
	known = iota
	numbers
	words
	parts = automaton.Parts
)

// ordinary is text as it mostly comes, to find out how much of a pattern says that more must be looked at. Nothing depends on it but speed.
const ordinary = "The report of last winter says that 42 of the 1,300 people who were asked in March 2024 had read it, and that it's a " +
	"well-known problem (see section 3.2 below); others were less sure. Each of them works for one or two hours a day with that system, from " +
	"home, as it was in the past. Would this change? Nobody knows: \"We will see\", as one of them said. return the value if it is valid, else " +
	"call handle_request(user, id=7) with a list of items in the config file; Both models scored 0.87 or more, which is good enough for us."

// depths are how many characters of a pattern may be run with the others.
var depths = [...]int{3, 4, 5, 6, 8, 10, 12, 14, 16, 20}

// program is a set of rules that are run together.
type program struct {
	rules  [parts][]*compiled // by the number that the automaton knows them by
	unions [parts]*automaton.Union
	joint  *automaton.Joint
}

func (e *Engine) program(with func(*compiled) bool) (*program, error) {
	p := &program{}
	var patterns [parts][]automaton.Pattern
	for _, c := range e.rules {
		if !with(c) {
			continue
		}
		left := c.Left
		if e.o.Explain {
			left = rule.Class{} // to see what it refuses
		}
		p.rules[c.part] = append(p.rules[c.part], c)
		patterns[c.part] = append(patterns[c.part], automaton.Pattern{Re: c.trigger, Left: left, Bound: c.reach, Open: c.Tail != nil})
	}
	for k := range parts {
		var err error
		if p.unions[k], err = automaton.NewUnion(patterns[k], cmp.Or(e.o.states, tableStates)); err != nil {
			return nil, err
		}
	}
	p.joint = automaton.NewJoint(p.unions, cmp.Or(e.o.states, jointStates))
	return p, nil
}

// rings tells whether a trigger of any rule ends in what two texts are together: without one, nothing is found in it.
func (p *program) rings(before, text []byte) bool {
	t := p.joint.Table()
	row, next, class := t.Start(), t.Next, &p.joint.Class
	for _, part := range [...][]byte{before, text} {
		for _, c := range part {
			e := atomic.LoadUint32(&next[row+uint32(class[c])])
			if e == 0 {
				t, e = t.Step(row, c)
				next = t.Next
			}
			if e&automaton.Quiet == 0 {
				return true
			}
			row = e & automaton.Row
		}
	}
	return false
}

// aim finds out how a rule is looked for.
func (c *compiled) aim() (err error) {
	if p, ok := automaton.Prefixes(c.re); ok {
		c.part, c.trigger = known, p
	} else {
		c.part = numbers
		if c.exact.BeginsWith('a', 'z') || c.exact.BeginsWith('A', 'Z') {
			c.part = words
		}
		best := -1
		for _, k := range depths {
			t := automaton.Trigger(c.re, k)
			x, err := automaton.NewExact(t)
			if err != nil {
				return fmt.Errorf("rule %s: %w", c.Name, err)
			}
			n := 0
			for p := range len(ordinary) {
				if (p == 0 || !c.Left.Has(ordinary[p-1])) && x.Longest([]byte(ordinary[p:])) > 0 {
					n++
				}
			}
			if best < 0 || n < best {
				best, c.trigger = n, t
			}
			if n == 0 {
				break
			}
		}
	}
	c.least, c.reach, err = rule.Length(c.trigger)
	return err
}

// planned is what the engine keeps of a plan.
type planned struct {
	prog  *program // nil: nothing is masked
	names bool
}

func (e *Engine) plan(p *action.Plan) *planned {
	if k, ok := e.plans.Load(p); ok {
		return k.(*planned)
	}
	k := &planned{prog: e.all, names: e.names != nil}
	more := false // something beside secrets is masked
	for _, c := range e.rules {
		more = more || c.Family > rule.Secret && p.Of(c.Rule) != action.Allow
	}
	if e.names != nil {
		k.names = false
		for _, r := range e.names.Rules() {
			k.names = k.names || p.Of(r) != action.Allow
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.o.Explain:
	case p.Idle():
		k.prog = nil
	case !more && !k.names:
		if e.secrets == nil {
			s, err := e.program(func(c *compiled) bool { return c.Family <= rule.Secret })
			if err != nil {
				s = e.all // finds what s finds, and more
			}
			e.secrets = s
		}
		k.prog = e.secrets
	}
	if e.nplan < manyPlans {
		e.nplan++
		e.plans.Store(p, k)
	}
	return k
}

// stage is the search for names.
type stage interface {
	NewScanner() scanner
	Rules() []*rule.Rule
	Bound() int
}

// scanner finds names in one segment at a time; offsets are those of the segment.
type scanner interface {
	Reset()
	Feed(p []byte)
	End()
	Settled() int
	Take(dst []rule.Span) []rule.Span
}

type model struct{ *names.Model }

func (m model) NewScanner() scanner { return m.Model.NewScanner() }
