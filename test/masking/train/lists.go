// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"unicode"

	"github.com/sallyport-dev/sallyport/pipeline/mask/names/token"
)

//go:embed data
var data embed.FS

// lines are those of a file in data.
func lines(name string) ([]string, error) {
	b, err := data.ReadFile(path.Join("data", name))
	if err != nil {
		return nil, err
	}
	var r io.Reader = bytes.NewReader(b)
	if strings.HasSuffix(name, ".gz") {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, err
		}
	}
	var out []string
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if l := s.Text(); l != "" && !strings.HasPrefix(l, "# ") {
			out = append(out, l)
		}
	}
	return out, s.Err()
}

// entry is a name of a list.
type entry struct {
	name    string
	level   int
	locales []string
}

// people are the names of one locale.
type people struct{ first, last []string }

// sources is all that texts are filled with and lists are made of.
type sources struct {
	first, last []entry
	words       map[string][]string // classes of words.txt
	common      []entry
	proper      []string
	places      []place

	locale  map[string]*people
	locales []string
	cities  map[string][]string // by country
	all     []string            // cities
	lands   []string
}

type place struct {
	name, kind, country string
	level               int
}

func readSources() (*sources, error) {
	s := &sources{words: map[string][]string{}, locale: map[string]*people{}, cities: map[string][]string{}}
	for _, l := range []struct {
		file string
		to   *[]entry
	}{{"first.gz", &s.first}, {"last.gz", &s.last}, {"words.gz", &s.common}} {
		ls, err := lines(l.file)
		if err != nil {
			return nil, err
		}
		for _, line := range ls {
			f := strings.Split(line, "\t")
			level, err := strconv.Atoi(f[1])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", l.file, err)
			}
			e := entry{name: f[0], level: level}
			if len(f) > 2 && f[2] != "" {
				e.locales = strings.Split(f[2], " ")
			}
			*l.to = append(*l.to, e)
		}
	}
	var err error
	if s.proper, err = lines("proper.gz"); err != nil {
		return nil, err
	}
	ws, err := lines("words.txt")
	if err != nil {
		return nil, err
	}
	for _, l := range ws {
		class, list, _ := strings.Cut(l, ": ")
		s.words[class] = append(s.words[class], strings.Split(list, "|")...)
	}
	ps, err := lines("places.gz")
	if err != nil {
		return nil, err
	}
	for _, l := range ps {
		f := strings.Split(l, "\t")
		s.places = append(s.places, place{f[0], f[1], f[2], int(f[3][0] - '0')})
		if f[1] == "city" {
			s.cities[f[2]] = append(s.cities[f[2]], f[0])
			s.all = append(s.all, f[0])
		} else {
			s.lands = append(s.lands, f[0])
		}
	}
	return s, nil
}

// use makes the names that texts are filled with: of the locales that keep accepts, and without those names that it does not.
func (s *sources) use(locale func(string) bool, keep func(string) bool) {
	s.locale, s.locales = map[string]*people{}, nil
	of := func(l string) *people {
		p := s.locale[l]
		if p == nil {
			p = &people{}
			s.locale[l] = p
			s.locales = append(s.locales, l)
		}
		return p
	}
	add := func(es []entry, to func(*people) *[]string) {
		for _, e := range es {
			if !keep(e.name) {
				continue
			}
			for _, l := range e.locales {
				if locale(l) {
					p := to(of(l))
					*p = append(*p, e.name)
				}
			}
			if e.level >= 2 && len(e.locales) == 0 && locale("census") {
				p := to(of("census"))
				*p = append(*p, e.name)
			}
		}
	}
	add(s.first, func(p *people) *[]string { return &p.first })
	add(s.last, func(p *people) *[]string { return &p.last })
	if locale("own") {
		for _, n := range s.words["first"] {
			if keep(n) {
				of("own").first = append(of("own").first, n)
			}
		}
		for _, n := range s.words["last"] {
			if keep(n) {
				of("own").last = append(of("own").last, n)
			}
		}
	}
	s.locales = nil
	for _, e := range s.first { // in the order of the list, so that it is the same each time
		for _, l := range append(e.locales, "census", "own") {
			if p := s.locale[l]; p != nil && len(p.first) >= 15 && len(p.last) >= 8 && !contains(s.locales, l) {
				s.locales = append(s.locales, l)
			}
		}
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// gazetteer makes the lists of the model, without the names that keep does not accept.
func (s *sources) gazetteer(keep func(string) bool) *token.Lists {
	w := map[uint32]token.Flags{}
	each := func(text string, f func(token.Flags) token.Flags) {
		for _, part := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) }) {
			if h, ok := token.Hash(part); ok {
				w[h] = f(w[h])
			}
		}
	}
	set := func(text string, bits token.Flags) {
		each(text, func(f token.Flags) token.Flags { return f | bits })
	}
	for _, e := range s.first {
		if keep(e.name) && len(e.name) > 2 {
			each(e.name, func(f token.Flags) token.Flags { return f.WithFirst(e.level) })
		}
	}
	for _, e := range s.last {
		if keep(e.name) && len(e.name) > 2 {
			each(e.name, func(f token.Flags) token.Flags { return f.WithLast(e.level) })
		}
	}
	for _, n := range s.words["first"] {
		if keep(n) {
			each(n, func(f token.Flags) token.Flags { return f.WithFirst(2) })
		}
	}
	for _, n := range s.words["last"] {
		if keep(n) {
			each(n, func(f token.Flags) token.Flags { return f.WithLast(2) })
		}
	}
	for _, e := range s.common {
		if h, ok := token.Hash(e.name); ok {
			w[h] = w[h].WithUsual(e.level)
		}
	}
	for _, n := range s.words["usual"] {
		each(n, func(f token.Flags) token.Flags { return f.WithUsual(3) })
	}
	for _, p := range s.proper {
		set(p, token.Proper)
	}
	for _, p := range s.places {
		switch {
		case p.kind != "city":
			set(p.name, token.Country)
		case p.level > 1 || !strings.Contains(p.name, " "):
			set(p.name, token.City)
		}
	}
	for class, bits := range map[string]token.Flags{"title": token.Title, "role": token.Role, "org": token.Org, "calendar": token.Calendar,
		"particle": token.Particle, "street": token.Street, "tech": token.Tech, "country": token.Country} {
		for _, x := range s.words[class] {
			set(x, bits)
		}
	}
	for _, x := range []string{"of", "and", "the", "in", "on", "at", "for", "to", "with"} { // parts of places' names
		h, _ := token.Hash(x)
		w[h] = token.Flags(0).WithUsual(3)
	}
	return token.NewLists(w)
}
