// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/manage"
)

func elasticEraseCommand() command {
	return command{
		name: "elastic erase", short: "delete what a session, or everybody of a principal, said from Elasticsearch",
		long: `Deletes documents of contents; metadata stay. sallyport erase destroys the contents in the journal: run that first, so that
they are not shipped again. If the daemon runs here, who erases what is recorded before; if it does not run, --unrecorded is
needed. A legal hold on any of it forbids it: of this host, or of another whose record of it is in Elasticsearch. Needs the
privileges read, view_index_metadata, delete and maintenance on the contents, and read on the stream of administration.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			f := serverFlags(fs)
			s := whose(fs)
			dry := fs.Bool("dry-run", false, "only count what would be deleted")
			yes := fs.Bool("yes", false, "do not ask")
			unrecorded := fs.Bool("unrecorded", false, "go on if the daemon does not run")
			return func(ctx context.Context, args []string) error {
				if err := errors.Join(noArgs(args), checkSubject(s)); err != nil {
					return err
				}
				cl, err := f.open()
				if err != nil {
					return err
				}
				defer cl.Close()
				subject := manage.Subject{Principal: s.Principal}
				if s.Session != "" {
					subject.Sessions = []string{s.Session}
				}
				c := a.client()
				defer c.Close()
				o := manage.EraseOptions{Dry: true}
				if o.Holds, err = heldHere(ctx, c); err != nil && !(errors.Is(err, adminapi.ErrNotRunning) && (*unrecorded || *dry)) {
					return fmt.Errorf("nothing was deleted, because it cannot be recorded: %w", err)
				}
				n, err := manage.Erase(ctx, cl, f.namespace, subject, o)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.out, "%s of contents, of %s\n", plural(n, "document"), subjectName(*s))
				if *dry {
					return nil
				}
				if !*yes {
					if err := a.confirm("Type erase to go on: ", "erase"); err != nil {
						return err
					}
				}
				err = c.EraseCopies(ctx, adminapi.CopiesRequest{RecordSubject: *s})
				if errors.Is(err, adminapi.ErrNotRunning) && *unrecorded {
					err = nil
				}
				if err != nil {
					return fmt.Errorf("nothing was deleted, because it cannot be recorded: %w", err)
				}
				o.Dry = false
				if n, err = manage.Erase(ctx, cl, f.namespace, subject, o); err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.out, "%s deleted\n", plural(n, "document"))
				return err
			}
		},
	}
}

// heldHere asks the daemon whose contents are under hold.
func heldHere(ctx context.Context, c *adminapi.Client) (out []manage.Subject, err error) {
	list, err := c.Holds(ctx)
	for _, h := range list {
		s := manage.Subject{Principal: h.Principal}
		if h.Session != "" {
			s.Sessions = []string{h.Session}
		}
		out = append(out, s)
	}
	return out, err
}
