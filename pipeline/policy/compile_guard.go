// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy/prefilter"
)

// kinds are the steps that a guardrail may name, and whether it may. Those that cannot be decided yet are refused: a
// rule that is accepted but not applied is worse than none.
var kinds = map[string]bool{pipeline.StepPrompt: true, pipeline.StepToolOffer: true, pipeline.StepToolCall: true,
	pipeline.StepToolResult: true, pipeline.StepResponse: true, "exec": false, "egress": false}

const kindNames = "prompt, toolOffer, toolCall, toolResult or response"

// actions of guardrails.
var actions = map[string]pipeline.Action{"deny": pipeline.Deny, "hold": pipeline.Hold, "mask": pipeline.Transform, "alert": pipeline.Alert}

func (l *loader) guard(s *Set, d *doc[guardSpec]) {
	in, name := &d.Spec, d.Metadata.Name.s
	g := guard{name: name, message: in.Message.s, observe: l.observe(d.file, in.Enforcement), when: l.cond(d.file, in.Match.CEL), digest: digestOf(name, in)}
	if g.message == "" {
		g.message = "refused by guardrail " + name
		if in.Action.s == "hold" {
			g.message = "held by guardrail " + name
		}
	}
	action, known := actions[in.Action.s]
	if g.action = action; !known {
		l.add(d.file, cmp.Or(in.Action.line, d.line), "Guardrail %s: action %q is not known: use deny, hold, mask or alert", name, in.Action.s)
	}
	on := l.on(d)
	if t := in.Match.Tools; t != nil {
		if len(*t) == 0 {
			l.add(d.file, d.line, "Guardrail %s has an empty list of tools: remove it to match any tool", name)
		}
		g.tools = l.globs(d.file, *t)
	}
	l.regex(d, &g)
	switch {
	case action == pipeline.Transform:
		l.masking(d, &g)
		if slices.Contains(on, pipeline.StepResponse) {
			if r := l.responseRule(d, &g); r != nil && !g.observe {
				s.replies = append(s.replies, r)
			}
		}
	case in.With != nil:
		l.add(d.file, in.With.line, "Guardrail %s: with is for action mask: remove it", name)
	}
	if action == pipeline.Hold {
		g.approval = l.approval(d, name)
	} else if in.Approval != nil {
		l.add(d.file, d.line, "Guardrail %s: approval is for action hold: remove it", name)
	}
	for _, o := range on {
		k := s.about[o]
		if k == nil {
			k = &kind{}
			s.about[o] = k
		}
		if g.re == nil || g.tools != nil {
			k.special = append(k.special, int32(len(s.guards)))
			continue
		}
		for len(k.plain) <= len(s.guards) {
			k.plain = append(k.plain, false)
		}
		k.plain[len(s.guards)], k.left = true, k.left+1
	}
	s.guards = append(s.guards, g)
}

// on checks the steps that a guardrail looks at.
func (l *loader) on(d *doc[guardSpec]) (out []string) {
	in, name := &d.Spec, d.Metadata.Name.s
	if len(in.On) == 0 {
		l.add(d.file, d.line, "Guardrail %s has no on and looks at nothing: name %s", name, kindNames)
	}
	for _, o := range in.On {
		ready, known := kinds[o.s]
		switch {
		case !known:
			l.add(d.file, o.line, "Guardrail %s is on %q, which is no step: use %s", name, o.s, kindNames)
		case !ready:
			l.add(d.file, o.line, "Guardrail %s: on %s is not supported yet, as nothing on this host is tied to a tool call so far: use %s", name, o.s, kindNames)
		case slices.Contains(out, o.s):
			l.add(d.file, o.line, "Guardrail %s names %s twice: keep one", name, o.s)
		case (o.s == pipeline.StepPrompt || o.s == pipeline.StepResponse) && in.Match.Tools != nil:
			l.add(d.file, o.line, "Guardrail %s: a %s has no tool: remove tools, or write a second guardrail for it", name, o.s)
		case in.Action.s == "mask" && o.s == pipeline.StepToolOffer:
			l.add(d.file, o.line, "Guardrail %s: an offered tool cannot be masked: use deny, which takes it out of the offer", name)
		}
		out = append(out, o.s)
	}
	return out
}

func (l *loader) regex(d *doc[guardSpec], g *guard) {
	t := d.Spec.Match.Regex
	if t == nil {
		return
	}
	var err error
	if t.s == "" {
		l.add(d.file, t.line, "Guardrail %s has an empty regex: remove it to match any text", g.name)
	} else if g.re, err = regexp.Compile(t.s); err != nil {
		l.add(d.file, t.line, "Guardrail %s has a bad regex (%s): mend it, RE2 syntax", g.name, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	} else {
		expr := t.s
		if _, err := regexp.Compile("(?:" + expr + ")"); err != nil { // a quotation that runs to the end
			expr += `\E`
		}
		g.start, err = regexp.Compile(`\A(?:` + expr + `)`)
		if err == nil {
			g.behind, err = regexp.Compile(`\A(?s:.)(?:` + expr + `)`)
		}
		if err != nil { // it is as large as may be
			l.add(d.file, t.line, "Guardrail %s has a regex that is too large: make two of it", g.name)
		}
	}
}

// masking checks what a guardrail of action mask puts in place of a match.
func (l *loader) masking(d *doc[guardSpec], g *guard) {
	in := &d.Spec
	if in.Match.Regex == nil {
		l.add(d.file, cmp.Or(in.Action.line, d.line), "Guardrail %s masks but has no regex: say what is to be covered", g.name)
	}
	g.with = "[" + strings.ToUpper(g.name) + "]"
	if in.With == nil {
		return
	}
	if g.with = in.With.s; g.with == "" {
		l.add(d.file, in.With.line, "Guardrail %s: with is empty, and what stands around a match would become a match: give a word", g.name)
	}
	for _, c := range []byte(in.With.s) {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			l.add(d.file, in.With.line, "Guardrail %s: with may hold printable ASCII, but neither \" nor \\: it must fit wherever a match stands", g.name)
			break
		}
	}
	if len(in.With.s) > 64 {
		l.add(d.file, in.With.line, "Guardrail %s: with is longer than 64 characters: shorten it", g.name)
	}
	if g.re != nil && g.re.MatchString(in.With.s) {
		l.add(d.file, in.With.line, "Guardrail %s: its regex matches what it puts in place: choose another with", g.name)
	}
}

// indexGuards makes the index of all expressions.
func (s *Set) indexGuards() {
	exprs := make([]*syntax.Regexp, len(s.guards))
	for i := range s.guards {
		if re := s.guards[i].re; re != nil {
			exprs[i], _ = syntax.Parse(re.String(), syntax.Perl) // as Compile does; without it, no shortcut
		}
	}
	s.index = prefilter.New(exprs)
	for _, k := range s.about {
		k.plain = append(k.plain, make([]bool, len(s.guards)-len(k.plain))...)
	}
}

// digestOf names a guardrail by what it says, whatever its layout and comments.
func digestOf(name string, in *guardSpec) string {
	b, err := json.Marshal(struct {
		Name string
		Spec *guardSpec
	}{name, in})
	if err != nil { // text and numbers always have a form
		return ""
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
