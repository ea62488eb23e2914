// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/daemon"
)

func quarantine(f *flag.FlagSet, file *string, args []string, out io.Writer) error {
	d := f.Duration("for", 0, "")
	reason := f.String("reason", "", "")
	list := f.Bool("list", false, "")
	lift := f.Bool("lift", false, "")
	format := f.String("o", "table", "")
	selector := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		selector, args = args[0], args[1:]
	}
	if err := parse(f, args); err != nil {
		return err
	}
	cut := !*list && !*lift
	if (selector == "") != *list || *list && *lift || *d < 0 || cut && *reason == "" || !cut && (*d != 0 || *reason != "") || *format != "table" && *format != "json" {
		return &daemon.UsageError{Err: errors.New("quarantine needs SELECTOR --reason TEXT [--for DURATION], SELECTOR --lift, or --list [-o json]")}
	}
	cfg, err := config.Load(*file, os.Getenv)
	if err != nil {
		return &daemon.UsageError{Err: err}
	}
	switch {
	case *lift:
		if err := daemon.LiftQuarantine(cfg, selector); err != nil {
			return err
		}
		_, err := fmt.Fprintf(out, "%s is lifted\n", selector)
		return err
	case *list:
		all, err := daemon.Quarantines(cfg)
		if err != nil {
			return err
		}
		if *format == "json" {
			e := json.NewEncoder(out)
			e.SetIndent("", "  ")
			return e.Encode(all)
		}
		for _, q := range all {
			fmt.Fprintf(out, "%s %s, %d refused: %s\n", q.Selector, ends(q.Until), q.Refused, q.Reason)
		}
		return nil
	}
	q, err := daemon.Quarantine(cfg, selector, *d, *reason)
	if q.Selector != "" {
		fmt.Fprintf(out, "%s is cut off %s; connections ended: %d\n", q.Selector, ends(q.Until), len(q.Cut))
	}
	return err
}

func ends(t time.Time) string {
	if t.IsZero() {
		return "until it is lifted"
	}
	return "until " + t.Local().Format("2006-01-02 15:04:05 MST")
}
