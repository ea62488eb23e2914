// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// A clock that goes back changes nothing about the chain, and shows.
func TestClockGoesBack(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, at := range map[string]string{"while it runs": "run", "between starts": "start", "not at all": ""} {
		t.Run(name, func(t *testing.T) {
			o := options(t, t.TempDir())
			now := now
			o.Now = func() time.Time { now = now.Add(time.Millisecond); return now }
			j := open(t, o)
			put(t, j, by("bob", "ses_1", 0))
			if at == "run" {
				now = now.Add(-2 * time.Hour)
			}
			put(t, j, by("bob", "ses_1", 1))
			closeJournal(t, j)
			if at == "start" {
				now = now.Add(-2 * time.Hour)
			}
			j = open(t, o)
			put(t, j, by("bob", "ses_1", 2))
			closeJournal(t, j)
			rep := verified(t, o.Dir)
			if shows := len(rep.Warnings) == 1 && strings.Contains(rep.Warnings[0], "went back by 2h0m0s"); shows != (at != "") || !shows && len(rep.Warnings) > 0 {
				t.Errorf("warnings %q", rep.Warnings)
			}
			if got := states(t, o.Dir); got["ses_1"] != "here" {
				t.Errorf("contents %v", got)
			}
		})
	}
}

// A canary in everything that is recorded is in no error, whatever is damaged: of the records, and of the keys.
func TestNoContentInErrors(t *testing.T) {
	const canary = "canary-4711"
	dir := t.TempDir()
	j := open(t, options(t, dir))
	put(t, j, pipeline.Record{Kind: pipeline.KindIntent, Session: "s", Exchange: "e", Body: &pipeline.Intent{Method: canary, Body: []byte(`"` + canary + `"`),
		Call: pipeline.Call{Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: canary}}}}})
	put(t, j, pipeline.Record{Kind: pipeline.KindOutcome, Session: "s", Exchange: "e", Body: &pipeline.Outcome{Text: canary}})
	closeJournal(t, j)
	whole := must(os.ReadFile(segmentPath(dir, 1)))
	keys := filepath.Join(keysDir(dir), "0000000000000001.keys")
	slots := must(os.ReadFile(keys))[:400]
	master := must(os.ReadFile(filepath.Join(keysDir(dir), "journal.key")))
	check := func(err error) {
		t.Helper()
		if err != nil && (strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), fmt.Sprintf("%x", master[8:])) || strings.Contains(err.Error(), string(master[8:]))) {
			t.Fatalf("the error tells it: %v", err)
		}
	}
	look := func() {
		t.Helper()
		rep, err := Verify(dir)
		check(err)
		if rep.Problem != nil {
			check(rep.Problem)
		}
		check(errors.New(strings.Join(append(rep.Findings, rep.Keys), " ")))
		r, err := OpenReader(dir, pipeline.Position{})
		check(err)
		if err != nil {
			return
		}
		defer r.Close()
		for {
			e, err := r.Next()
			check(err)
			if err != nil {
				return
			}
			check(e.Decode(new(pipeline.Intent)))
			_, err = e.MarshalJSON()
			check(err)
		}
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x41
		if err := os.WriteFile(segmentPath(dir, 1), mended(bad), 0o600); err != nil { // with checksums that are right
			t.Fatal(err)
		}
		look()
	}
	if err := os.WriteFile(segmentPath(dir, 1), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range slots {
		bad := bytes.Clone(slots)
		bad[i] ^= 0x41
		if err := os.WriteFile(keys, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		look()
	}
}
