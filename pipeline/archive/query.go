// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Query is what to look for. All of it must hold.
type Query struct {
	Since, Until time.Time // exchanges that began in [Since, Until); zero = unbounded
	terms        []term
}

// term is one condition.
type term struct {
	not    bool
	field  *Field // nil: words
	value  string // lower case; of words as they are written
	phrase bool   // of words: one after the other; else a single one
	prefix bool   // of words: how it begins
	op     string // of a number: "=", "<", "<=", ">", ">="
	number int64
}

// QueryError says what is wrong with a query, for people.
type QueryError struct{ What string }

func (e *QueryError) Error() string { return "the query cannot be read: " + e.What }

func wrong(format string, args ...any) error { return &QueryError{fmt.Sprintf(format, args...)} }

// Parse reads a query: words, "phrases", wor*, field:value, field:"a value", field:glob*, number:>3, since:24h, until:2026-01-31, each of
// which may have a - before it for the opposite. Times are an age, a date in local time, or RFC 3339. Case does not matter.
func Parse(s string, now time.Time) (*Query, error) {
	if len(s) > maxQuery {
		return nil, wrong("it is longer than %d bytes", maxQuery)
	}
	q := &Query{}
	fields := Fields()
	for rest := strings.TrimSpace(s); rest != ""; rest = strings.TrimSpace(rest) {
		if len(q.terms) > maxTerms {
			return nil, wrong("it has more than %d conditions", maxTerms)
		}
		var t term
		if r, ok := strings.CutPrefix(rest, "-"); ok && r != "" {
			t.not, rest = true, r
		}
		name := ""
		if i := strings.IndexFunc(rest, func(r rune) bool { return r == ':' || r == '"' || unicode.IsSpace(r) }); i > 0 && rest[i] == ':' {
			name, rest = strings.ToLower(rest[:i]), rest[i+1:]
		}
		value, quoted, after, err := word(rest)
		if err != nil {
			return nil, err
		}
		rest = after
		switch {
		case name == "":
			if err := q.words(t, value, quoted); err != nil {
				return nil, err
			}
			continue
		case value == "":
			return nil, wrong("%s: has no value", name)
		case name == "since" || name == "until":
			at, err := when(value, now)
			if err != nil {
				return nil, err
			}
			if (name == "since") != t.not {
				q.Since = at
			} else {
				q.Until = at
			}
			continue
		}
		i := slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
		if i < 0 {
			return nil, wrong("there is no field %q: want one of %s, since, until", name, names(fields))
		}
		t.field, t.value = &fields[i], strings.ToLower(value)
		if t.field.Number {
			for _, op := range []string{"<=", ">=", "<", ">", ""} {
				if r, ok := strings.CutPrefix(value, op); ok {
					t.op = op
					if t.number, err = strconv.ParseInt(r, 10, 64); err != nil {
						return nil, wrong("%s:%s: want a number, or a comparison like %s:>100", name, value, name)
					}
					break
				}
			}
			if t.op == "" {
				t.op = "="
			}
		} else if t.field.Many && strings.Contains(value, "*") {
			return nil, wrong("%s: has too many values to look for a pattern; want a whole one", name)
		}
		q.terms = append(q.terms, t)
	}
	if len(q.terms) > maxTerms {
		return nil, wrong("it has more than %d conditions", maxTerms)
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until) {
		return nil, wrong("since is not before until")
	}
	return q, nil
}

// word takes a word or a quoted text from the front. In quotes, \" and \\ are what they are in JSON.
func word(s string) (value string, quoted bool, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexFunc(s, unicode.IsSpace)
		if i < 0 {
			i = len(s)
		}
		return s[:i], false, s[i:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), true, s[i+1:], nil
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", true, "", wrong(`a " has no other end`)
}

// words adds a condition on the text.
func (q *Query) words(t term, value string, quoted bool) error {
	t.value, t.phrase = value, quoted
	if !quoted {
		t.value, t.prefix = strings.CutSuffix(value, "*")
	}
	if !strings.ContainsFunc(t.value, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }) {
		return wrong("%q has no word in it", value)
	}
	if words := strings.FieldsFunc(t.value, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsNumber(r) }); len(words) > maxPhrase {
		return wrong("a phrase has more than %d words", maxPhrase)
	}
	q.terms = append(q.terms, t)
	return nil
}

func names(fields []Field) string {
	var out []string
	for _, f := range fields {
		out = append(out, f.Name)
	}
	return strings.Join(out, ", ")
}

// when reads an age, a date or a time.
func when(s string, now time.Time) (time.Time, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, strings.ToUpper(s), time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, wrong("%q is no time: want an age like 30m, 12h or 7d, a date like 2026-01-31, or an RFC 3339 time", s)
}
