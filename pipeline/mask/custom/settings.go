// SPDX-License-Identifier: Apache-2.0

package custom

import (
	"errors"
	"fmt"

	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// Settings is what people write about masking.
type Settings struct {
	Prompts bool
	Actions []RowSpec
	Allow   []string
	Rules   []Spec
}

// RowSpec is a row of actions as it is written.
type RowSpec struct {
	Types, Carriers, Roles, Rules []string
	Action                        string
}

// Made is what settings come to.
type Made struct {
	Rules  []*rule.Rule
	Action action.Settings // of which a table is made, perhaps with more in it
}

// Make compiles settings. The error names all that cannot be, each with the mend.
func (s *Settings) Make() (*Made, error) {
	out := &Made{Action: action.Settings{Prompts: s.Prompts, Allow: s.Allow}}
	var errs []error
	for i, r := range s.Actions {
		a, err := action.Parse(r.Action)
		if err == nil && r.Action == "" {
			err = errors.New("it has no action: want tag, last_four, pseudonym, deny or allow")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("actions[%d]: %w", i, err))
		}
		out.Action.Rows = append(out.Action.Rows, action.Row{Types: r.Types, Carriers: r.Carriers, Roles: r.Roles, Rules: r.Rules, Action: a})
	}
	var err error
	out.Rules, out.Action.Rules, err = Compile(s.Rules)
	errs = append(errs, err)
	if _, err := action.New(out.Action); err != nil {
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}
