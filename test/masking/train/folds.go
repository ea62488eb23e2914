// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/mask/names"
)

// fold is one question about what a model can do with what it has not learned from.
type fold struct {
	name string
	out  func(group, text string) bool // templates and texts that are not learned from, and tried
	home func(locale string) bool      // locales that are not learned from, and tried
}

// held are the names that no fold learns from: they are neither in its lists nor in its texts, and all texts that it is tried on are
// filled with them. When it is tried most of them are in its lists, as in the field; those that are unknown are not.
func held(name string) bool    { return part(name) < 30 }
func unknown(name string) bool { return part(name) < 8 }

func folds() []fold {
	group := func(prefix ...string) func(string, string) bool {
		return func(g, _ string) bool {
			for _, p := range prefix {
				if strings.HasPrefix(g, p) {
					return true
				}
			}
			return false
		}
	}
	some := func(k int) func(string, string) bool {
		return func(_, text string) bool { return part(text)%5 == k }
	}
	locales := strings.Fields("it_IT es_ES es_MX nl_NL pl_PL pt_BR sv_SE da_DK tr_TR en en_IN ru_RU cs_CZ fi_FI el_GR")
	return []fold{
		{name: "wnut", out: group("wnut")},
		{name: "presidio", out: group("presidio")},
		{name: "own-a", out: group("own-a")},
		{name: "own data", out: group("own data")},
		{name: "own chat", out: group("own chat")},
		{name: "own address", out: group("own address")},
		{name: "own languages", out: group("own more")},
		{name: "clean", out: group("mtbench", "gosrc", "prose", "cloud", "own nothing", "negatives", "foreign")},
		{name: "texts 0", out: some(0)},
		{name: "texts 1", out: some(1)},
		{name: "locales", out: some(2), home: func(l string) bool { return contains(locales, l) }},
	}
}

// report prints how models do on their folds.
func report(o options, only string, show int) error {
	for _, f := range folds() {
		if only != "" && !strings.HasPrefix(f.name, only) {
			continue
		}
		p := o
		p.keep = func(g, t string) bool { return !f.out(g, t) }
		p.name = func(n string) bool { return !held(n) }
		if f.home != nil {
			p.locale = func(l string) bool { return !f.home(l) }
		}
		_, l, err := train(p)
		if err != nil {
			return err
		}
		s, err := readSources()
		if err != nil {
			return err
		}
		lists := s.gazetteer(func(n string) bool { return !unknown(n) })
		m := names.With(lists, l.weights(o.lean))
		c, err := readCorpus()
		if err != nil {
			return err
		}
		homes := []string{""}
		if f.home != nil {
			s.use(f.home, held)
			homes = append(homes, s.locales...)
		}
		for _, h := range homes {
			s.use(func(l string) bool { return h == l || h == "" && (f.home == nil || f.home(l)) }, held)
			if len(s.locales) == 0 {
				continue
			}
			docs := c.epoch(s, 999, 3, f.out)
			groups := map[string]bool{}
			var order []string
			for _, d := range docs {
				if !groups[d.group] {
					groups[d.group] = true
					order = append(order, d.group)
				}
			}
			fmt.Printf("%-14s %-6s %s\n", f.name, h, try(m, docs, func(d *doc) bool {
				return h == "" || strings.HasPrefix(d.group, "own") || strings.HasPrefix(d.group, "presidio")
			}))
			for i := range min(show, len(docs)) {
				mistakes(m, &docs[i])
			}
			if h == "" && len(order) > 1 {
				for _, g := range order {
					fmt.Printf("  %-12s        %s\n", g, try(m, docs, func(d *doc) bool { return d.group == g }))
				}
			}
		}
	}
	return nil
}
