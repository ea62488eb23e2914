// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy/carrier"
	"github.com/sallyport-dev/sallyport/pipeline/policy/fold"
	"github.com/sallyport-dev/sallyport/pipeline/policy/prefilter"
)

// reading is what guardrails look at, and where that is worked out. It is reused.
type reading struct {
	forms  []fold.Form
	scan   prefilter.Scan
	starts []int

	pending []bool  // by guardrail: its expression is to be met
	left    int     // how many are pending
	matched []int32 // guardrails
}

// maxTexts is how many readings a condition can look at.
const maxTexts = 1 << 16

// texts lists everything that is matched: for conditions. It fails if more is hidden in it than can be looked at.
func (r *reading) texts(step *pipeline.Step) ([]string, error) {
	var out []string
	for src := range carrier.Each(step) {
		out = append(out, src.Text)
		forms, complete := fold.Forms(r.forms[:0], src.Text, false)
		if r.forms = forms; !complete || len(out) > maxTexts {
			return nil, errors.New("there are too many readings of a text")
		}
		for _, f := range forms {
			out = append(out, f.Text)
		}
	}
	return out, nil
}
