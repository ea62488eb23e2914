// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/mask"
	masking "github.com/sallyport-dev/sallyport/pipeline/mask/action"
	"github.com/sallyport-dev/sallyport/pipeline/mask/custom"
)

func maskCommand() command {
	return command{
		name: "mask", args: "[FILE...]", short: "the masker as a filter: secrets and personal data out of text",
		long: "Reads the files, or standard input, and writes them masked to standard output, as soon as it is settled. With --json a line in is\n" +
			`{"id","text"} and a line out {"id","masked","spans":[{"start","end","type"}]}, offsets in bytes of UTF-8, half open.` + "\n" +
			"With --explain it writes, in place of the text, what was found: which rule, why, where; and what only looked like it. Values are not shown.\n" +
			"Without --config everything is tagged, as in replies. Needs no daemon.",
		flags: func(a *app, fs *flag.FlagSet) action {
			var m maskFlags
			fs.BoolVar(&m.lines, "json", false, "JSON lines in and out")
			fs.BoolVar(&m.explain, "explain", false, "say what is masked, and why; -o json for programs")
			fs.BoolVar(&m.list, "list", false, "list the rules: what each finds, and how many bytes it may hold back")
			fs.StringVar(&m.config, "config", "", "take rules, actions and allowed values from the mask section of `FILE`")
			fs.StringVar(&m.carrier, "carrier", masking.Text, "mask as this `KIND` of text: text, args, prompt, ...")
			formatFlag(a, fs)
			return func(_ context.Context, args []string) error { return a.mask(&m, args) }
		},
	}
}

type maskFlags struct {
	lines, explain, list bool
	config, carrier      string
}

func (a *app) mask(m *maskFlags, args []string) (err error) {
	switch {
	case m.lines && m.explain, m.list && (m.lines || m.explain):
		return wrong("--json, --explain and --list are three different things: give one")
	case m.list:
		if err := noArgs(args); err != nil {
			return err
		}
	case a.format == "json" && !m.explain:
		return wrong("-o json is for --explain and --list: to mask JSON lines, give --json")
	}
	e, o, err := m.engine()
	if err != nil {
		return err
	}
	if m.list {
		return a.listRules(e)
	}
	filter := func(r io.Reader, w io.Writer) error { return e.FilterTextAs(r, w, m.carrier, o) }
	switch {
	case m.lines:
		filter = func(r io.Reader, w io.Writer) error { return e.FilterAs(r, w, m.carrier, o) }
	case m.explain:
		x := &explainer{a: a, e: e, carrier: m.carrier, o: o}
		filter = x.read
		defer func() { err = errors.Join(err, x.end()) }()
	}
	if len(args) == 0 {
		return filter(a.in, a.out)
	}
	for _, name := range args {
		if err := a.maskFile(filter, name); err != nil {
			return err
		}
	}
	return nil
}

// engine is that of the configuration file, or the built-in one.
func (m *maskFlags) engine() (*mask.Engine, mask.StreamOptions, error) {
	opts, out := mask.Options{Names: true, Explain: m.explain}, mask.StreamOptions{}
	if m.config == "" {
		e, err := mask.New(opts)
		return e, out, err
	}
	c, err := config.Load(m.config, nil)
	if err != nil {
		return nil, out, err
	}
	s := custom.Settings{Prompts: c.Mask.Prompts, Allow: c.Mask.Allow}
	for _, r := range c.Mask.Actions {
		s.Actions = append(s.Actions, custom.RowSpec(r))
	}
	for _, r := range c.Mask.Rules {
		s.Rules = append(s.Rules, custom.Spec(r))
	}
	made, err := s.Make()
	if err == nil {
		opts.Table, err = masking.New(made.Action)
	}
	if err != nil {
		return nil, out, fmt.Errorf("%s: mask: %w", m.config, err)
	}
	opts.Rules, opts.Names = made.Rules, c.Mask.Names
	e, err := mask.New(opts)
	if err == nil {
		err = opts.Table.Unknown(e.Rules())
	}
	if err != nil {
		return nil, out, fmt.Errorf("%s: mask: %w", m.config, err)
	}
	if m.carrier == masking.Prompt || m.carrier == masking.Input {
		out.Plan = opts.Table.Sent(m.carrier, nil)
	}
	return e, out, nil
}

