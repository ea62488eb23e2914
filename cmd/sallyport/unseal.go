// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"filippo.io/age"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/journal/original"
)

func unsealCommand() command {
	return command{
		name: "unseal", args: "EXCHANGE [DIR]", short: "read the original of a masked request, for two people together",
		long: `With record.original: sealed the record keeps requests of which something was masked as they were, encrypted so that it takes
two of the people in record.recipients. Each gives an age identity file with --identity. Writes the request to standard output.
Reads the journal in DIR (` + defaultJournal + `); needs no daemon, but the right to read the folder: root. What was erased is gone.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			var files []string
			fs.Func("identity", "the age identity `file` of one person; twice", func(s string) error { files = append(files, s); return nil })
			return func(ctx context.Context, args []string) error {
				if len(args) == 0 || len(files) != 2 {
					return wrong("takes EXCHANGE, and --identity FILE twice: one of each of two people")
				}
				dir, err := journalDir(args[1:])
				if err != nil {
					return err
				}
				var who [2][]age.Identity
				for i, name := range files {
					if who[i], err = readIdentities(name); err != nil {
						return err
					}
				}
				sealed, err := sealedOriginal(ctx, dir, args[0])
				if err != nil {
					return err
				}
				b, err := original.Open(sealed, who[0], who[1])
				if err != nil {
					return fmt.Errorf("unsealing %s: %w", clean(args[0]), err)
				}
				_, err = a.out.Write(b)
				return err
			}
		},
	}
}

func readIdentities(name string) ([]age.Identity, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading an identity: %w", err)
	}
	defer f.Close()
	ids, err := original.Identities(f)
	if err != nil { // it is not repeated: it may show the key
		return nil, fmt.Errorf("%s is no age identity file: make one with age-keygen", name)
	}
	return ids, nil
}

// sealedOriginal finds what is sealed of an exchange.
func sealedOriginal(ctx context.Context, dir, exchange string) ([]byte, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	r, err := journal.OpenReader(dir, pipeline.Position{})
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	defer r.Close()
	for n := 0; ; n++ {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("the journal in %s has no exchange %s", dir, clean(exchange))
		}
		if err == nil && n%1024 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("reading the journal (sallyport journal verify says more): %w", err)
		}
		if e.Kind != pipeline.KindIntent || e.Exchange != exchange {
			continue
		}
		var in pipeline.Intent
		state, err := e.Content()
		if err == nil {
			err = e.Decode(&in)
		}
		switch {
		case err != nil:
			return nil, err
		case state != journal.ContentHere:
			return nil, fmt.Errorf("the contents of %s are not there any more: %s", clean(exchange), state)
		case in.SealedOriginal == nil:
			return nil, fmt.Errorf("nothing is sealed of %s: nothing was masked in it, or record.original was not set", clean(exchange))
		}
		return in.SealedOriginal, nil
	}
}
