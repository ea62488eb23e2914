// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/policy"
	"github.com/sallyport-dev/sallyport/pipeline/policy/replay"
	"github.com/sallyport-dev/sallyport/pipeline/policy/review"
)

func policyTestCommand() command {
	return command{
		name: "policy test", args: "DIR", short: "what the documents of a folder would have decided on recorded exchanges",
		long: `Replays recorded exchanges against the policy in DIR and reports each call and step on which the verdict differs from the one
that was recorded or, with --against, from that of another folder: allowed and now denied, denied and now allowed, held,
masked, taken out of the offer, only alerted. Applies nothing. Exit status 0, with --fail-on-change 1 if there are differences.

` + recordedHelp + `

Records hold masked text: where a guardrail looks for what was masked, the replay meets the mask. Such steps are counted, and
each difference on one says so. Left out and counted too: what was not inspected, what an elevation allowed, refusals for
want of budget.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			formatFlag(a, fs)
			var from recorded
			from.flags(a, fs)
			other := fs.String("against", "", "compare with the documents of this `folder`, not with the record")
			fail := fs.Bool("fail-on-change", false, "exit with status 1 if anything differs")
			examples := fs.Int("examples", 20, "how many differences to show one by one; 0 = all")
			return func(ctx context.Context, args []string) error {
				if len(args) != 1 {
					return wrong("takes one folder, that of the candidate")
				}
				if *examples < 0 {
					return wrong("--examples %d: want 0 or more", *examples)
				}
				candidate, err := policy.Load(args[0])
				if err != nil {
					return err
				}
				docs, err := review.Read(os.DirFS(args[0]))
				if err != nil {
					return err
				}
				o := replay.Options{Limit: *examples, Has: func(rule string) bool {
					return slices.ContainsFunc(docs, func(d review.Document) bool { return strings.ToLower(d.Kind)+"/"+d.Name == rule })
				}}
				if *other != "" {
					set, err := policy.Load(*other)
					if err != nil {
						return err
					}
					o.Against = set
				}
				c := replay.New(candidate, o)
				if err := from.each(ctx, a, c.Add); err != nil {
					return err
				}
				r := c.Report()
				err = a.showReplay(&r, &from)
				if *fail && r.Changed > 0 {
					err = errors.Join(err, errNo)
				}
				return err
			}
		},
	}
}

func (a *app) showReplay(r *replay.Report, from *recorded) error {
	if a.format == "json" {
		return a.printJSON(r)
	}
	if r.Exchanges == 0 {
		_, err := fmt.Fprintf(a.out, "no exchange in %s: nothing was compared\n", clean(oneLine(from.name())))
		return err
	}
	total := 0
	for _, k := range r.Kinds {
		total += k.Count
	}
	head := a.paint(green, "nothing differs")
	if total > 0 {
		head = a.paint(yellow, fmt.Sprintf("%s in %s", plural(total, "difference"), plural(r.Changed, "exchange")))
	}
	against := "what was recorded"
	if r.Against != "record" {
		against = r.Against
	}
	fmt.Fprintf(a.out, "%s, of %s with %s\n\n", head, plural(r.Exchanges, "exchange"), plural(r.Steps, "verdict"))
	rows := [][]string{{"candidate", r.Policy}, {"compared with", against}, {"read from", from.name()}}
	for _, n := range []struct {
		count int
		what  string
	}{
		{r.MaskedSteps, fmt.Sprintf("decided on masked text, %d of the differences among them: the original may give another verdict", r.MaskedChanges)},
		{r.OtherRule, "the same effect by another rule: no difference"},
		{r.Uninspected, "left out: exchanges that were not inspected"},
		{r.Elevated, "left out: allowed by an elevation"},
		{r.Budget, "left out: refused for want of budget"},
		{r.Covered, "left out: masked by a guardrail before it was recorded"},
		{r.Unfinished, "without an outcome: the reply is not compared"},
		{r.Beyond, "behind a recorded refusal: nothing to compare with"},
	} {
		if n.count > 0 {
			rows = append(rows, []string{strconv.Itoa(n.count), n.what})
		}
	}
	if err := a.table(rows); err != nil || total == 0 {
		return err
	}
	fmt.Fprintln(a.out)
	rows = [][]string{{"WAS", "WOULD BE", "COUNT"}}
	for _, k := range r.Kinds {
		rows = append(rows, []string{k.From, k.To, strconv.Itoa(k.Count)})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	rows = [][]string{{"RULE", "COUNT"}}
	for _, k := range r.Rules {
		rows = append(rows, []string{or(k.Rule, "none"), strconv.Itoa(k.Count)})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if len(r.Observed) > 0 {
		fmt.Fprintln(a.out)
		rows = [][]string{{"ONLY OBSERVED", "COUNT"}}
		for _, k := range r.Observed {
			rows = append(rows, []string{k.Rule, strconv.Itoa(k.Count)})
		}
		if err := a.table(rows); err != nil {
			return err
		}
	}
	fmt.Fprintln(a.out)
	rows = [][]string{{"EXCHANGE", "WHO", "WHAT", "WAS", "WOULD BE", "BECAUSE"}}
	for _, c := range r.Changes {
		what := c.Stage
		if c.Tool != "" {
			what += " " + c.Tool
		} else if c.Stage == "call" {
			what += " " + c.Model
		}
		because := or(c.Would.Reason, or(c.Was.Reason, or(c.Would.Rule, c.Was.Rule)))
		if c.Masked {
			because += " (on masked text)"
		}
		rows = append(rows, []string{c.Exchange, c.Who, what, c.Was.Effect, c.Would.Effect, because})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if rest := total - len(r.Changes); rest > 0 {
		fmt.Fprintf(a.out, "and %d more: see --examples\n", rest)
	}
	return nil
}
