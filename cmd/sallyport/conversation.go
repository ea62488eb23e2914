// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// showSession writes a session as one would read a conversation.
func (a *app) showSession(s *adminapi.Session) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s, %d denied, %d masked\n", a.paint(bold, clean(s.ID)), plural(s.Count, "exchange"), s.Denied, s.Masked)
	user := ""
	if s.Principal.User != "" {
		user = " (" + s.Principal.User + ")"
	}
	fmt.Fprintf(&b, "who    %s\n", clean(oneLine(or(s.Principal.SPIFFEID, "unknown identity")+user+fmt.Sprintf(", uid %d", s.Workload.UID))))
	w := s.Workload
	where := []string{fmt.Sprintf("%s, pid %d", or(w.Exe, or(w.Comm, "unknown program")), w.PID)}
	for _, f := range []struct{ name, value string }{{"unit", w.Unit}, {"container", w.Container}, {"pod", w.Pod}, {"cgroup", w.Cgroup}} {
		if f.value != "" {
			where = append(where, f.name+" "+f.value)
		}
	}
	fmt.Fprintf(&b, "what   %s\n", clean(oneLine(strings.Join(where, ", "))))
	var before []pipeline.Step
	for i := range s.Exchanges {
		b.WriteByte('\n')
		a.showExchange(&b, &s.Exchanges[i], before)
		before = s.Exchanges[i].Steps
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// showExchange writes one exchange. A conversation is sent again with every turn: of the request only what was not in
// before, the steps of the exchange before it, is shown.
func (a *app) showExchange(b *strings.Builder, x *adminapi.Exchange, before []pipeline.Step) {
	a.showAsked(b, x, before)
	if x.Response.Text != "" {
		field(b, "answer", x.Response.Text)
	}
	a.showEnd(b, x)
}

// showAsked writes what was asked.
func (a *app) showAsked(b *strings.Builder, x *adminapi.Exchange, before []pipeline.Step) {
	asked := strings.TrimSpace(x.Operation + " " + x.Model)
	if x.Stream {
		asked += ", streamed"
	}
	fmt.Fprintf(b, "── %s  %s  %s  %s\n", seconds(x.Time), a.paint(bold, clean(oneLine(or(asked, x.Request.Method+" "+x.Request.Target)))),
		clean(oneLine("at "+or(x.Endpoint, "unknown endpoint"))), clean(x.ExchangeID))
	if x.Parent != "" {
		field(b, "goes on from", x.Parent)
	}
	steps := x.Steps
	if n := commonPrefix(before, steps); n > 0 {
		steps = steps[n:]
		fmt.Fprintf(b, "   (%s as before)\n", plural(n, "step"))
	}
	var offered []string
	for _, s := range steps {
		switch s.Kind {
		case pipeline.StepToolOffer:
			offered = append(offered, s.Name)
		case pipeline.StepToolCall:
			field(b, "called", s.Name+" "+compact(s.Args))
		case pipeline.StepToolResult:
			field(b, "result", strings.TrimSpace(s.Name+" "+s.Text))
		default:
			field(b, s.Kind, s.Text)
		}
	}
	if len(offered) > 0 {
		field(b, "tools", strings.Join(offered, ", "))
	}
	if x.Uninspected != "" {
		field(b, "not inspected", x.Uninspected)
	}
}

// showEnd writes what else came back, and what was decided.
func (a *app) showEnd(b *strings.Builder, x *adminapi.Exchange) {
	for _, t := range x.Tools {
		field(b, "tool call", t.Name+" "+compact(t.Args))
		verdict := t.Action
		if t.Rule != "" {
			verdict += " by " + t.Rule
		}
		if t.Reason != "" {
			verdict += ": " + t.Reason
		}
		if t.Decided != "" {
			verdict += " (sallyport why " + t.Decided + ")"
		}
		if t.ResultIn != "" {
			verdict += ", its result is in " + t.ResultIn
		}
		fmt.Fprintf(b, "%16s%s\n", "", a.paint(actionColour(t.Action), clean(oneLine(verdict))))
	}
	a.showVerdict(b, x)
	if len(x.Masked) > 0 {
		field(b, "masked", tellMasks(x.Masked))
	}
	if x.Originals != nil {
		field(b, "original", tellOriginals(x))
	}
	field(b, "outcome", outcome(x))
}

func (a *app) showVerdict(b *strings.Builder, x *adminapi.Exchange) {
	v := x.Verdict
	s := v.Action
	if v.Action != pipeline.Allow.String() {
		s += " of " + v.Stage
		if v.Rule != "" {
			s += " by " + v.Rule
		}
		if v.Reason != "" {
			s += ": " + v.Reason
		}
		if v.Decision != "" {
			s += " (sallyport why " + v.Decision + ")"
		}
	}
	s += ", " + v.Mode
	if !v.Enforced && v.Action != pipeline.Allow.String() {
		s += ": not enforced"
	}
	fmt.Fprintf(b, "   %-13s%s\n", "verdict", a.paint(actionColour(v.Action), clean(oneLine(s))))
}

// field writes a label and a text, further lines of the text below its first.
func field(b *strings.Builder, label, text string) {
	lines := strings.Split(strings.TrimRight(clean(text), "\n"), "\n")
	for i, l := range lines {
		if i > 0 {
			label = ""
		}
		fmt.Fprintln(b, strings.TrimRight(fmt.Sprintf("   %-13s%s", clean(label), l), " \t"))
	}
}

func outcome(x *adminapi.Exchange) string {
	if x.Open {
		return "none recorded: it runs, or the daemon ended before it did"
	}
	parts := []string{fmt.Sprintf("status %d", x.Response.Status), fmt.Sprintf("%d ms", x.DurationMS)}
	if x.Stream && x.FirstMS > 0 {
		parts = append(parts, fmt.Sprintf("first byte after %d ms", x.FirstMS))
	}
	if u := x.Usage; u.InputTokens != nil && u.OutputTokens != nil {
		parts = append(parts, fmt.Sprintf("%d + %d tokens", *u.InputTokens, *u.OutputTokens))
	}
	if len(x.Response.Finish) > 0 {
		parts = append(parts, "finished by "+strings.Join(x.Response.Finish, ", "))
	}
	if x.Response.Cut != "" {
		parts = append(parts, strings.TrimSuffix("cut: "+x.Response.Cut+": "+x.Response.CutReason, ": "))
	}
	return strings.Join(parts, ", ")
}

// tellOriginals says what can be unsealed of an exchange, and what cannot.
func tellOriginals(x *adminapi.Exchange) string {
	var lines []string
	o := x.Originals
	switch {
	case o.Request:
		lines = append(lines, "of the request is sealed: sallyport unseal "+x.ExchangeID)
	case o.RequestMissing != "":
		lines = append(lines, "of the request is not kept: "+oneLine(o.RequestMissing))
	}
	switch {
	case o.Reply != nil:
		s := fmt.Sprintf("of the reply is sealed, %s", plural(int(o.Reply.Bytes), "byte"))
		if o.Reply.Cut != "" {
			s += ", cut: " + oneLine(o.Reply.Cut)
		}
		lines = append(lines, s+": sallyport unseal --reply "+x.ExchangeID)
	case o.ReplyMissing != "":
		lines = append(lines, "of the reply is not kept: "+oneLine(o.ReplyMissing))
	}
	return strings.Join(lines, "\n")
}

// shownMasks is how many masks are told one by one.
const shownMasks = 24

// tellMasks says of each mask what it is, where, why, and which have the same value.
func tellMasks(ms []pipeline.Mask) string {
	var b strings.Builder
	for i, m := range ms {
		if i == shownMasks {
			fmt.Fprintf(&b, "and %d more (-o json has all): %s", len(ms)-i, countMasks(ms[i:]))
			break
		}
		fmt.Fprintf(&b, "%s in %s, %d bytes at %d", m.Type, or(m.Carrier, "text"), m.Len, m.At)
		if m.Rule != "" {
			b.WriteString(", by " + m.Rule)
		}
		if m.Why != "" {
			b.WriteString(": " + m.Why)
		}
		if m.Action != "" {
			b.WriteString(", " + m.Action)
		}
		if m.Fingerprint != "" {
			b.WriteString(", #" + m.Fingerprint)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func countMasks(ms []pipeline.Mask) string {
	n := map[string]int{}
	var types []string
	for _, m := range ms {
		if n[m.Type]++; n[m.Type] == 1 {
			types = append(types, m.Type)
		}
	}
	slices.Sort(types)
	for i, t := range types {
		types[i] = fmt.Sprintf("%s ×%d", t, n[t])
	}
	return strings.Join(types, ", ")
}

func commonPrefix(a, b []pipeline.Step) int {
	n := 0
	for n < len(a) && n < len(b) && a[n].Kind == b[n].Kind && a[n].Name == b[n].Name && a[n].ID == b[n].ID &&
		a[n].Text == b[n].Text && bytes.Equal(a[n].Args, b[n].Args) {
		n++
	}
	return n
}

func compact(raw []byte) string { return oneLine(string(raw)) }
