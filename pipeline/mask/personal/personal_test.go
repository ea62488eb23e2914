// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask/reference"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// TestBounds holds each rule to the most bytes that it may hold back.
func TestBounds(t *testing.T) {
	for _, r := range Rules() {
		_, n, err := r.Compile()
		if err != nil {
			t.Error(err)
			continue
		}
		limit := 120
		if r.Type == "EMAIL" {
			limit = 320
		}
		if n > limit {
			t.Errorf("%s: a match may have %d bytes, more than %d", r.Name, n, limit)
		}
		if r.Tail != nil || r.Family != rule.Structured || r.Why == "" {
			t.Errorf("%s: it must be closed, structured, and say why", r.Name)
		}
	}
}

// TestRules runs all rules over the cases of each: what stands in «» is found by that rule, as a whole, and nothing else is found.
func TestRules(t *testing.T) {
	set, err := reference.New(Rules(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range Rules() {
		names = append(names, r.Name)
	}
	for name, c := range cases() {
		if !slices.Contains(names, name) {
			t.Errorf("cases for %s, which is no rule", name)
		}
		if len(c.found) == 0 || len(c.passed) == 0 {
			t.Errorf("%s needs cases that are found and cases that are passed over", name)
		}
		for _, text := range append(c.found, c.passed...) {
			plain := strings.NewReplacer("«", "", "»", "").Replace(text)
			var got strings.Builder
			at := 0
			for _, s := range set.Find([]byte(plain)) {
				fmt.Fprintf(&got, "%s«%s»", plain[at:s.Start], plain[s.Start:s.End])
				at = s.End
				if s.Rule.Name != name && strings.Contains(text, "«") && !strings.Contains(c.others, s.Rule.Name) {
					t.Errorf("%s: %q: found by %s", name, text, s.Rule.Name)
				}
			}
			got.WriteString(plain[at:])
			if got.String() != text {
				t.Errorf("%s:\n got %q\nwant %q", name, got.String(), text)
			}
		}
	}
	for _, n := range names {
		if _, ok := cases()[n]; !ok {
			t.Errorf("%s has no cases", n)
		}
	}
}

// TestAllocations holds Checks to no allocation, over text in which all of them are asked and many agree.
func TestAllocations(t *testing.T) {
	asked := candidates(t, heavy())
	if len(asked) < 100 {
		t.Fatalf("only %d candidates", len(asked))
	}
	if n := testing.AllocsPerRun(10, func() {
		for _, a := range asked {
			a.rule.Check(a.left, a.match)
		}
	}); n > 0 {
		t.Errorf("%v allocations over %d candidates", n, len(asked))
	}
}

// heavy is text that is dense in numbers: all cases, and rows of figures.
func heavy() string {
	var b strings.Builder
	c := cases()
	var names []string
	for n := range c {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		b.WriteString(strings.Join(append(slices.Clone(c[n].found), c[n].passed...), "\n"))
		b.WriteByte('\n')
	}
	for i := range 200 {
		fmt.Fprintf(&b, "2024-05-%02d 10:%02d:17,%03d INFO id=%d took %d ms, %d bytes, ratio %d.%04d | %d | %d\n", i%28+1, i%60, i*7%1000, 4100233+i*7919, i*13, 1<<20+i*331, i%9, i*37%10000, 90017+i*101, 5550100+i*17)
	}
	return strings.NewReplacer("«", "", "»", "").Replace(b.String())
}

type candidate struct {
	rule        *rule.Rule
	left, match []byte
}

// candidates are the calls of Check that a text gives rise to.
func candidates(t testing.TB, text string) (out []candidate) {
	rules := Rules()
	for _, r := range rules {
		check := r.Check
		one := *r
		one.Check = func(left, match []byte) (int, int, bool) {
			out = append(out, candidate{r, slices.Clone(left), slices.Clone(match)})
			return check(left, match)
		}
		set, err := reference.New([]*rule.Rule{&one}, nil)
		if err != nil {
			t.Fatal(err)
		}
		set.Find([]byte(text))
	}
	return out
}

// BenchmarkChecks measures Checks alone over text that is dense in numbers. Bytes are those of the text.
func BenchmarkChecks(b *testing.B) {
	text := heavy()
	asked := candidates(b, text)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		for i := range asked {
			asked[i].rule.Check(asked[i].left, asked[i].match)
		}
	}
	b.ReportMetric(float64(len(asked)), "checks/op")
}

// FuzzChecks looks for a Check that panics or names a part outside of its match.
func FuzzChecks(f *testing.F) {
	for _, c := range cases() {
		for _, s := range c.found {
			f.Add([]byte(s))
		}
	}
	rules := Rules()
	set, err := reference.New(rules, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, s := range set.Find(text) {
			if s.Start < 0 || s.End > len(text) || s.Start >= s.End {
				t.Errorf("%s: [%d, %d) of %d", s.Rule.Name, s.Start, s.End, len(text))
			}
		}
	})
}
