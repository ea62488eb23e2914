// SPDX-License-Identifier: Apache-2.0

// Package custom makes rules of masking from what people write in the configuration. A rule that might hold text back without bound, or that would be too
// slow, is refused with the reason and the mend.
package custom

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// Bounds of what may be written.
const (
	MaxRules  = 128
	maxNear   = 32 // words
	minNear   = 2  // characters of a word
	maxWord   = 64
	minWithin = 4
	usualNear = 96 // where within is not said
)

// Spec is one rule as it is written.
type Spec struct {
	Name    string   // of the rule: small letters, digits, dashes
	Type    string   // stands in the tag: capitals, digits, _
	Pattern string   // RE2; each repeat has a maximum
	Word    bool     // no letter, digit or _ may stand directly before or after a match
	Left    string   // characters that must not stand directly before a match, as in [...]: "A-Za-z0-9"
	Right   string   // and after it
	Near    []string // one of these words must stand before the match, in any case
	Within  int      // at most so many bytes before it; 0: 96
	Check   string   // luhn, mod97 or entropy
	Secret  bool     // it is of the group secrets, not of personal
	Action  string   // "" is tag
}

var (
	nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	typeForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,47}$`)
)

// Compile makes rules, and the rows that give them their actions. The error names all that cannot be.
func Compile(specs []Spec) ([]*rule.Rule, []action.Row, error) {
	var rules []*rule.Rule
	var rows []action.Row
	var errs []error
	if len(specs) > MaxRules {
		errs = append(errs, fmt.Errorf("rules: %d of them: at most %d are allowed", len(specs), MaxRules))
	}
	for i, s := range specs {
		r, act, err := compile(&s)
		if err == nil && slices.ContainsFunc(rules, func(o *rule.Rule) bool { return o.Name == r.Name }) {
			err = errors.New("there is another rule of that name: give it one of its own")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("rules[%d] %s: %w", i, s.Name, err))
			continue
		}
		rules = append(rules, r)
		rows = append(rows, action.Row{Rules: []string{r.Name}, Action: act})
	}
	return rules, rows, errors.Join(errs...)
}

func compile(s *Spec) (*rule.Rule, action.Action, error) {
	act, err := action.Parse(s.Action)
	switch {
	case err != nil:
		return nil, 0, err
	case !nameForm.MatchString(s.Name):
		return nil, 0, errors.New("a name has small letters, digits and dashes, 64 at most")
	case !typeForm.MatchString(s.Type):
		return nil, 0, fmt.Errorf("type %q: a type has capitals, digits and _, 48 at most: it stands in the tag", s.Type)
	case s.Pattern == "":
		return nil, 0, errors.New("it has no pattern: say what is to be found")
	case s.Word && (s.Left != "" || s.Right != ""):
		return nil, 0, errors.New("word says what left and right say: keep one")
	}
	r := &rule.Rule{Name: s.Name, Type: s.Type, Family: rule.Structured, Why: "a rule of the configuration"}
	if s.Secret {
		r.Family = rule.Secret
	}
	if r.Pattern, r.Left, r.Right, _, err = rule.Written(s.Pattern); err != nil {
		return nil, 0, fmt.Errorf("pattern: %w", err)
	}
	if s.Word {
		r.Left, r.Right = r.Left.And(rule.Word), r.Right.And(rule.Word)
	}
	for _, side := range []struct {
		what, spec string
		to         *rule.Class
	}{{"left", s.Left, &r.Left}, {"right", s.Right, &r.Right}} {
		if strings.ContainsAny(side.spec, `[]^\`) {
			return nil, 0, fmt.Errorf("%s %q: write the characters and ranges alone, such as A-Za-z0-9", side.what, side.spec)
		}
		*side.to = side.to.And(rule.Of(side.spec))
	}
	checks, why, err := s.checks()
	if err != nil {
		return nil, 0, err
	}
	if len(checks) > 0 {
		r.Why += ", " + strings.Join(why, ", ")
		r.Check = func(left, match []byte) (int, int, bool) {
			for _, c := range checks {
				if !c(left, match) {
					return 0, 0, false
				}
			}
			return 0, len(match), true
		}
	}
	return r, act, nil
}

type check func(left, match []byte) bool

func (s *Spec) checks() (out []check, why []string, err error) {
	within := s.Within
	switch {
	case within != 0 && len(s.Near) == 0:
		return nil, nil, errors.New("within says how near the words of near must stand: give near, or remove it")
	case within == 0:
		within = usualNear
	case within < minWithin || within > rule.Context:
		return nil, nil, fmt.Errorf("within %d: from %d to %d bytes before a match can be looked at", within, minWithin, rule.Context)
	}
	if len(s.Near) > maxNear {
		return nil, nil, fmt.Errorf("near has %d words: at most %d are allowed", len(s.Near), maxNear)
	}
	var words [][]byte
	for _, w := range s.Near {
		if len(w) < minNear || len(w) > maxWord || len(w) > within {
			return nil, nil, fmt.Errorf("near %q: a word has %d to %d bytes, and no more than within", w, minNear, maxWord)
		}
		words = append(words, []byte(strings.ToLower(w)))
	}
	if len(words) > 0 {
		why = append(why, "near a word that it names")
		out = append(out, func(left, _ []byte) bool { return near(left[max(0, len(left)-within):], words) })
	}
	switch s.Check {
	case "":
	case "luhn":
		out, why = append(out, luhn), append(why, "with a check digit that is right")
	case "mod97":
		out, why = append(out, mod97), append(why, "with check digits that are right")
	case "entropy":
		out, why = append(out, entropy), append(why, "as random as a key")
	default:
		return nil, nil, fmt.Errorf("check %q: want luhn, mod97 or entropy", s.Check)
	}
	return out, why, nil
}
