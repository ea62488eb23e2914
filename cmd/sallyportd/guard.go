// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sallyport-dev/sallyport/agent/daemon"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
)

func guard(f *flag.FlagSet, file *string, args []string, out, errOut io.Writer) error {
	once := f.Bool("once", false, "")
	dropIns := f.String("drop-ins", "", "")
	format := f.String("log", string(telemetry.Text), "")
	if err := parse(f, args); err != nil {
		return err
	}
	log, cfg, err := load(*file, *format, errOut)
	if err != nil {
		return err
	}
	if *dropIns != "" {
		done, err := daemon.DropIns(cfg, *dropIns, nil)
		for _, line := range done {
			fmt.Fprintln(out, line)
		}
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return daemon.Guard(ctx, cfg, log, *once)
}
