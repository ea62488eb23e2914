// SPDX-License-Identifier: Apache-2.0

package action

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// The carriers that rows tell apart. A row may also name one text of replies by its own name, such as reasoning.
const (
	Text   = pipeline.CarrierText   // any text of a reply that is none of the others
	Args   = pipeline.CarrierArgs   // arguments of tool calls
	Prompt = pipeline.CarrierPrompt // any text of a request, as it is sent
	Input  = pipeline.CarrierInput  // what a request wants embeddings of, as it is sent
)

// carriers are what a row may name.
var carriers = [...]string{Text, Args, Prompt, Input, pipeline.CarrierReasoning, pipeline.CarrierRefusal, pipeline.CarrierCitation, pipeline.CarrierResult,
	pipeline.CarrierError, pipeline.CarrierMetadata}

// The groups that rows may name in place of types.
const (
	Secrets  = "secrets"
	Personal = "personal" // names and addresses included
	Names    = "names"    // and addresses
)

const (
	maxRows  = 256
	maxRoles = 64 // different role patterns of all rows
	maxPlans = 1 << 10
)

// Settings are what a Table is made of.
type Settings struct {
	Prompts bool  // mask requests before they leave the host
	First   []Row // before all others; not of people's making
	Rows    []Row // in order; before the built-in ones
	Rules   []Row // of custom rules; behind Rows
	Allow   []string
}

// Row gives an action to what it selects. An empty list selects all; without carriers that is all of replies and, with Settings.Prompts,
// of requests.
type Row struct {
	Types    []string // globs of types, or groups
	Carriers []string // Text, Args, Prompt, Input, or the name of one text of replies
	Roles    []string // globs
	Rules    []string // names of rules
	Action   Action
}

// Group is the smallest group that a rule is in.
func Group(r *rule.Rule) string {
	switch {
	case r.Family <= rule.Secret:
		return Secrets
	case r.Family >= rule.Address:
		return Names
	}
	return Personal
}

// Table holds the rows. It is immutable but for a cache, and may be used by any number of goroutines. A nil Table has the built-in rows.
type Table struct {
	rows    []Row
	written []Row    // of rows: those of people
	wants   []uint64 // by row: the role patterns, one of which a caller must meet; 0: none
	roles   []string // patterns, by bit
	asks    bool     // for prompts
	allow   list

	mu    sync.RWMutex
	plans map[planKey]*Plan
}

type planKey struct {
	kind    kind
	carrier string
	roles   uint64
}

// kind is what a text is masked for.
type kind uint8

const (
	reply kind = iota
	sent
	record
)

// builtin are the rows behind all others.
var builtin = []Row{
	{Types: []string{Secrets}, Action: Tag},
	{Types: []string{Personal}, Carriers: []string{Args}, Action: Allow},
	{Action: Tag},
}

// What a nil Table plans.
var (
	planText = &Plan{rows: builtin[2:]}
	planArgs = &Plan{rows: builtin}
	planIdle = &Plan{rows: []Row{{Action: Allow}}, idle: true}
)

