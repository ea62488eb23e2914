// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

func statusCommand() command {
	return command{
		name: "status", short: "is the daemon ready, what is attached, what it saw",
		long: "Exit status 1 if there is no daemon or it is not ready; with -o json its state is printed in either case.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				c := a.client()
				defer c.Close()
				st, err := c.Status(ctx)
				if err != nil {
					return err
				}
				if err := a.showStatus(&st); err != nil {
					return err
				}
				if !st.Ready {
					return errNo
				}
				return nil
			}
		},
	}
}

func (a *app) showStatus(st *adminapi.Status) error {
	if a.format == "json" {
		return a.printJSON(st)
	}
	for _, w := range st.Warnings {
		fmt.Fprintln(a.out, a.paint(yellow, "warning: "+clean(oneLine(w))))
	}
	ready := a.paint(red, "not ready")
	if st.Ready {
		ready = a.paint(green, "ready")
	}
	fmt.Fprintf(a.out, "%s, sallyportd %s\n\n", ready, clean(st.Version))
	rows := [][]string{{"kernel", "attached: " + list(st.Kernel.Attached)}}
	if len(st.Kernel.Errors) > 0 {
		var errs []string
		for name, n := range st.Kernel.Errors {
			errs = append(errs, fmt.Sprintf("%s %d", name, n))
		}
		slices.Sort(errs)
		rows = append(rows, []string{"", "refused or overflowed: " + list(errs)})
	}
	rows = append(rows,
		[]string{"flows", fmt.Sprintf("seen %d, proxied %d, passed %d, denied %d, missed %d", st.Flows.Seen, st.Flows.Proxied, st.Flows.Passed, st.Flows.Denied, st.Flows.Missed)},
		[]string{"coverage", fmt.Sprintf("explained %d, unexplained %d, bypassed %d", st.Coverage.Explained, st.Coverage.Unexplained, st.Coverage.Bypassed)},
		[]string{"dns", fmt.Sprintf("%d addresses of endpoints known, %d answers seen, %d differ at a second look", st.DNS.Addresses, st.DNS.Answers, st.DNS.Mismatches)},
	)
	if st.Spaces != (adminapi.Spaces{}) {
		rows = append(rows, []string{"namespaces", fmt.Sprintf("served %d, refused %d, failed %d", st.Spaces.Served, st.Spaces.Refused, st.Spaces.Failed)})
	}
	if p := st.Policy; p.Version != "" {
		rows = append(rows, []string{"policy", fmt.Sprintf("%s since %s (%s)", p.Version, clock(p.Loaded), p.Cause)})
	}
	rows = append(rows,
		[]string{"journal", fmt.Sprintf("%s, head %s", size(st.Journal.Bytes), or(short(st.Journal.Head), "none"))},
		[]string{"elastic", fmt.Sprintf("%s, %d records behind", or(st.Elastic.State, "unknown"), st.Elastic.Lag)})
	if st.Archive.State != "" {
		rows = append(rows, []string{"archive", showArchive(&st.Archive)})
	}
	if p := st.Approvals; p.Waiting+p.Requested+p.Active > 0 {
		rows = append(rows, []string{"approvals", fmt.Sprintf("%d wait for people, %d elevations asked for, %d in force", p.Waiting, p.Requested, p.Active)})
	}
	if w := st.Approvals.Webhook; w.State != "" && w.State != "off" {
		rows = append(rows, []string{"webhook", fmt.Sprintf("%s, sent %d, queued %d, failed %d, dropped %d", w.State, w.Sent, w.Queued, w.Failed, w.Dropped)})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	if len(st.Scopes) == 0 {
		fmt.Fprintln(a.out, "no scope is configured: nothing is protected (see protect in the configuration)")
		return nil
	}
	rows = [][]string{{"SCOPE", "MODE", "IF THE DAEMON IS DEAD", "IF TRUST IS NOT PROVEN", "QUIC REFUSED"}}
	for _, s := range st.Scopes {
		mode := s.Mode
		if s.Canary != "" {
			mode += " on " + s.Canary
		}
		rows = append(rows, []string{s.Name, mode, "fail " + s.Fail, s.Untrusted, fmt.Sprint(s.QUICRefused)})
	}
	if err := a.table(rows); err != nil {
		return err
	}
	if err := a.showCoverage(st.Coverage.Workloads); err != nil {
		return err
	}
	return a.showTrusting(st.Untrusted)
}

// showCoverage lists what became of the connections of each workload; what cannot be explained stands out.
func (a *app) showCoverage(workloads []adminapi.Covered) error {
	rows := [][]string{{"WORKLOAD", "SCOPE", "EXPLAINED", "UNEXPLAINED", "BYPASSED", "NO AGENT"}}
	var gaps string
	for _, w := range workloads {
		name := or(w.Unit, or(w.Cgroup, "gone or others"))
		rows = append(rows, []string{name, w.Scope, fmt.Sprint(w.Explained), fmt.Sprint(w.Unexplained), fmt.Sprint(w.Bypassed), fmt.Sprint(w.Opened)})
		if w.Unexplained > 0 {
			gaps += a.paint(red, clean(oneLine(fmt.Sprintf("unexplained: %d of %s in scope %s; %s", w.Unexplained, name, w.Scope, or(w.Last, "they set out for the proxy and never came"))))) + "\n"
		}
	}
	if len(workloads) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	err := a.table(rows)
	fmt.Fprint(a.out, gaps)
	return err
}

func list(s []string) string { return or(strings.Join(s, ", "), "nothing") }

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

func short(hash string) string {
	if len(hash) > 16 {
		return hash[:16] + "…"
	}
	return hash
}

func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for ; f >= unit && i < 4; i++ {
		f /= unit
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[i])
}

func showArchive(a *adminapi.Archive) string {
	if a.State == "off" {
		return a.State
	}
	s := fmt.Sprintf("%s, %s, %s", a.State, plural(int(a.Exchanges), "exchange"), size(a.Bytes))
	if !a.Oldest.IsZero() {
		s += ", since " + a.Oldest.Local().Format("2006-01-02 15:04")
	}
	return s
}
