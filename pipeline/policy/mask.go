// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy/carrier"
	"github.com/sallyport-dev/sallyport/pipeline/policy/fold"
)

// Bounds of masking one step: more matches of one expression in one reading than that, and all of what follows is masked.
const maxMatches = 4096

// maxSpans is how many spans of one step are masked; what has more is denied.
const maxSpans = 1 << 16

// mask finds what the matching guardrails of action mask want covered. Guardrails that hold leave it in force: what people see,
// and what is released, is masked. What cannot be covered is denied.
func (s *Set) mask(r *reading, step *pipeline.Step, v *pipeline.Verdict) {
	var spans []pipeline.Mask
	var inArgs [][2]int // the strings of the arguments; nil: they are no JSON
	if len(step.Args) > 0 {
		inArgs = carrier.Strings(step.Args)
	}
	for _, i := range r.matched {
		g := &s.guards[i]
		if g.observe || g.action != pipeline.Transform {
			continue
		}
		before, beside := len(spans), false
		for src := range carrier.Each(step) {
			var origins []int // of part All, once there is a match
			at := func(from, to int) {
				m := pipeline.Mask{Carrier: "text", Type: strings.ToUpper(g.name), Rule: "guardrail/" + g.name, Why: "what a guardrail of the policy matches", With: g.with}
				switch src.Part {
				case carrier.Beside:
					beside = true
					return
				case carrier.Prose:
					m.At, m.Len = from, to-from
					spans = append(spans, m)
					return
				case carrier.String:
					from, to = src.From, src.To
				case carrier.All:
					if origins == nil {
						origins = carrier.Origins(string(step.Args))
					}
					from, to = origins[from], origins[to]
				}
				m.Carrier = "args"
				if inArgs == nil {
					m.At, m.Len = from, to-from
					spans = append(spans, m)
					return
				}
				first, _ := slices.BinarySearchFunc(inArgs, from, func(str [2]int, from int) int { return str[1] - from })
				for _, str := range inArgs[first:] { // whole strings, so that it stays JSON
					if str[0] > to {
						break
					}
					if str[0] < to && from < str[1] || src.Part == carrier.String && str == [2]int{from, to} {
						m.At, m.Len = str[0], str[1]-str[0]
						if n := len(spans); n == 0 || spans[n-1] != m {
							spans = append(spans, m)
						}
					}
				}
			}
			g.cover(src.Text, nil, at)
			forms, complete := fold.Forms(nil, src.Text, true)
			for j := range forms {
				g.cover(forms[j].Text, &forms[j], at)
			}
			if !complete {
				at(0, len(src.Text))
			}
			if len(spans) > maxSpans {
				break
			}
		}
		if len(spans) == before || beside || len(spans) > maxSpans {
			v.Action, v.Rule, v.Hold, v.Digest = pipeline.Deny, "guardrail/"+g.name, "", ""
			v.Reason = g.message + " (it cannot be masked where it stands)"
			return
		}
	}
	v.Masks = merge(spans)
}

// cover gives the spans of the matches in a text, as they stand in the source of its form.
func (g *guard) cover(text string, f *fold.Form, at func(from, to int)) {
	all := g.re.FindAllStringIndex(text, maxMatches+1)
	if len(all) > maxMatches {
		all[maxMatches][1] = len(text)
	}
	for _, m := range all {
		if m[0] == m[1] {
			continue
		}
		if f != nil {
			m[0], m[1] = f.Source(m[0], m[1])
		}
		at(m[0], m[1])
	}
}

// merge puts spans in order and makes one of those that overlap.
func merge(spans []pipeline.Mask) []pipeline.Mask {
	slices.SortStableFunc(spans, func(a, b pipeline.Mask) int {
		if a.Carrier != b.Carrier {
			if a.Carrier < b.Carrier {
				return -1
			}
			return 1
		}
		return a.At - b.At
	})
	out := spans[:0]
	for _, m := range spans {
		if n := len(out); n > 0 && out[n-1].Carrier == m.Carrier && m.At < out[n-1].At+out[n-1].Len {
			out[n-1].Len = max(out[n-1].Len, m.At+m.Len-out[n-1].At)
			continue
		}
		out = append(out, m)
	}
	return out
}
