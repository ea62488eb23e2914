// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/docs"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
)

func caseExportCommand() command {
	return command{
		name: "case export", args: "[QUERY]", short: "sessions as evidence, in one file: records, proof, policy, verifier",
		long: `Writes a gzipped tar archive: the records of the sessions as JSON lines (records.jsonl) and as conversations (sessions/), the part of
the hash chain that proves them up to a signed checkpoint (chain.jsonl; of other sessions' records only the headers), the
policy that decided (policy/), anchors, programs that verify all of it (verify_case.py), and MANIFEST.json with SHA-256 sums.

Sessions are named by --session, or found by QUERY. Needs the right to read the journal, and so root. The daemon gives the
conversations and records who read them; --offline works without it, on a copy of a journal, and the manifest says so.`,
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			var ids []string
			fs.Func("session", "the session with this `ID`; may be repeated", func(s string) error { ids = append(ids, s); return nil })
			out := fs.String("out", "", "write this `file`, which must not be there yet")
			dir := fs.String("journal", defaultJournal, "`folder` of the journal")
			anchors := fs.String("anchors", "", "add the checkpoints in this `file` or folder, which were kept off the host")
			offline := fs.Bool("offline", false, "without the daemon: reading is not recorded")
			return func(ctx context.Context, args []string) error {
				switch {
				case *out == "":
					return wrong("needs --out FILE")
				case (len(ids) == 0) == (len(args) == 0):
					return wrong("takes --session ID, or a query, and not both")
				case *offline && len(ids) == 0:
					return wrong("--offline finds nothing by a query: name sessions with --session")
				}
				c := &caseFile{journal: *dir, sessions: map[string]bool{}}
				c.manifest = manifest{Format: "sallyport case 1", Created: time.Now().UTC().Truncate(time.Second), Recorded: !*offline}
				if len(args) > 0 {
					c.manifest.Query = joinQuery(args)
				}
				return a.exportCase(ctx, c, ids, *out, *anchors)
			}
		},
	}
}

// mostCase is how many sessions a case may have.
const mostCase = 1000

func (a *app) exportCase(ctx context.Context, c *caseFile, ids []string, out, anchors string) (err error) {
	if _, err := os.Stat(c.journal); err != nil {
		return noJournal("reading the journal", err)
	}
	if anchors != "" {
		if c.anchors, err = anchor.Read(anchors); err != nil {
			return err
		}
	}
	if c.manifest.Host, err = os.Hostname(); err != nil {
		return fmt.Errorf("asking for the name of this host: %w", err)
	}
	var read func(string) (adminapi.Session, error)
	if c.manifest.Recorded {
		client := a.client()
		defer client.Close()
		if len(ids) == 0 {
			list, err := client.Sessions(ctx, adminapi.Query{Find: c.manifest.Query, Limit: mostCase})
			if err != nil {
				return err
			}
			if len(list) == mostCase {
				return wrong("the query finds %d sessions or more: want a narrower one", mostCase)
			}
			for _, s := range list {
				ids = append(ids, s.ID)
			}
		}
		read = func(id string) (adminapi.Session, error) { return client.Session(ctx, id) }
	} else {
		c.manifest.Notes = append(c.manifest.Notes, "made without the daemon: no record says who read it")
	}
	for _, id := range ids {
		c.sessions[id] = true
	}
	if err := c.survey(ctx); err != nil {
		return err
	}
	for _, id := range sortedKeys(c.sessions) {
		if !c.seen[id] {
			return fmt.Errorf("session %s has no record in %s", clean(id), c.journal)
		}
	}
	if len(c.sessions) == 0 {
		return fmt.Errorf("the query finds no session: nothing was written")
	}
	c.manifest.Sessions = sortedKeys(c.sessions)
	for _, g := range slices.Sorted(maps.Keys(c.signed)) {
		if !c.signed[g] {
			c.manifest.Notes = append(c.manifest.Notes, fmt.Sprintf("no signed checkpoint covers the last records of generation %d yet: export again later, or verify the whole journal", g))
		}
	}
	c.missing()
	if err := c.write(ctx, out, read); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s: %s, %s\n", out, plural(len(c.manifest.Sessions), "session"), plural(c.manifest.Records, "record"))
	for _, n := range c.manifest.Notes {
		fmt.Fprintln(a.out, a.paint(yellow, clean("note: "+n)))
	}
	_, err = fmt.Fprintln(a.out, "to verify: unpack it and run case/verify_case.py, with --anchors of checkpoints that were kept elsewhere")
	return err
}

// programs adds what verifies the case, and the public key that the signatures began with.
func (c *caseFile) programs(one func(string, func(io.Writer) error) error) error {
	files := map[string][]byte{"verify.py": docs.Verify, "verify_case.py": docs.VerifyCase}
	if pub, err := os.ReadFile(filepath.Join(c.journal, "journal.pub")); err == nil {
		files["journal.pub"] = pub
	} else if !os.IsNotExist(err) {
		return err
	}
	for _, name := range sortedKeys(files) {
		if err := one(name, func(w io.Writer) error { _, err := w.Write(files[name]); return err }); err != nil {
			return err
		}
	}
	return nil
}
