// SPDX-License-Identifier: Apache-2.0

package masking

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// oneFamily are the types that count as one family: one taken for another is no mistake.
var oneFamily = map[string]bool{"OPENAI_KEY": true, "ANTHROPIC_KEY": true, "AWS_ACCESS_KEY": true, "AWS_SECRET_KEY": true, "GITHUB_TOKEN": true, "SLACK_TOKEN": true,
	"STRIPE_KEY": true, "GCP_API_KEY": true, "JWT": true, "PRIVATE_KEY": true, "CONNECTION_STRING": true, "GENERIC_SECRET": true, "VENDOR_TOKEN": true, "SECRET": true}

func family(typ string) string {
	if oneFamily[typ] {
		return "SECRET"
	}
	return typ
}

// Groups of types, as rows of a Report are called.
const (
	GroupSecrets    = "=SECRETS"
	GroupStructured = "=STRUCTURED-PII"
	GroupNames      = "=NAMES+ADDR"
	GroupAny        = "=ANY"
)

// Row is what came out for one type or group. A value is found (R) when each of its letters and digits is under a span of its family, and
// masked when they are under spans of any type; touched if one is. What was found is right (P) if it overlaps a value of its family.
type Row struct {
	Type                   string
	N                      int
	P, R, F1, F2           float64
	Masked, Touched        float64
	found, masked, touched int
	predictions, rightOnes int
}

// Report is what came out for a set of documents.
type Report struct {
	Docs         int
	Rows         []Row
	OvermaskKilo float64 // letters and digits masked that are in no value, of 1000 of them
	CleanDocs    int     // documents without a value
	CleanTouched int     // of them, those in which something is masked
	Leaked       int     // values that are not wholly masked
	base, over   int
}

// Row returns the row of a type or group; it is empty if the documents have none.
func (r *Report) Row(typ string) Row {
	for _, row := range r.Rows {
		if row.Type == typ {
			return row
		}
	}
	return Row{Type: typ}
}

// tally counts over documents.
type tally struct {
	gold, typed, masked, touched map[string]int // by type
	predicted, right             map[string]int // by family
	anyP, anyRight               int
	base, over, clean, hit, docs int
}

// Score judges what was found in documents; found[i] belongs to docs[i].
func Score(docs []Document, found [][]Span) *Report {
	t := &tally{gold: map[string]int{}, typed: map[string]int{}, masked: map[string]int{}, touched: map[string]int{}, predicted: map[string]int{}, right: map[string]int{}}
	for i := range docs {
		t.add(&docs[i], found[i])
	}
	return t.report()
}

func word(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c >= 0x80
}

func overlap(a, b Span) bool { return a.Start < b.End && b.Start < a.End }

func mark(on []bool, s Span) {
	for i := s.Start; i < s.End; i++ {
		on[i] = true
	}
}

func (t *tally) add(d *Document, found []Span) {
	n := len(d.Text)
	var ps []Span
	for _, p := range found {
		if p.Start >= 0 && p.Start < p.End && p.End <= n && (d.Labelled == nil || slices.Contains(d.Labelled, family(p.Type))) {
			ps = append(ps, p)
		}
	}
	covered, inside := make([]bool, n), make([]bool, n)
	byFamily := map[string][]bool{}
	for _, p := range ps {
		f := family(p.Type)
		if byFamily[f] == nil {
			byFamily[f] = make([]bool, n)
		}
		mark(covered, p)
		mark(byFamily[f], p)
	}
	for _, s := range d.Spans {
		t.value(d.Text, s, covered, byFamily[family(s.Type)])
		mark(inside, s)
	}
	ignored := slices.Clone(inside)
	for _, s := range d.Ignore {
		mark(ignored, s)
	}
	for _, p := range ps {
		any, same := false, false
		for _, s := range d.Spans {
			any = any || overlap(s, p)
			same = same || overlap(s, p) && family(s.Type) == family(p.Type)
		}
		if !any && !slices.Contains(ignored[p.Start:p.End], false) {
			continue
		}
		t.predicted[family(p.Type)]++
		t.anyP++
		if same {
			t.right[family(p.Type)]++
		}
		if any {
			t.anyRight++
		}
	}
	hit := false
	for i := range n {
		out := covered[i] && !ignored[i]
		hit = hit || out
		if word(d.Text[i]) && !ignored[i] {
			t.base++
			if out {
				t.over++
			}
		}
	}
	t.docs++
	if len(d.Spans) == 0 {
		t.clean++
		if hit {
			t.hit++
		}
	}
}

