// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy"
	"github.com/sallyport-dev/sallyport/pipeline/policy/examples"
	"github.com/sallyport-dev/sallyport/pipeline/policy/replay"
	"github.com/sallyport-dev/sallyport/pipeline/policy/review"
)

// defaultPolicy is policy.dir unless the configuration says otherwise.
const defaultPolicy = "/etc/sallyport/policy.d"

func policyCheckCommand() command {
	return command{
		name: "policy check", args: "[DIR]", short: "do the documents of a folder compile, and do they make sense",
		long: `Reads the *.yaml and *.yml files of DIR (` + defaultPolicy + `) as the daemon would: all or nothing. Every mistake is one
line on standard error, FILE:LINE: what is wrong: what to do. What compiles and is yet hardly meant is told too: roles that
nobody has, rules and patterns that others cover, guardrails that cannot match. With --examples, the files in DIR/tests say
what each guardrail must match and must leave alone, and what each role must allow and refuse. Needs no daemon and changes
nothing. Exit status 1 after a mistake or a failed example, with --strict also after a warning; notes never count.`,
		flags: func(a *app, set *flag.FlagSet) action {
			formatFlag(a, set)
			strict := set.Bool("strict", false, "warnings count as mistakes")
			try := set.Bool("examples", false, "try the examples in DIR/tests")
			return func(_ context.Context, args []string) error {
				dir := defaultPolicy
				switch len(args) {
				case 0:
				case 1:
					dir = args[0]
				default:
					return wrong("takes one folder, got also %q", args[1])
				}
				c, err := checkPolicy(dir, *try)
				if err != nil {
					return err
				}
				c.OK = len(c.Errors) == 0 && (c.Examples == nil || len(c.Examples.Failures) == 0) && !(*strict && c.warnings() > 0)
				err = a.showChecked(dir, c)
				if !c.OK {
					err = errors.Join(err, errNo)
				}
				return err
			}
		},
	}
}

// checked is what policy check found.
type checked struct {
	OK       bool             `json:"ok"`
	Policy   string           `json:"policy,omitempty"` // version, if it compiles
	Files    int              `json:"files"`
	Errors   []string         `json:"errors,omitempty"`
	Findings []review.Finding `json:"findings,omitempty"`
	Examples *examples.Result `json:"examples,omitempty"`
}

func (c *checked) warnings() (n int) {
	for _, f := range c.Findings {
		if f.Level == review.Warning {
			n++
		}
	}
	return n
}

func checkPolicy(dir string, try bool) (*checked, error) {
	c := &checked{}
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", dir, err)
		}
		c.Files += len(names)
	}
	set, err := policy.Load(dir)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			c.Errors = append(c.Errors, oneLine(line))
		}
		return c, nil
	}
	c.Policy = set.Version()
	docs, err := review.Read(os.DirFS(dir))
	if err != nil {
		return nil, err
	}
	c.Findings = review.Lint(docs)
	if try {
		r, err := examples.Run(os.DirFS(dir), func(f fs.FS) (replay.Decider, error) { return policy.LoadFS(f) })
		if err != nil {
			return nil, err
		}
		c.Examples = &r
	}
	return c, nil
}

func (a *app) showChecked(dir string, c *checked) error {
	if a.format == "json" {
		return a.printJSON(c)
	}
	for _, e := range c.Errors {
		a.complain(errors.New(e))
	}
	if len(c.Errors) > 0 {
		return nil
	}
	if c.Files == 0 {
		_, err := fmt.Fprintf(a.out, "no document in %s: an enforcing scope would be refused everything\n", clean(dir))
		return err
	}
	for _, f := range c.Findings {
		level := f.Level
		if level == review.Warning {
			level = a.paint(yellow, level)
		}
		fmt.Fprintf(a.out, "%s:%d: %s: %s\n", clean(filepath.Join(dir, f.File)), f.Line, level, clean(oneLine(f.Message)))
	}
	if x := c.Examples; x != nil {
		for _, f := range x.Failures {
			a.complain(errors.New(filepath.Join(dir, f)))
		}
		fmt.Fprintf(a.out, "%s, %d not as they should be\n", plural(x.Examples, "example"), len(x.Failures))
		if len(x.Without) > 0 {
			fmt.Fprintf(a.out, "without examples: %s\n", clean(oneLine(strings.Join(x.Without, ", "))))
		}
	}
	word := a.paint(green, "fine")
	if n := c.warnings(); n > 0 {
		word = a.paint(yellow, "it compiles, with "+plural(n, "warning"))
	} else if !c.OK {
		word = a.paint(red, "it compiles, but does not do what its examples say")
	}
	_, err := fmt.Fprintf(a.out, "%s, %s, policy %s\n", word, plural(c.Files, "file"), c.Policy)
	return err
}

// localPolicy explains by the documents of a folder.
func localPolicy(dir string) (asker, error) {
	set, err := policy.Load(dir)
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, r adminapi.ExplainRequest) (adminapi.Explanation, error) {
		m := pipeline.Meta{Mode: r.Mode, Workload: r.Workload, Principal: r.Principal, Endpoint: r.Endpoint}
		return adminapi.Explanation(set.Explain(&m, &r.Call, r.Step)), nil
	}, nil
}
