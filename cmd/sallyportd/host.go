// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/daemon"
)

func doctor(f *flag.FlagSet, args []string, out io.Writer) error {
	pinDir := f.String("pin-dir", "", "")
	format := f.String("o", "table", "")
	if err := parse(f, args); err != nil {
		return err
	}
	report := daemon.Doctor(*pinDir)
	switch *format {
	case "json":
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(report); err != nil {
			return err
		}
	case "table":
		for _, c := range report.Checks {
			fmt.Fprintf(out, "%-5s %-28s %s\n", c.State, c.Name, c.Detail)
			if c.Mend != "" {
				fmt.Fprintf(out, "      %-28s → %s\n", "", c.Mend)
			}
		}
	default:
		return &daemon.UsageError{Err: fmt.Errorf("-o %s: want table or json", *format)}
	}
	for _, c := range report.Checks {
		if c.State == "fail" {
			return errors.New("something that is needed is missing")
		}
	}
	return nil
}

func bypass(f *flag.FlagSet, file *string, args []string, out io.Writer) error {
	scope := f.String("scope", "", "")
	d := f.Duration("for", 0, "")
	reason := f.String("reason", "", "")
	if err := parse(f, args); err != nil {
		return err
	}
	if *scope == "" || *reason == "" || *d < 0 || *d > 24*time.Hour {
		return &daemon.UsageError{Err: errors.New("bypass needs --scope NAME, --for DURATION (at most 24h; 0 ends it) and --reason TEXT")}
	}
	cfg, err := config.Load(*file, os.Getenv)
	if err != nil {
		return &daemon.UsageError{Err: err}
	}
	if err := daemon.Bypass(cfg, *scope, *d, *reason); err != nil {
		return err
	}
	if *d == 0 {
		fmt.Fprintf(out, "scope %s is no longer bypassed\n", *scope)
	} else {
		fmt.Fprintf(out, "scope %s goes direct until %s; it ends by itself\n", *scope, time.Now().Add(*d).Format("2006-01-02 15:04:05 MST"))
	}
	return nil
}

func units(f *flag.FlagSet, file *string, args []string, out io.Writer) error {
	dry := f.Bool("dry-run", false, "")
	if err := parse(f, args); err != nil {
		return err
	}
	if !*dry {
		return &daemon.UsageError{Err: errors.New("units only prints: say --dry-run; the daemon writes them, with trust.host: unit")}
	}
	cfg, err := config.Load(*file, os.Getenv)
	if err != nil {
		return &daemon.UsageError{Err: err}
	}
	return daemon.Units(cfg, out)
}

func uninstall(f *flag.FlagSet, args []string, out io.Writer) error {
	pinDir := f.String("pin-dir", "", "")
	ledger := f.String("ledger", "", "")
	dry := f.Bool("dry-run", false, "")
	if err := parse(f, args); err != nil {
		return err
	}
	done, err := daemon.Uninstall(context.Background(), *pinDir, *ledger, *dry)
	for _, line := range done {
		fmt.Fprintln(out, line)
	}
	return err
}
