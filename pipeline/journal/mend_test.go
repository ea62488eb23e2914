// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Whatever is damaged, a repair keeps what lies before it, moves the rest aside byte by byte, and the journal goes on.
func TestRepair(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		j := open(t, options(t, dir))
		for i := range 100 {
			put(t, j, event("exc_1", i, strings.Repeat("x", 800)))
		}
		closeJournal(t, j)
	}
	if _, err := Repair(copyDir(t, dir), clock()); !errors.Is(err, ErrWhole) {
		t.Errorf("of a whole journal: %v", err)
	}
	all := must(listSegments(dir))
	for name, do := range map[string]func(d string) error{
		"bit in the first segment":   flipAt(1, 9000),
		"bit in the middle":          flipAt(3, 20_000),
		"bit in the newest":          flipAt(all[len(all)-1], 3000),
		"header":                     flipAt(4, 30),
		"header of the first":        flipAt(1, 3),
		"segment missing":            func(d string) error { return os.Remove(segmentPath(d, 3)) },
		"segment of another journal": func(d string) error { return copyFile(segmentPath(d, 1), segmentPath(d, 5)) },
	} {
		t.Run(name, func(t *testing.T) {
			work := copyDir(t, dir)
			if err := errors.Join(os.CopyFS(keysDir(work), os.DirFS(keysDir(dir))), do(work)); err != nil {
				t.Fatal(err)
			}
			rep := must(Verify(work))
			if rep.OK {
				t.Fatal("nothing is damaged")
			}
			before := map[string][]byte{}
			for _, path := range must(filepath.Glob(filepath.Join(work, "*"+segmentSuffix))) {
				before[filepath.Base(path)] = must(os.ReadFile(path))
			}
			r, err := RepairAndNote(work)
			if err != nil {
				t.Fatal(err)
			}
			after := verified(t, work)
			if after.Records < rep.Records {
				t.Errorf("%d records are left of %d", after.Records, rep.Records)
			}
			for name, b := range before {
				aside, err := os.ReadFile(filepath.Join(work, r.Evidence, name))
				if err != nil {
					aside, err = os.ReadFile(filepath.Join(work, name))
				}
				if err != nil || !bytes.Equal(aside, b) {
					t.Errorf("%s is not what it was: %v", name, err)
				}
			}
			if got := admins[Repaired](t, work, ActionRepair); len(got) != 1 || got[0].Kept != rep.Records || got[0].Problem != *rep.Problem {
				t.Errorf("recorded %+v", got)
			}
			j := open(t, options(t, work))
			put(t, j, pipeline.Record{Kind: pipeline.KindOutcome, Session: "s", Exchange: "e", Body: &pipeline.Outcome{Text: "goes on"}})
			closeJournal(t, j)
			verified(t, work)
		})
	}
	t.Run("writer lives", func(t *testing.T) {
		work := copyDir(t, dir)
		j := open(t, options(t, work))
		defer closeJournal(t, j)
		if err := flipAt(1, 9000)(work); err != nil {
			t.Fatal(err)
		}
		if _, err := Repair(work, clock()); !errors.Is(err, ErrLocked) {
			t.Errorf("got %v", err)
		}
	})
}

func flipAt(segment uint64, at int) func(dir string) error {
	return func(dir string) error {
		b, err := os.ReadFile(segmentPath(dir, segment))
		if err != nil {
			return err
		}
		b[at] ^= 4
		return os.WriteFile(segmentPath(dir, segment), b, 0o600)
	}
}
