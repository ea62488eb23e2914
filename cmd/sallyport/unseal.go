// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"filippo.io/age"

	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/journal/original"
)

func unsealCommand() command {
	return command{
		name: "unseal", args: "EXCHANGE [DIR]", short: "read the original of a masked request or reply, for two people together",
		long: `With record.original: sealed the record keeps requests and replies of which something was masked as they were, encrypted so that
it takes two of the people in record.recipients. Each gives an age identity file with --identity. Writes the request to standard output,
or with --reply the reply, as the provider sent it; if that is not all of it, that is an error besides.
Reads the journal in DIR (` + defaultJournal + `); needs no daemon, but the right to read the folder: root. What was erased is gone.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			var files []string
			fs.Func("identity", "the age identity `file` of one person; twice", func(s string) error { files = append(files, s); return nil })
			reply := fs.Bool("reply", false, "the reply, not the request")
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
				o, err := journal.FindOriginals(ctx, dir, args[0])
				if err != nil {
					return err
				}
				b, err := unsealed(o, *reply, who)
				_, werr := a.out.Write(b)
				return errors.Join(err, werr)
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

// unsealed is the original of the request, or of the reply, of an exchange. With an error it is not whole.
func unsealed(o *journal.Originals, reply bool, who [2][]age.Identity) ([]byte, error) {
	name, other, missing, there, others := "request", "reply: use --reply", o.RequestMissing, o.Request != nil, o.Key != nil
	if reply {
		name, other, missing, there, others = "reply", "request: leave --reply out", o.ReplyMissing, o.Key != nil, o.Request != nil
	}
	switch {
	case there:
	case o.Content != journal.ContentHere:
		return nil, fmt.Errorf("the contents of %s are not there any more: %s", clean(o.Exchange), o.Content)
	case missing != "":
		return nil, fmt.Errorf("nothing is sealed of the %s of %s, though something was masked in it: %s", name, clean(o.Exchange), clean(oneLine(missing)))
	case others:
		return nil, fmt.Errorf("nothing is sealed of the %s of %s, where nothing was masked, but of its %s", name, clean(o.Exchange), other)
	default:
		return nil, fmt.Errorf("nothing is sealed of the %s of %s: nothing was masked in it, or record.original was not set", name, clean(o.Exchange))
	}
	if !reply {
		b, err := original.Open(o.Request, who[0], who[1])
		if err != nil {
			err = fmt.Errorf("unsealing %s: %w", clean(o.Exchange), err)
		}
		return b, err
	}
	b, whole, err := original.OpenReply(o.Exchange, o.Key, o.Pieces, who[0], who[1])
	switch {
	case err != nil:
		return nil, fmt.Errorf("unsealing the reply of %s: %w", clean(o.Exchange), err)
	case o.Reply != nil && o.Reply.Cut != "":
		return b, fmt.Errorf("this is not all of the reply of %s: %d bytes are kept, cut: %s (docs/journal-format.md says what that means)", clean(o.Exchange), len(b), clean(o.Reply.Cut))
	case !whole:
		return b, fmt.Errorf("this is not all of the reply of %s: %d bytes were kept when the daemon ended, or it still comes", clean(o.Exchange), len(b))
	}
	return b, nil
}
