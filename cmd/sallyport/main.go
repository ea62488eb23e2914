// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// errNo is a negative answer that has been printed already: exit 1 without a message.
var errNo = errors.New("no")

// usageError is a wrong call of a verb.
type usageError struct {
	verb string
	msg  string
}

func (e *usageError) Error() string {
	if e.verb == "" {
		return e.msg + " (see sallyport help)"
	}
	return fmt.Sprintf("%s: %s (see sallyport help %s)", e.verb, e.msg, e.verb)
}

// run does what args ask for and returns the exit status.
func (a *app) run(ctx context.Context, args []string) int {
	err := a.dispatch(ctx, args)
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNo):
		return 1
	case errors.As(err, &usage):
		a.complain(err)
		return 2
	default:
		a.complain(err)
		return 1
	}
}

// complain writes an error, joined ones on a line each.
func (a *app) complain(err error) {
	for line := range strings.Lines(err.Error()) {
		if line = oneLine(line); line != "" {
			fmt.Fprintf(a.err, "sallyport: %s\n", clean(line))
		}
	}
}
