// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/sallyport-dev/sallyport/pipeline/mask"
)

func maskCommand() command {
	return command{
		name: "mask", args: "[FILE...]", short: "the masker as a filter: secrets and personal data out of text",
		long: "Reads the files, or standard input, and writes them masked to standard output. With --json a line in is\n" +
			`{"id","text"} and a line out {"id","masked","spans":[{"start","end","type"}]}, offsets in bytes of UTF-8, half open.` + "\nNeeds no daemon.",
		flags: func(a *app, fs *flag.FlagSet) action {
			lines := fs.Bool("json", false, "JSON lines in and out")
			return func(_ context.Context, args []string) error {
				e, err := mask.New(mask.Options{Names: true})
				if err != nil {
					return err
				}
				filter := e.FilterText
				if *lines {
					filter = e.Filter
				}
				if len(args) == 0 {
					return filter(a.in, a.out)
				}
				for _, name := range args {
					if err := a.maskFile(filter, name); err != nil {
						return err
					}
				}
				return nil
			}
		},
	}
}

// maskFile masks one file; "-" is standard input.
func (a *app) maskFile(filter func(io.Reader, io.Writer) error, name string) (err error) {
	if name == "-" {
		return filter(a.in, a.out)
	}
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("reading what to mask: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := filter(f, a.out); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
