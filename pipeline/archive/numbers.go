// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// Numbers are found by the index too, or a query for a rare one would look at all exchanges. Each is one word for its range, of four to a
// doubling, and one for its doubling; the column then says which of them it is.

// numbers is a range of numbers, both ends included.
type numbers struct{ low, high int64 }

// rangeOf is the range in which a number of a field is. Of status, of which there are few, each is its own.
func rangeOf(field string, n int64) numbers {
	if n < 4 || field == "status" {
		n = max(n, 0)
		return numbers{n, n}
	}
	shift := bits.Len64(uint64(n)) - 3
	low := n >> shift << shift
	return numbers{low, low + 1<<shift - 1}
}

func (r numbers) name() string { return fmt.Sprintf("%d-%d", r.low, r.high) }

// octave names the doubling of a range.
func (r numbers) octave() string { return "2^" + strconv.Itoa(bits.Len64(uint64(r.low))) }

func readRange(s string) (r numbers, ok bool) {
	low, high, ok := strings.Cut(s, "-")
	var errLow, errHigh error
	r.low, errLow = strconv.ParseInt(low, 10, 64)
	r.high, errHigh = strconv.ParseInt(high, 10, 64)
	return r, ok && errLow == nil && errHigh == nil
}

// wanted is the range of numbers for which a comparison holds; a comparison with <> is not one.
func wanted(op string, n int64) numbers {
	switch op {
	case "=":
		return numbers{n, n}
	case "<":
		return numbers{0, max(n, 1) - 1}
	case "<=":
		return numbers{0, n}
	case ">":
		return numbers{min(n, math.MaxInt64-1) + 1, math.MaxInt64}
	}
	return numbers{n, math.MaxInt64}
}

// ranges is a condition in the language of FTS5 for numbers that may fulfil a comparison, "" if the index is of no use for it.
func (a *Archive) ranges(ctx context.Context, field, op string, n int64) (string, error) {
	rows, err := a.read.Load().QueryContext(ctx, "SELECT value FROM words WHERE field = ?", field)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var out []string
	want, all := wanted(op, n), true
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return "", err
		}
		r, ok := readRange(s)
		if !ok {
			continue
		}
		fits := r.low <= want.high && r.high >= want.low
		if op == "<>" {
			fits = r.low != r.high || r.low != n
		}
		if !fits {
			all = false
			continue
		}
		name := r.name()
		if width := bits.Len64(uint64(r.low)); op != "<>" && width < 63 && r.low > 0 && want.low <= 1<<(width-1) && want.high >= 1<<width-1 {
			name = r.octave() // all of the doubling is wanted
		}
		if t := token(field, name); !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	switch {
	case rows.Err() != nil || all:
		return "", rows.Err()
	case len(out) == 0:
		return "fields : fnone", nil
	}
	return "fields : (" + strings.Join(out, " OR ") + ")", nil
}
