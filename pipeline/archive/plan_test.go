// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// put adds exchanges without a journal.
func (r *rig) put(n int, of func(i int, in *pipeline.Intent, out *pipeline.Outcome)) {
	r.t.Helper()
	var parts []*journal.Parts
	for i := range n {
		r.n++
		in := &pipeline.Intent{Scope: "agents", Call: pipeline.Call{Operation: pipeline.OpChat, Model: "m"}}
		out := &pipeline.Outcome{Status: 200}
		of(i, in, out)
		parts = append(parts, &journal.Parts{Refs: journal.Refs{Session: fmt.Sprintf("ses_%d", r.n/2), Exchange: fmt.Sprintf("exc_%d", r.n)}, Intent: in, Outcome: out,
			Time: r.base.Add(time.Duration(r.n) * time.Second)})
	}
	if err := r.a.add(r.t.Context(), parts, place{}); err != nil {
		r.t.Fatal(err)
	}
}

func ref(n int64) *int64 { return &n }

// TestManyValues: globs that stand for hundreds of values find what each of them would, whichever way they are looked up.
func TestManyValues(t *testing.T) {
	r := newRig(t)
	r.put(1200, func(i int, in *pipeline.Intent, out *pipeline.Outcome) {
		in.Principal.User = fmt.Sprintf("user%d", i)
		if i%100 == 7 {
			out.Tools = []pipeline.Step{{Kind: pipeline.StepToolCall, Name: "sql"}}
		}
	})
	count := func(query string) (n int) {
		t.Helper()
		q, err := Parse(query, r.base)
		if err != nil {
			t.Fatal(err)
		}
		for before := int64(0); ; {
			p, err := r.a.Search(t.Context(), q, before, 70)
			if err != nil {
				t.Fatalf("%s: %v", query, err)
			}
			n += len(p.Hits)
			if before = p.Next; before == 0 {
				return n
			}
		}
	}
	for query, want := range map[string]int{
		"principal:user*": 1200, "principal:*user1*": 311, "-principal:*user1*": 889, "principal:user*7": 120, "principal:user* tool:sql": 12,
		"principal:user*7 tool:sql": 12, "-principal:user*7 tool:sql": 0, "principal:*1* principal:*2*": 123 + 8, "principal:user11*": 111, "principal:nobody*": 0,
	} {
		if query == "principal:*1* principal:*2*" { // counted here, for nobody sees that it is right
			want = 0
			for i := range 1200 {
				if s := fmt.Sprint(i); strings.Contains(s, "1") && strings.Contains(s, "2") {
					want++
				}
			}
		}
		if got := count(query); got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
	q, err := Parse("principal:user*", r.base)
	if err != nil {
		t.Fatal(err)
	}
	seen, before := map[string]bool{}, int64(0)
	for {
		list, next, err := r.a.Sessions(t.Context(), q, before, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if seen[s.ID] {
				t.Fatalf("%s is listed twice", s.ID)
			}
			seen[s.ID] = true
		}
		if before = next; before == 0 {
			break
		}
	}
	if len(seen) != 601 {
		t.Errorf("%d sessions", len(seen))
	}
	var bad *QueryError
	if _, err := r.a.Usage(t.Context(), q, false); !errors.As(err, &bad) {
		t.Errorf("usage: %v", err)
	}
}

// TestNumbers compares what is found with what the numbers are.
func TestNumbers(t *testing.T) {
	r := newRig(t)
	values := []int64{0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 1000, 1023, 1024, 60_000, 65_535, 65_536, 1 << 40, math.MaxInt64}
	r.put(len(values), func(i int, _ *pipeline.Intent, out *pipeline.Outcome) {
		out.DurationMS, out.Usage, out.Status = values[i], pipeline.Usage{InputTokens: ref(values[i] / 2), OutputTokens: ref(values[i] - values[i]/2)}, 200+i%3
	})
	holds := map[string]func(a, b int64) bool{
		"": func(a, b int64) bool { return a == b }, "<": func(a, b int64) bool { return a < b }, "<=": func(a, b int64) bool { return a <= b },
		">": func(a, b int64) bool { return a > b }, ">=": func(a, b int64) bool { return a >= b },
	}
	for _, field := range []string{"duration", "tokens", "status"} {
		for op, f := range holds {
			for _, n := range append([]int64{6, 200, 201, 202, 203, 59_999, 1 << 50}, values...) {
				for _, not := range []string{"", "-"} {
					query, want := fmt.Sprintf("%s%s:%s%d", not, field, op, n), ""
					for i := len(values) - 1; i >= 0; i-- {
						v := values[i]
						if field == "status" {
							v = int64(200 + i%3)
						}
						if f(v, n) == (not == "") {
							want += fmt.Sprint(" ", i+1)
						}
					}
					if got := r.find(query); got != strings.TrimSpace(want) {
						t.Errorf("%s: found %s, want %s", query, got, want)
					}
				}
			}
		}
	}
}

// TestStrangeValues: values that are no valid text are found, also by a glob.
func TestStrangeValues(t *testing.T) {
	r := newRig(t)
	r.put(1, func(_ int, in *pipeline.Intent, _ *pipeline.Outcome) { in.Workload.Comm = "a\x00b\xffc" })
	for _, q := range []string{"workload:a*c", "workload:\"a\x00b\xffc\"", "workload:a*"} {
		if got := r.find(q); got != "1" {
			t.Errorf("%q: found %q", q, got)
		}
	}
}

// TestFailedBatch: values of a batch that could not be written are not taken for written.
func TestFailedBatch(t *testing.T) {
	r := newRig(t)
	fails := errors.New("no space")
	err := r.a.in(t.Context(), func(tx *sql.Tx) error {
		if _, err := r.a.note(r.a.sql.in(context.Background(), tx), "scope", "agents"); err != nil {
			return err
		}
		return fails
	})
	if !errors.Is(err, fails) {
		t.Fatal(err)
	}
	r.put(1, func(int, *pipeline.Intent, *pipeline.Outcome) {})
	if got := r.find("scope:ag*"); got != "1" {
		t.Errorf("found %q", got)
	}
}

// TestOnePart: a batch becomes one part of the index, also if its values, sessions and all are new: parts must be merged, which is most of the work.
func TestOnePart(t *testing.T) {
	r := newRig(t)
	for batch := 1; batch <= 3; batch++ {
		r.put(200, func(_ int, in *pipeline.Intent, out *pipeline.Outcome) {
			in.Principal.User, out.DurationMS = fmt.Sprint("user", r.n), int64(r.n)*997
			in.Call.Steps = []pipeline.Step{{Kind: pipeline.StepPrompt, Text: fmt.Sprint("word", r.n)}}
		})
		var parts int
		if err := r.a.write.QueryRow("SELECT count(DISTINCT id >> 37) FROM found_data WHERE id >= 1 << 37").Scan(&parts); err != nil || parts != batch {
			t.Errorf("%d parts after %d batches, %v", parts, batch, err)
		}
	}
}

func TestTooManyConditions(t *testing.T) {
	var bad *QueryError
	if _, err := Parse(strings.Repeat("word ", maxTerms+1), time.Now()); !errors.As(err, &bad) {
		t.Errorf("%v", err)
	}
	r := newRig(t)
	r.put(1, func(_ int, in *pipeline.Intent, _ *pipeline.Outcome) {
		in.Call.Steps = []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "word"}}
	})
	if got := r.find(strings.Repeat("word ", maxTerms)); got != "1" {
		t.Errorf("found %q", got)
	}
}
