// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/sallyport-dev/sallyport/pipeline/mask/names"
	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// tally counts how well a model finds what is in texts.
type tally struct {
	gold, hit, masked [3]int // by tag; hit: all of it is found; masked: all of it is found as anything
	found, right      [3]int
	over, innocent    int // bytes
	docs, touched     int // texts without anything in them, and those of them in which something is found
}

func word(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func (t *tally) add(m *names.Model, s *names.Scanner, d *doc) {
	s.Reset()
	s.Feed([]byte(d.text))
	s.End()
	spans := s.Take(nil)
	tag := func(r *rule.Rule) int {
		if r == m.Rules()[0] {
			return 1
		}
		return 2
	}
	is, says := make([]uint8, len(d.text)), make([]uint8, len(d.text))
	for _, g := range d.spans {
		for i := g.start; i < g.end; i++ {
			is[i] = uint8(g.tag)
		}
	}
	for _, p := range spans {
		k := tag(p.Rule)
		t.found[k]++
		ok := false
		for i := p.Start; i < p.End; i++ {
			says[i] = uint8(k)
			ok = ok || int(is[i]) == k
		}
		if ok {
			t.right[k]++
		}
	}
	for _, g := range d.spans {
		t.gold[g.tag]++
		hit, masked := 1, 1
		for i := g.start; i < g.end; i++ {
			if word(d.text[i]) {
				if says[i] != uint8(g.tag) {
					hit = 0
				}
				if says[i] == 0 {
					masked = 0
				}
			}
		}
		t.hit[g.tag] += hit
		t.masked[g.tag] += masked
	}
	touched := false
	for i := range is {
		if is[i] == 0 && word(d.text[i]) {
			t.innocent++
			if says[i] != 0 {
				t.over++
				touched = true
			}
		}
	}
	if len(d.spans) == 0 {
		t.docs++
		if touched {
			t.touched++
		}
	}
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func (t *tally) String() string {
	f2 := func(k int) float64 {
		p, r := ratio(t.right[k], t.found[k]), ratio(t.hit[k], t.gold[k])
		if p+r == 0 {
			return 0
		}
		return 5 * p * r / (4*p + r)
	}
	return fmt.Sprintf("PERSON n=%d P=%.3f R=%.3f F2=%.3f | ADDRESS n=%d P=%.3f R=%.3f masked=%.3f | over %.2f/1000, touched %d/%d",
		t.gold[1], ratio(t.right[1], t.found[1]), ratio(t.hit[1], t.gold[1]), f2(1),
		t.gold[2], ratio(t.right[2], t.found[2]), ratio(t.hit[2], t.gold[2]), ratio(t.masked[2], t.gold[2]),
		1000*ratio(t.over, t.innocent), t.touched, t.docs)
}

// try scores a model on texts.
func try(m *names.Model, docs []doc, keep func(d *doc) bool) *tally {
	t := &tally{}
	s := m.NewScanner()
	for i := range docs {
		if keep(&docs[i]) {
			t.add(m, s, &docs[i])
		}
	}
	return t
}

// mistakes prints what of a text is missed and what is found that is not there.
func mistakes(m *names.Model, d *doc) {
	s := m.NewScanner()
	s.Feed([]byte(d.text))
	s.End()
	spans := s.Take(nil)
	for _, g := range d.spans {
		all := true
		for i := g.start; i < g.end; i++ {
			in := !word(d.text[i])
			for _, p := range spans {
				in = in || p.Start <= i && i < p.End
			}
			all = all && in
		}
		if !all {
			fmt.Printf("    missed %q in %q\n", d.text[g.start:g.end], d.text[max(0, g.start-40):min(len(d.text), g.end+30)])
		}
	}
	for _, p := range spans {
		ok := false
		for _, g := range d.spans {
			ok = ok || g.start < p.End && p.Start < g.end
		}
		if !ok {
			fmt.Printf("    %s %q in %q\n", p.Rule.Type, d.text[p.Start:p.End], d.text[max(0, p.Start-40):min(len(d.text), p.End+30)])
		}
	}
}
