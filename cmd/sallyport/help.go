// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

func helpCommand() command {
	return command{
		name: "help", args: "[VERB]", short: "show this list, or how one verb is used",
		flags: func(a *app, _ *flag.FlagSet) action {
			return func(_ context.Context, args []string) error {
				if len(args) == 0 {
					return a.overview(a.out)
				}
				c, rest := find(args)
				if c == nil {
					return unknown(args)
				}
				if len(rest) > 0 {
					return wrong("takes one verb, got also %q", rest[0])
				}
				return a.explain(c)
			}
		},
	}
}

// overview lists the verbs.
func (a *app) overview(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "usage: sallyport [--socket PATH] VERB [flags] [arguments]")
	fmt.Fprintln(w)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %s\t%s\n", c.name, c.short)
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "sallyport help VERB tells more. Exit status: 0 done, 1 it did not work or the answer is no, 2 wrong usage.")
	return w.Flush()
}

// explain shows how one verb is used.
func (a *app) explain(c *command) error {
	fs, _ := a.prepare(c)
	flags := ""
	fs.VisitAll(func(*flag.Flag) { flags = " [flags]" })
	fmt.Fprintf(a.out, "usage: sallyport %s%s", c.name, flags)
	if c.args != "" {
		fmt.Fprintf(a.out, " %s", c.args)
	}
	fmt.Fprintf(a.out, "\n\n%s.\n", strings.ToUpper(c.short[:1])+c.short[1:])
	if c.long != "" {
		fmt.Fprintf(a.out, "\n%s\n", strings.TrimSpace(c.long))
	}
	if flags == "" {
		return nil
	}
	fmt.Fprintln(a.out)
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fs.VisitAll(func(f *flag.Flag) {
		name, usage := flag.UnquoteUsage(f)
		dash := "--"
		if len(f.Name) == 1 {
			dash = "-"
		}
		if name != "" {
			name = " " + strings.ToUpper(name)
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %s%s%s\t%s\n", dash, f.Name, name, usage)
	})
	return w.Flush()
}
