// SPDX-License-Identifier: Apache-2.0

// Command sallyportd is the host daemon. It parses flags and calls agent/daemon.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/daemon"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
)

// version is set when linking.
var version = "unknown"

const usage = `usage: sallyportd [--config FILE]         run (default /etc/sallyport/config.yaml)
       sallyportd --check-config           say what is wrong with configuration and policy, change nothing
       sallyportd --reference              print every configuration key with its default
       sallyportd doctor [-o json]         say what works on this host, what is missing and what it needs
       sallyportd bypass --scope NAME --for DURATION --reason TEXT
                                           break glass: let a scope go direct for a while; works with a dead daemon
       sallyportd quarantine SELECTOR --reason TEXT [--for DURATION] | SELECTOR --lift | --list [-o json]
                                           cut a workload off the network at once; works with a dead daemon
       sallyportd guard [--once]           refuse what enforcing scopes connect, until the daemon is there: for early boot
       sallyportd guard --drop-ins DIR     write a systemd drop-in for each unit that a scope names
       sallyportd units --dry-run          print the drop-ins that trust.host: unit writes
       sallyportd uninstall [--dry-run]    take programs, maps and trust out again; needs no configuration and no daemon
       sallyportd version
signals while it runs: TERM ends it when running exchanges are done; HUP reads the policy again, or upgrades in place if
the program or the configuration on disk has changed; USR2 upgrades in place
`

func main() {
	gc := pace()
	code := run(os.Args[1:], os.Stdout, os.Stderr)
	gc.stop()
	os.Exit(code)
}

// run maps errors to exit codes once: 0 fine, 1 the world, 2 what was asked for.
func run(args []string, out, errOut io.Writer) int {
	err := command(args, out, errOut)
	var wrong *daemon.UsageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		return 0
	case errors.As(err, &wrong):
		fmt.Fprintf(errOut, "sallyportd: %v\n", err)
		return 2
	}
	fmt.Fprintf(errOut, "sallyportd: %v\n", err)
	return 1
}

func command(args []string, out, errOut io.Writer) error {
	verb := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	f := flag.NewFlagSet("sallyportd", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	file := f.String("config", "/etc/sallyport/config.yaml", "")
	switch verb {
	case "":
		return serve(f, file, args, out, errOut)
	case "doctor":
		return doctor(f, args, out)
	case "bypass":
		return bypass(f, file, args, out)
	case "quarantine":
		return quarantine(f, file, args, out)
	case "guard":
		return guard(f, file, args, out, errOut)
	case "units":
		return units(f, file, args, out)
	case "uninstall":
		return uninstall(f, args, out)
	case "version":
		fmt.Fprintln(out, version)
		return nil
	case daemon.SelfTestArg:
		return daemon.SelfTestConnect(args)
	}
	return &daemon.UsageError{Err: fmt.Errorf("unknown command %q: see sallyportd --help", verb)}
}

// parse reads flags; whatever is left over is a mistake.
func parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return &daemon.UsageError{Err: fmt.Errorf("%w: see sallyportd --help", err)}
	}
	if f.NArg() > 0 {
		return &daemon.UsageError{Err: fmt.Errorf("unexpected %q: see sallyportd --help", f.Arg(0))}
	}
	return nil
}

// load opens the log and reads the configuration; what is wrong with either is a mistake of the caller's.
func load(file, format string, errOut io.Writer) (*slog.Logger, *config.Config, error) {
	log, err := telemetry.New(errOut, telemetry.Format(format), nil)
	if err != nil {
		return nil, nil, &daemon.UsageError{Err: err}
	}
	cfg, err := config.Load(file, os.Getenv)
	if err != nil {
		return nil, nil, &daemon.UsageError{Err: err}
	}
	return log, cfg, nil
}

func serve(f *flag.FlagSet, file *string, args []string, out, errOut io.Writer) error {
	check := f.Bool("check-config", false, "")
	reference := f.Bool("reference", false, "")
	format := f.String("log", string(telemetry.Text), "")
	if err := parse(f, args); err != nil {
		return err
	}
	if *reference {
		fmt.Fprint(out, config.Reference())
		return nil
	}
	log, cfg, err := load(*file, *format, errOut)
	if err != nil {
		return err
	}
	if *check {
		if err := daemon.Check(cfg); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: fine\n", *file)
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	hup, usr2 := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	signal.Notify(usr2, syscall.SIGUSR2)
	defer signal.Stop(hup)
	defer signal.Stop(usr2)
	o := daemon.Options{Version: version, Log: log, Reload: hup, Upgrade: usr2, ConfigFile: *file}
	if exe, err := os.Executable(); err == nil {
		o.Command = append([]string{exe}, args...)
	}
	return daemon.Run(ctx, cfg, o)
}