// New compiles settings. The error names every row and entry that cannot be, with the mend.
func New(s Settings) (*Table, error) {
	t := &Table{asks: s.Prompts, written: s.Rows, plans: map[planKey]*Plan{}}
	var errs []error
	for i, r := range s.Rows {
		if err := check(&r); err != nil {
			errs = append(errs, fmt.Errorf("actions[%d]: %w", i, err))
		}
	}
	if len(s.Rows) > maxRows {
		errs = append(errs, fmt.Errorf("actions: %d rows: at most %d are allowed", len(s.Rows), maxRows))
	}
	t.rows = slices.Concat(s.First, s.Rows, s.Rules, builtin)
	for _, r := range t.rows {
		var bits uint64
		for _, p := range r.Roles {
			i := slices.Index(t.roles, p)
			if i < 0 {
				i = len(t.roles)
				t.roles = append(t.roles, p)
			}
			if i >= maxRoles {
				errs = append(errs, fmt.Errorf("actions: more than %d different roles: use globs", maxRoles))
				return nil, errors.Join(errs...)
			}
			bits |= 1 << i
		}
		t.wants = append(t.wants, bits)
	}
	errs = append(errs, t.allow.parse(s.Allow))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// check refuses what would match nothing, silently so.
func check(r *Row) error {
	for _, list := range []struct {
		what string
		of   []string
		all  string
	}{{"types", r.Types, "*"}, {"carriers", r.Carriers, ""}, {"roles", r.Roles, "*"}, {"rules", r.Rules, ""}} {
		for _, v := range list.of {
			switch {
			case v == "":
				return fmt.Errorf("an empty entry of %s: remove it", list.what)
			case strings.ContainsAny(v, `?[]{}\`):
				return fmt.Errorf("%s %q: only * is a wildcard: write the alternatives as entries of their own", list.what, v)
			case list.all == "" && strings.Contains(v, "*"):
				return fmt.Errorf("%s %q: no wildcards here: leave %s out to mean all", list.what, v, list.what)
			}
		}
	}
	for _, v := range r.Carriers {
		if !slices.Contains(carriers[:], v) {
			return fmt.Errorf("carrier %q: want one of %s", v, strings.Join(carriers[:], ", "))
		}
	}
	for _, v := range r.Types {
		if v != Secrets && v != Personal && v != Names && v != strings.ToUpper(v) {
			return fmt.Errorf("type %q: types are in capitals, such as EMAIL; groups are secrets, personal and names", v)
		}
	}
	if r.Action > Allow {
		return fmt.Errorf("%s is unknown", r.Action)
	}
	return nil
}

// Unknown returns an error that names the entries of rows that match none of these types and rules, which are all there are: they would do nothing.
func (t *Table) Unknown(rules []*rule.Rule) error {
	var errs []error
	for i, r := range t.written {
		for _, p := range r.Types {
			if p != Secrets && p != Personal && p != Names && !slices.ContainsFunc(rules, func(k *rule.Rule) bool { return glob(p, k.Type) }) {
				errs = append(errs, fmt.Errorf("actions[%d]: no rule finds type %s: `sallyport mask --list` has all types", i, p))
			}
		}
		for _, p := range r.Rules {
			if !slices.ContainsFunc(rules, func(k *rule.Rule) bool { return p == k.Name }) {
				errs = append(errs, fmt.Errorf("actions[%d]: there is no rule %s: `sallyport mask --list` has all rules", i, p))
			}
		}
	}
	return errors.Join(errs...)
}

// ByRole tells whether the roles of the caller matter to any plan.
func (t *Table) ByRole() bool { return t != nil && len(t.roles) > 0 }

// Plan is what happens to values in one carrier of a reply, for a caller with these roles. It does not allocate when the same was asked before.
func (t *Table) Plan(carrier string, roles []string) *Plan {
	if t == nil {
		if carrier == Args {
			return planArgs
		}
		return planText
	}
	return t.cached(reply, carrier, roles)
}

// Sent is Plan for a request, as it leaves the host: idle unless requests are to be masked.
func (t *Table) Sent(carrier string, roles []string) *Plan {
	if t == nil {
		return planIdle
	}
	return t.cached(sent, carrier, roles)
}

// Record is Plan for what is only recorded: requests, and replies that are only watched. What would be denied is tagged.
func (t *Table) Record(carrier string, roles []string) *Plan {
	if t == nil {
		return t.Plan(carrier, roles)
	}
	return t.cached(record, carrier, roles)
}

func (t *Table) cached(kind kind, carrier string, roles []string) *Plan {
	k := planKey{kind: kind, carrier: carrier}
	for i, p := range t.roles {
		for _, r := range roles {
			if glob(p, r) {
				k.roles |= 1 << i
				break
			}
		}
	}
	t.mu.RLock()
	p := t.plans[k]
	t.mu.RUnlock()
	if p != nil {
		return p
	}
	p = t.plan(k)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.plans) >= maxPlans {
		clear(t.plans)
	}
	t.plans[k] = p
	return p
}

func (t *Table) plan(k planKey) *Plan {
	p := &Plan{idle: true}
	for i := range t.rows {
		r := t.rows[i]
		if len(r.Roles) > 0 && t.wants[i]&k.roles == 0 || !t.covers(&r, k) {
			continue
		}
		if k.kind == record && r.Action == Deny {
			r.Action = Tag
		}
		p.rows = append(p.rows, r)
		p.idle = p.idle && r.Action == Allow
	}
	if k.kind == sent {
		p.rows = append(p.rows, Row{Action: Allow})
	}
	return p
}

// covers tells whether a row is about a carrier.
func (t *Table) covers(r *Row, k planKey) bool {
	if k.kind == sent {
		where := Prompt
		if k.carrier == Input {
			where = Input
		}
		switch {
		case len(r.Carriers) == 0:
			return t.asks
		case slices.Contains(r.Carriers, where):
			return true
		}
		return t.asks && k.carrier == Args && slices.Contains(r.Carriers, Args) // what the model wrote, and is told again
	}
	if k.carrier == Prompt || k.carrier == Input { // as they are recorded
		k.carrier = Text
	}
	return len(r.Carriers) == 0 || slices.Contains(r.Carriers, k.carrier) || k.carrier != Args && slices.Contains(r.Carriers, Text)
}

// Plan is immutable. A nil Plan tags everything.
type Plan struct {
	rows []Row
	idle bool
}

// Of is what becomes of a value of a rule. It does not allocate.
func (p *Plan) Of(r *rule.Rule) Action {
	if p == nil {
		return Tag
	}
	for i := range p.rows {
		if p.rows[i].about(r) {
			return p.rows[i].Action
		}
	}
	return Tag
}

// Idle tells whether every value is allowed: then there is nothing to look for.
func (p *Plan) Idle() bool { return p != nil && p.idle }

func (row *Row) about(r *rule.Rule) bool {
	if len(row.Rules) > 0 && !slices.Contains(row.Rules, r.Name) {
		return false
	}
	if len(row.Types) == 0 {
		return true
	}
	for _, t := range row.Types {
		switch t {
		case Secrets:
			if r.Family == rule.Secret {
				return true
			}
		case Personal:
			if r.Family > rule.Secret {
				return true
			}
		case Names:
			if r.Family >= rule.Address {
				return true
			}
		default:
			if glob(t, r.Type) {
				return true
			}
		}
	}
	return false
}

// glob matches a pattern in which * stands for any run of bytes.
func glob[S string | []byte](pattern string, s S) bool {
	star, from, p, i := -1, 0, 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p, i = p+1, i+1
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
