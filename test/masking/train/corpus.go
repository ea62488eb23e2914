// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"unicode"

	"github.com/sallyport-dev/sallyport/pipeline/mask/names/token"
)

// corpus is what is learned from: templates, which are filled anew each time, and texts as they are.
type corpus struct {
	templates []template
	texts     []doc
	negatives []string
	posts     []string // the same, as people write to each other
	foreign   []string // the same, in languages other than English
}

type template struct{ group, text string }

func readCorpus() (*corpus, error) {
	c := &corpus{}
	ls, err := lines("templates.gz")
	if err != nil {
		return nil, err
	}
	for _, l := range ls {
		var t struct{ Group, Text string }
		if err := json.Unmarshal([]byte(l), &t); err != nil {
			return nil, fmt.Errorf("templates.gz: %w", err)
		}
		if strings.Contains(t.Text, "data:image") || strings.Count(t.Text, "{D}") > 12 {
			continue
		}
		if t.Group == "own-a" { // what stands there side by side by chance is learned from alone
			if at := strings.LastIndex(t.Text, "\n\n"); at > 0 && !strings.Contains(t.Text, "Dear") && !strings.Contains(t.Text, "Sure!") && !strings.Contains(t.Text, "```") {
				t.Text = t.Text[at+2:]
			}
		}
		c.templates = append(c.templates, template{t.Group, t.Text})
	}
	own, err := lines("own.txt")
	if err != nil {
		return nil, err
	}
	section := ""
	for _, l := range own {
		if s, ok := strings.CutPrefix(l, "= "); ok {
			section = s
			continue
		}
		l = strings.NewReplacer(`\\n`, `\n`, `\n`, "\n", `\t`, "\t").Replace(l)
		c.templates = append(c.templates, template{"own " + section, l})
	}
	if c.posts, err = lines("posts.txt"); err != nil {
		return nil, err
	}
	for _, n := range c.posts {
		c.texts = append(c.texts, doc{group: "posts", text: n})
	}
	if c.negatives, err = lines("negatives.txt"); err != nil {
		return nil, err
	}
	if c.foreign, err = lines("foreign.txt"); err != nil {
		return nil, err
	}
	for _, n := range c.foreign {
		c.texts = append(c.texts, doc{group: "foreign", text: n})
	}
	for _, n := range c.negatives {
		c.texts = append(c.texts, doc{group: "negatives", text: strings.NewReplacer(`\n`, "\n", `\t`, "\t").Replace(n)})
	}
	if ls, err = lines("documents.gz"); err != nil {
		return nil, err
	}
	for _, l := range ls {
		var d struct {
			Group, Text string
			Spans       [][3]any
		}
		if err := json.Unmarshal([]byte(l), &d); err != nil {
			return nil, fmt.Errorf("documents.gz: %w", err)
		}
		x := doc{group: d.Group, text: d.Text}
		for _, s := range d.Spans {
			x.spans = append(x.spans, span{int(s[0].(float64)), int(s[1].(float64)), token.Person})
		}
		c.texts = append(c.texts, x)
	}
	return c, nil
}

// part is a number below 100 that a text always has.
func part(s string) int {
	h := fnv.New32a()
	h.Write([]byte(s))
	return int(h.Sum32() >> 7 % 100)
}

// epoch is what is read in one turn. keep chooses templates and texts by group and text.
func (c *corpus) epoch(s *sources, seed uint64, times int, keep func(group, text string) bool) []doc {
	f := &filler{sources: s, r: rand.New(rand.NewPCG(seed, 2)), negs: c.negatives, foreign: c.foreign, posts: c.posts}
	var out []doc
	for _, t := range c.templates {
		if !keep(t.group, t.text) {
			continue
		}
		n := times
		switch {
		case t.group == "own address" || t.group == "own nothing" || t.group == "own fields":
			n *= 2
		case t.group == "own-a":
			n = (n + 2) / 3
		}
		for range n {
			out = append(out, f.fill(t.group, t.text))
		}
	}
	for _, d := range c.texts {
		if !keep(d.group, d.text) {
			continue
		}
		n := 1
		if d.group == "negatives" || d.group == "foreign" || d.group == "posts" {
			n = times
		} else if d.group == "wnut" {
			n = 2
		}
		for range n {
			out = append(out, d)
		}
		if len(d.spans) > 0 {
			for range (times + 2) / 4 {
				out = append(out, f.others(d))
			}
		}
	}
	f.r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// others is a text with other people in it.
func (f *filler) others(d doc) doc {
	f.out.Reset()
	f.spans = nil
	f.newHome()
	at := 0
	for _, s := range d.spans {
		f.out.WriteString(d.text[at:s.start])
		old, name := d.text[s.start:s.end], ""
		words := strings.Fields(old)
		switch {
		case strings.IndexFunc(old, func(r rune) bool { return !unicode.IsLetter(r) && r != ' ' }) >= 0 || len(words) > 3:
			name = old
		case len(words) > 1:
			name = f.full()
		case f.chance(60):
			name = f.first()
		default:
			name = f.last()
		}
		if old == strings.ToLower(old) {
			name = strings.ToLower(name)
		} else if len(old) > 1 && old == strings.ToUpper(old) {
			name = strings.ToUpper(name)
		}
		f.put(name, s.tag)
		at = s.end
	}
	f.out.WriteString(d.text[at:])
	return doc{group: d.group, text: f.out.String(), spans: f.spans}
}
