// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

func doctorCommand() command {
	return command{
		name: "doctor", short: "what works on this host, what is missing, and what it needs",
		long: "Asks the running daemon. Without one, run `sallyportd doctor` as root. Exit status 1 if a check fails.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			return func(ctx context.Context, args []string) error {
				if err := noArgs(args); err != nil {
					return err
				}
				c := a.client()
				defer c.Close()
				d, err := c.Doctor(ctx)
				if errors.Is(err, adminapi.ErrNotRunning) {
					return fmt.Errorf("%w; to examine the host without it, run sallyportd doctor as root", err)
				}
				if err != nil {
					return err
				}
				return a.showDoctor(&d)
			}
		},
	}
}

func (a *app) showDoctor(d *adminapi.Doctor) error {
	var failed error
	for _, c := range d.Checks {
		if c.State == adminapi.CheckFail {
			failed = errNo
		}
	}
	if a.format == "json" {
		return errors.Join(a.printJSON(d), failed)
	}
	colours := map[string]string{adminapi.CheckOK: green, adminapi.CheckWarn: yellow, adminapi.CheckFail: red}
	for _, c := range d.Checks {
		state := fmt.Sprintf("%-4s", clean(c.State))
		if colour := colours[c.State]; colour != "" {
			state = a.paint(colour, state)
		}
		fmt.Fprintf(a.out, "%s  %s", state, clean(oneLine(c.Name)))
		if c.Detail != "" {
			fmt.Fprintf(a.out, ": %s", clean(oneLine(c.Detail)))
		}
		fmt.Fprintln(a.out)
		if c.Mend != "" {
			fmt.Fprintf(a.out, "      → %s\n", clean(oneLine(c.Mend)))
		}
	}
	return failed
}
