// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// TestArchiveState: what is wrong with the search store is in the status, in the log and in what the asker is told; and it is used when nothing is
// wrong any more. The record goes on meanwhile.
func TestArchiveState(t *testing.T) {
	const stopped, built = "the search store takes no exchanges now", "was built anew from the journal 1 time(s)"
	for _, c := range []struct {
		name      string
		harm      func(path string) error
		mend      func(path string) error // nil: it mends itself
		log, warn string
		rebuilt   int64
	}{
		{"nothing", func(string) error { return nil }, nil, "", "", 0},
		{"no file can be there", func(p string) error { return os.Mkdir(p, 0o700) }, os.Remove, "the search store cannot be opened now", stopped, 0},
		{"its folder is gone", func(p string) error { return os.Remove(filepath.Dir(p)) }, func(p string) error { return os.Mkdir(filepath.Dir(p), 0o700) }, "the search store cannot be opened now", stopped, 0},
		{"it is no database", func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte("no database "), 1000), 0o600) }, nil, "is built anew from the journal", built, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			dir := filepath.Join(t.TempDir(), "store")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "archive.db")
			if err := c.harm(path); err != nil {
				t.Fatal(err)
			}
			j, err := journal.Open(journal.Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			var log bytes.Buffer
			d := &daemon{cfg: &config.Config{Archive: config.Archive{Path: path}}, Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, journal: j}
			if err := d.openArchive(ctx); err != nil {
				t.Fatalf("the start fails: %v", err)
			}
			if c.log == "" && log.Len() > 0 || !strings.Contains(log.String(), c.log) {
				t.Errorf("log %q", log.String())
			}
			st := d.archiveStatus(ctx)
			warnings := strings.Join(archiveWarnings(&st), "\n")
			if c.warn == "" && warnings != "" || !strings.Contains(warnings, c.warn) || st.Rebuilt != c.rebuilt {
				t.Errorf("%+v, warnings %q", st, warnings)
			}
			_, err = console{d}.Search(ctx, adminapi.Search{Query: "word"})
			if c.mend == nil {
				if err != nil || st.State != "ok" || st.Error != "" {
					t.Errorf("search: %v, %+v", err, st)
				}
			} else if err == nil || !strings.HasPrefix(err.Error(), "the archive is not open: ") || st.State != "stopped" || st.Error == "" {
				t.Errorf("search: %v, %+v", err, st)
			}
			_, taken := j.Append(pipeline.Record{Kind: pipeline.KindIntent, Time: time.Now(), Session: "ses_1", Exchange: "exc_1", Body: &pipeline.Intent{}})
			_, ended := j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Time: time.Now(), Session: "ses_1", Exchange: "exc_1", Body: &pipeline.Outcome{Text: "the word"}})
			for _, done := range []<-chan error{taken, ended} {
				if err := <-done; err != nil {
					t.Fatalf("the record: %v", err)
				}
			}
			if c.mend != nil {
				if err := c.mend(path); err != nil {
					t.Fatal(err)
				}
			}
			run, stop := context.WithCancel(ctx)
			over := make(chan error, 1)
			go func() { over <- d.runArchive(run) }()
			for {
				found, err := console{d}.Search(ctx, adminapi.Search{Query: "word"})
				if err == nil && len(found.Exchanges) == 1 {
					break
				}
				if ctx.Err() != nil {
					t.Fatal("what was recorded is not found")
				}
				time.Sleep(time.Millisecond)
			}
			if st := d.archiveStatus(ctx); st.State != "ok" || st.Error != "" || st.Exchanges != 1 || st.Rebuilt != c.rebuilt {
				t.Errorf("%+v", st)
			}
			stop()
			if err := <-over; err != nil {
				t.Error(err)
			}
		})
	}
}
