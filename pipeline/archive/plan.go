// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"database/sql"
	"encoding/binary"
	"strconv"
	"strings"
)

const (
	// maxQuery is how long a query may be, in bytes.
	maxQuery = 8 << 10
	// maxPhrase is how many words a phrase may have.
	maxPhrase = 256
	// maxTerms is how many conditions a query may have.
	maxTerms = 64
	// maxGlob is how many values a glob may stand for.
	maxGlob = 20_000
	// maxOr is how many values are looked up in the index by themselves.
	maxOr = 500
	// fewOr is how many are in any case.
	fewOr = 24
	// often is the part of all uses of a field that makes it better to look through exchanges, newest first: one of so many.
	often = 100
)

// filter is a query as SQL conditions on exchanges e and found, and what is looked for in the values of those that fulfil them.
type filter struct {
	where []string
	args  []any
	index bool // found is needed
	sets  []set
}

// set is a glob that stands for many values. An exchange must have one of them; or none, if not is set.
type set struct {
	ids map[int64]bool
	not bool
}

func (f *filter) sql() string { return " WHERE " + strings.Join(append(f.where, "1"), " AND ") }

func (f *filter) from() string {
	if f.index {
		return " FROM found JOIN exchanges e ON e.n = found.rowid"
	}
	return " FROM exchanges e"
}

// number is the column that numbers exchanges.
func (f *filter) number() string {
	if f.index {
		return "found.rowid"
	}
	return "e.n"
}

// filter plans a query. sets tells whether the caller can deal with sets.
func (a *Archive) filter(ctx context.Context, q *Query, sets bool) (*filter, error) {
	f := &filter{}
	var must, not []string
	for i := range q.terms {
		t := &q.terms[i]
		if t.field != nil && t.field.Number {
			op := t.op
			if t.not {
				op = map[string]string{"=": "<>", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}[op]
			}
			f.where = append(f.where, "(e."+t.field.column+") "+op+" ?")
			f.args = append(f.args, t.number)
			expr, err := a.ranges(ctx, t.field.Name, op, t.number)
			if err != nil {
				return nil, err
			}
			if expr != "" {
				must = append(must, expr)
			}
			continue
		}
		expr, some, err := a.match(ctx, t, sets)
		switch {
		case err != nil:
			return nil, err
		case some != nil:
			f.sets = append(f.sets, *some)
		case t.not:
			not = append(not, expr)
		default:
			must = append(must, expr)
		}
	}
	if len(must)+len(not) > 0 {
		if len(must) == 0 {
			must = append(must, "fields : "+every)
		}
		expr := strings.Join(must, " AND ")
		if len(not) > 0 {
			expr = "(" + expr + ") NOT (" + strings.Join(not, " OR ") + ")"
		}
		f.index = true
		f.where = append([]string{"found MATCH ?"}, f.where...)
		f.args = append([]any{expr}, f.args...)
	}
	if !q.Since.IsZero() {
		f.where, f.args = append(f.where, f.number()+" >= ?"), append(f.args, q.Since.UnixMicro())
	}
	if !q.Until.IsZero() {
		f.where, f.args = append(f.where, f.number()+" < ?"), append(f.args, q.Until.UnixMicro())
	}
	return f, nil
}

// match is a condition in the language of FTS5, or a set.
func (a *Archive) match(ctx context.Context, t *term, sets bool) (string, *set, error) {
	if t.field == nil {
		expr := `text : "` + strings.ReplaceAll(clean(t.value), `"`, `""`) + `"`
		if t.prefix {
			expr += " *"
		}
		return expr, nil, nil
	}
	if !strings.Contains(t.value, "*") {
		return "fields : " + token(t.field.Name, clean(t.value)), nil, nil
	}
	rows, err := a.read.Load().QueryContext(ctx, "SELECT id, value, uses, (SELECT sum(uses) FROM words WHERE field = ?1) FROM words WHERE field = ?1 AND value GLOB ?2 LIMIT ?3",
		t.field.Name, glob(clean(t.value)), maxGlob+1)
	if err != nil {
		return "", nil, err
	}
	defer rows.Close()
	var out []string
	some, uses, all := &set{ids: map[int64]bool{}, not: t.not}, int64(0), int64(0)
	for rows.Next() {
		var v string
		var id, n int64
		if err := rows.Scan(&id, &v, &n, &all); err != nil {
			return "", nil, err
		}
		out = append(out, token(t.field.Name, v))
		some.ids[id] = true
		uses += n
	}
	switch {
	case rows.Err() != nil:
		return "", nil, rows.Err()
	case len(out) > maxGlob, len(out) > maxOr && !sets:
		most := maxGlob
		if !sets {
			most = maxOr
		}
		return "", nil, wrong("%s:%s stands for more than %d values: want a narrower pattern", t.field.Name, t.value, most)
	case len(out) == 0:
		return "fields : fnone", nil, nil
	case sets && (len(out) > maxOr || len(out) > fewOr && uses*often > all):
		return "", some, nil
	}
	return "fields : (" + strings.Join(out, " OR ") + ")", nil, nil
}

// glob makes a pattern in which only * is special into one of SQLite.
func glob(s string) string {
	return strings.NewReplacer("[", "[[]", "?", "[?]", "]", "[]]").Replace(s)
}

// fits tells whether an exchange with these values is in all sets.
func (f *filter) fits(vals []byte) bool {
	for i := range f.sets {
		s, has, id := &f.sets[i], false, int64(0)
		for b := vals; len(b) > 0 && !has; {
			more, n := binary.Uvarint(b)
			if n <= 0 {
				break
			}
			id, b = id+int64(more), b[n:]
			has = s.ids[id]
		}
		if has == s.not {
			return false
		}
	}
	return true
}

// sift looks through exchanges for those that are in all sets, newest first, and gives the numbers of the first ones.
func (a *Archive) sift(ctx context.Context, f *filter, where string, args []any, most int) (out []int64, err error) {
	rows, err := a.read.Load().QueryContext(ctx, "SELECT e.n, e.vals"+f.from()+f.sql()+" AND "+where+" ORDER BY "+f.number()+" DESC", append(append([]any{}, f.args...), args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var n int64
	var vals sql.RawBytes
	for len(out) < most && rows.Next() {
		if err := rows.Scan(&n, &vals); err != nil {
			return nil, err
		}
		if f.fits(vals) {
			out = append(out, n)
		}
	}
	return out, rows.Err()
}

func list(n []int64) string {
	out := make([]string, len(n))
	for i, v := range n {
		out[i] = strconv.FormatInt(v, 10)
	}
	return strings.Join(out, ", ")
}
