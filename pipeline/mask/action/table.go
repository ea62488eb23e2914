// SPDX-License-Identifier: Apache-2.0

package action

import (
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// MaxAllow is the longest entry of the list of values that are allowed, in bytes.
const MaxAllow = 256

// Settings are what a Table is made of.
type Settings struct {
	Prompts bool  // mask requests before they leave the host
	Rows    []Row // in order; before the built-in ones
	Allow   []string
}

// Row gives an action to what it selects. An empty list selects all.
type Row struct {
	Types    []string // globs of types, or the groups "secrets", "personal", "names"
	Carriers []string // "text" (whatever is none of the others), "args", "prompt", "embeddings"
	Roles    []string // globs
	Rules    []string // names of rules
	Action   Action
}

// Table holds the rows. It is immutable but for a cache, and may be used by any number of goroutines.
type Table struct{}

// New compiles settings.
func New(s Settings) (*Table, error) { return &Table{}, nil }

// Plan is what happens to values in one carrier, for a caller with these roles. It does not allocate when the same was asked before.
func (t *Table) Plan(carrier string, roles []string) *Plan { return &Plan{} }

// Allowed tells whether the value of a closed rule is never masked. It does not allocate.
func (t *Table) Allowed(r *rule.Rule, value []byte) bool { return false }

// Begins tells whether a value that begins with these bytes may yet be one of an open rule that is never masked, and whether it is one as it
// stands. While may is true the value must be held; once it is false it stays false. It does not allocate.
func (t *Table) Begins(r *rule.Rule, value []byte) (may, is bool) { return false, false }

// Plan is immutable.
type Plan struct{}

// Of is what becomes of a value of a rule. It does not allocate.
func (p *Plan) Of(r *rule.Rule) Action { return Tag }

// Idle tells whether every value is allowed: then there is nothing to look for.
func (p *Plan) Idle() bool { return false }