// maskFile masks one file; "-" is standard input.
func (a *app) maskFile(filter func(io.Reader, io.Writer) error, name string) (err error) {
	if name == "-" {
		return filter(a.in, a.out)
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("reading what to mask: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := filter(f, a.out); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// ruleLine is one rule of --list.
type ruleLine struct {
	Rule  string `json:"rule"`
	Type  string `json:"type"`
	Group string `json:"group"` // secrets, personal or names
	Bytes int    `json:"bytes"` // that a candidate may hold back, at most
	Why   string `json:"why,omitempty"`
}

func (a *app) listRules(e *mask.Engine) error {
	bounds := map[string]int{}
	for _, b := range e.Bounds() {
		bounds[b.Rule] = b.Bytes
	}
	lines := []ruleLine{}
	for _, r := range e.Rules() {
		lines = append(lines, ruleLine{Rule: r.Name, Type: r.Type, Group: masking.Group(r), Bytes: bounds[r.Name], Why: r.Why})
	}
	if a.format == "json" {
		return a.printJSON(lines)
	}
	rows := [][]string{{"RULE", "TYPE", "GROUP", "HOLDS", "FINDS"}}
	for _, l := range lines {
		rows = append(rows, []string{l.Rule, l.Type, l.Group, strconv.Itoa(l.Bytes), l.Why})
	}
	return a.table(rows)
}

// explainer writes what was found in texts.
type explainer struct {
	a       *app
	e       *mask.Engine
	carrier string
	o       mask.StreamOptions
	found   []finding
}

// finding is one finding, without its value.
type finding struct {
	Rule   string `json:"rule"`
	Type   string `json:"type"`
	Why    string `json:"why"`
	Start  int    `json:"start"` // bytes of the text, half open
	End    int    `json:"end"`
	Action string `json:"action"` // allow, if it is not masked
	// NotMasked says why something that has the form of a value is none, or stays.
	NotMasked string `json:"not_masked,omitempty"`
}

// read explains one text. A value that is denied ends it.
func (x *explainer) read(r io.Reader, _ io.Writer) error {
	w := x.e.Stream(x.carrier, x.o)
	defer w.Release()
	in, out := make([]byte, 64<<10), make([]byte, 0, 80<<10)
	var denied pipeline.MaskRefused
	for {
		n, rerr := r.Read(in)
		var err error
		if out, err = w.Write(out[:0], in[:n]); err == nil && rerr != nil {
			_, err = w.Flush(out)
		}
		stop := errors.As(err, &denied)
		if err != nil && !stop {
			return err
		}
		if rerr != nil && !errors.Is(rerr, io.EOF) {
			return fmt.Errorf("reading text: %w", rerr)
		}
		if stop || rerr != nil {
			break
		}
	}
	x.found = append(x.found, tell(w.Explained())...)
	return nil
}

// tell puts what was found in the words of the command. Of what was not masked only the outermost of each rule is told, and nothing inside a value.
func tell(all []mask.Explained) (out []finding) {
	var masked []mask.Explained
	for _, f := range all {
		if f.Refused == "" {
			masked = append(masked, f)
		}
	}
	outer := map[string]int{}
	for _, f := range all {
		end := f.At + f.Len
		if f.Refused != "" {
			i := sort.Search(len(masked), func(i int) bool { return masked[i].At > f.At }) - 1
			if i >= 0 && masked[i].At+masked[i].Len >= end || end <= outer[f.Rule] {
				continue
			}
			outer[f.Rule] = end
		}
		out = append(out, finding{Rule: f.Rule, Type: f.Type, Why: f.Why, Start: f.At, End: end, Action: f.Action.String(), NotMasked: f.Refused})
	}
	return out
}

// end writes what was found.
func (x *explainer) end() error {
	if x.a.format == "json" {
		if x.found == nil {
			x.found = []finding{}
		}
		return x.a.printJSON(x.found)
	}
	if len(x.found) == 0 {
		_, err := fmt.Fprintln(x.a.out, "nothing was found")
		return err
	}
	rows := [][]string{{"BYTES", "TYPE", "RULE", "ACTION", "WHY"}}
	for _, f := range x.found {
		why := f.Why
		if f.NotMasked != "" {
			f.Action = "-"
			why = "not masked, because of " + f.NotMasked + "; looked for: " + f.Why
		}
		rows = append(rows, []string{fmt.Sprintf("%d-%d", f.Start, f.End), f.Type, f.Rule, f.Action, why})
	}
	return x.a.table(rows)
}
