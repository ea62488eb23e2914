// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/policy/learn"
)

func policyLearnCommand() command {
	return command{
		name: "policy learn", short: "write the least roles that allow what was recorded",
		long: `Writes a Role and a RoleBinding for each caller, with endpoints, operations, models and tools exactly as they were used, no
wildcards. Applies nothing: read what it wrote, take out what should not have happened, and put the file into a policy folder.
sallyport policy test on the same record then finds no call or tool that the roles refuse.

` + recordedHelp,
		flags: func(a *app, fs *flag.FlagSet) action {
			var from recorded
			from.flags(a, fs)
			format := fs.String("o", "yaml", "output `format`: yaml or json")
			file := fs.String("out", "", "write to this `file`, which must not exist, not to standard output")
			var who many
			fs.Var(&who, "principal", "learn only from this `caller`: SPIFFE ID, unit or user with * as a wildcard, or uid:NUMBER; may be repeated")
			denied := fs.Bool("denied", false, "learn also from what was refused, and from what only an elevation allowed")
			called := fs.Bool("called", false, "grant only tools that were called, not those that were offered")
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				if *format != "yaml" && *format != "json" {
					return wrong("-o %q: want yaml or json", *format)
				}
				o := learn.Options{Denied: *denied, Called: *called}
				if len(who) > 0 {
					o.Principal = func(in *pipeline.Intent) bool { return named(who, in) }
				}
				l := learn.New(o)
				if err := from.each(ctx, a, l.Add); err != nil {
					return err
				}
				if l.Exchanges() == 0 {
					return fmt.Errorf("there is nothing to learn from in %s: look further back, or at what was refused (--denied)", from.name())
				}
				write := l.YAML
				if *format == "json" {
					write = l.JSON
				}
				text, err := write(from.name())
				if err != nil {
					return err
				}
				if !strings.HasSuffix(string(text), "\n") {
					text = append(text, '\n')
				}
				return a.writeNew(*file, text)
			}
		},
	}
}

// writeNew writes a file that must not exist; "" is standard output.
func (a *app) writeNew(file string, text []byte) (err error) {
	var to io.Writer = a.out
	if file != "" {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
		if err != nil {
			return fmt.Errorf("writing what was learned: %w", err)
		}
		defer func() {
			if cerr := f.Close(); err == nil {
				err = cerr
			}
		}()
		to = f
	}
	_, err = to.Write(text)
	return err
}

// named says whether one of the patterns names a caller.
func named(patterns []string, in *pipeline.Intent) bool {
	for _, p := range patterns {
		if uid, ok := strings.CutPrefix(p, "uid:"); ok {
			if uid == fmt.Sprint(in.Workload.UID) {
				return true
			}
			continue
		}
		for _, name := range []string{in.Principal.SPIFFEID, in.Workload.Unit, in.Principal.User} {
			// path.Match stops at slashes, and * here does not.
			flat := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") }
			if ok, err := path.Match(flat(p), flat(name)); name != "" && err == nil && ok {
				return true
			}
		}
	}
	return false
}
