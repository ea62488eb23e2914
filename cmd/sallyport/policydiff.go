// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/sallyport-dev/sallyport/pipeline/policy"
	"github.com/sallyport-dev/sallyport/pipeline/policy/review"
)

func policyDiffCommand() command {
	return command{
		name: "policy diff", args: "OLD NEW", short: "which roles, bindings and guardrails differ between two folders",
		long: `Compares the documents of two policy folders by what they say; files, order and layout count for nothing. What callers would
gain or lose: sallyport policy test NEW --against OLD. Exit status 0 whether or not there are differences.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			formatFlag(a, fs)
			return func(_ context.Context, args []string) error {
				if len(args) != 2 {
					return wrong("takes two folders, the old one first")
				}
				var docs [2][]review.Document
				var versions [2]string
				var errs []error
				for i, dir := range args {
					set, err := policy.Load(dir)
					if err != nil {
						errs = append(errs, err)
						continue
					}
					versions[i] = set.Version()
					if docs[i], err = review.Read(os.DirFS(dir)); err != nil {
						errs = append(errs, err)
					}
				}
				if err := errors.Join(errs...); err != nil {
					return err
				}
				diff := review.Diff(docs[0], docs[1])
				if a.format == "json" {
					return a.printJSON(map[string]any{"old": versions[0], "new": versions[1], "differences": diff})
				}
				if len(diff) == 0 {
					_, err := fmt.Fprintln(a.out, "the two folders say the same")
					return err
				}
				for _, d := range diff {
					colour := map[string]string{review.Added: green, review.Removed: red, review.Changed: yellow}[d.What]
					fmt.Fprintf(a.out, "%s %s %s (%s)\n", a.paint(colour, d.What), d.Kind, clean(d.Name), clean(d.File))
					for _, g := range d.Gone {
						fmt.Fprintln(a.out, a.paint(red, clean(oneLine("- "+g.Where+": "+g.Value))))
					}
					for _, g := range d.Fresh {
						fmt.Fprintln(a.out, a.paint(green, clean(oneLine("+ "+g.Where+": "+g.Value))))
					}
				}
				return nil
			}
		},
	}
}