// value judges one labelled value.
func (t *tally) value(text string, s Span, covered, typed []bool) {
	words := false
	for i := s.Start; i < s.End; i++ {
		words = words || word(text[i])
	}
	masked, touched, same := true, false, typed != nil
	for i := s.Start; i < s.End; i++ {
		if words && !word(text[i]) {
			continue
		}
		masked = masked && covered[i]
		touched = touched || covered[i]
		same = same && typed[i]
	}
	t.gold[s.Type]++
	count(t.typed, s.Type, same)
	count(t.masked, s.Type, masked)
	count(t.touched, s.Type, touched)
}

func count(m map[string]int, k string, yes bool) {
	if yes {
		m[k]++
	}
}

func (t *tally) report() *Report {
	r := &Report{Docs: t.docs, CleanDocs: t.clean, CleanTouched: t.hit, OvermaskKilo: 1000 * ratio(t.over, t.base), base: t.base, over: t.over}
	types := slices.Sorted(maps.Keys(t.gold))
	for _, typ := range types {
		r.Rows = append(r.Rows, t.row(typ, []string{typ}))
	}
	var s, p, n []string
	for _, typ := range types {
		switch {
		case oneFamily[typ]:
			s = append(s, typ)
		case typ == "PERSON" || typ == "ADDRESS":
			n = append(n, typ)
		default:
			p = append(p, typ)
		}
	}
	for _, g := range []struct {
		name  string
		types []string
	}{{GroupSecrets, s}, {GroupStructured, p}, {GroupNames, n}} {
		if len(g.types) > 0 {
			r.Rows = append(r.Rows, t.row(g.name, g.types))
		}
	}
	all := t.row(GroupAny, types)
	all.P, all.R = ratio(t.anyRight, t.anyP), all.Masked
	all.F1, all.F2 = fbeta(all.P, all.R, 1), fbeta(all.P, all.R, 2)
	r.Rows = append(r.Rows, all)
	r.Leaked = all.N - all.masked
	return r
}

func (t *tally) row(name string, types []string) Row {
	r := Row{Type: name}
	families := map[string]bool{}
	for _, typ := range types {
		r.N += t.gold[typ]
		r.found += t.typed[typ]
		r.masked += t.masked[typ]
		r.touched += t.touched[typ]
		families[family(typ)] = true
	}
	for f := range families {
		r.predictions += t.predicted[f]
		r.rightOnes += t.right[f]
	}
	r.P, r.R = ratio(r.rightOnes, r.predictions), ratio(r.found, r.N)
	r.F1, r.F2 = fbeta(r.P, r.R, 1), fbeta(r.P, r.R, 2)
	r.Masked, r.Touched = ratio(r.masked, r.N), ratio(r.touched, r.N)
	return r
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func fbeta(p, r, b float64) float64 {
	if p+r == 0 {
		return 0
	}
	return (1 + b*b) * p * r / (b*b*p + r)
}

// Print writes a report as a table.
func (r *Report) Print(w io.Writer, title string) {
	fmt.Fprintf(w, "## %s: %d documents, overmask_per_1000=%.2f, clean_docs_touched=%d/%d, leaked_spans=%d\n", title, r.Docs, r.OvermaskKilo, r.CleanTouched, r.CleanDocs, r.Leaked)
	fmt.Fprintf(w, "%-18s %5s %6s %6s %6s %6s %7s %8s\n", "type", "n", "P", "R", "F1", "F2", "masked", "touched")
	for _, x := range r.Rows {
		fmt.Fprintf(w, "%-18s %5d %6.3f %6.3f %6.3f %6.3f %7.3f %8.3f\n", x.Type, x.N, x.P, x.R, x.F1, x.F2, x.Masked, x.Touched)
	}
}

// BySource splits documents, and what was found in them, by where they come from.
func BySource(docs []Document, found [][]Span) []Source {
	at := map[string]int{}
	var out []Source
	for i := range docs {
		k, ok := at[docs[i].Source]
		if !ok {
			k = len(out)
			at[docs[i].Source] = k
			out = append(out, Source{Name: docs[i].Source})
		}
		out[k].Docs = append(out[k].Docs, docs[i])
		out[k].Found = append(out[k].Found, found[i])
	}
	return out
}

// Source is the part of a corpus that has one origin.
type Source struct {
	Name  string
	Docs  []Document
	Found [][]Span
}
