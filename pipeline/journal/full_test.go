// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// quota is a journal of 60 small segments that looks for room at each record.
func quota(t testing.TB, dir string) Options {
	t.Helper()
	o := options(t, dir)
	o.MaxBytes = 60 * minSegment // a twentieth is more than what is in the making, and counted, while the journal fills up
	o.FullCheck = time.Nanosecond
	return o
}

// fillUp appends events until they are refused, and says how many were taken.
func fillUp(t testing.TB, j *Journal) int {
	t.Helper()
	for n := 0; n < 5000; n++ {
		_, done := j.Append(event("exc_1", n, strings.Repeat("x", 4000)))
		if err := <-done; errors.Is(err, ErrFull) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the journal never gets full")
	return 0
}

// refused says whether a record gets ErrFull.
func refused(t testing.TB, j *Journal, r pipeline.Record) bool {
	t.Helper()
	_, done := j.Append(r)
	err := <-done
	if err != nil && !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	return err != nil
}

// shortages lists the points of shortages in a chain.
func shortages(t testing.TB, dir string) (at []string, counts []int64) {
	t.Helper()
	for _, e := range entries(t, dir) {
		if e.Kind == pipeline.KindGap {
			var s Shortage
			if err := e.Decode(&s); err != nil {
				t.Fatal(err)
			}
			if s.Full != "" {
				at, counts = append(at, s.Full), append(counts, s.Count)
			}
		}
	}
	return at, counts
}

func bytesIn(t testing.TB, dir string) (sum int64) {
	t.Helper()
	for _, path := range must(filepath.Glob(filepath.Join(dir, "*"))) {
		if st := must(os.Stat(path)); !st.IsDir() {
			sum += st.Size()
		}
	}
	return sum
}

// sizes lists the files of a folder.
func sizes(t testing.TB, dir string) (out []string) {
	t.Helper()
	for _, path := range must(filepath.Glob(filepath.Join(dir, "*"))) {
		out = append(out, fmt.Sprint(filepath.Base(path), ": ", must(os.Stat(path)).Size()))
	}
	return out
}

// What a full journal takes: the emergency segment is for what ends or refuses.
func TestFullTakes(t *testing.T) {
	j := open(t, quota(t, t.TempDir()))
	fillUp(t, j)
	for _, c := range []struct {
		name string
		rec  pipeline.Record
		want bool
	}{
		{"intent", intent("exc_2"), false},
		{"event", event("exc_1", 1, "x"), false},
		{"outcome", outcome("exc_1"), true},
		{"decision", pipeline.Record{Kind: pipeline.KindDecision, Body: &pipeline.Decision{ID: "dec_1"}}, true},
		{"gap", pipeline.Record{Kind: pipeline.KindGap, Body: &pipeline.Gap{Count: 1}}, true},
		{"admin", pipeline.Record{Kind: pipeline.KindAdmin, Body: struct{}{}}, true},
		{"approval", pipeline.Record{Kind: pipeline.KindApproval, Body: &pipeline.Approval{ID: "apr_1"}}, true},
		{"policy", pipeline.Record{Kind: pipeline.KindPolicy, Body: struct{}{}}, false},
		{"refused connection", pipeline.Record{Kind: pipeline.KindFlow, Body: pipeline.Flow{Disposition: "refused"}}, true},
		{"refused connection, by pointer", pipeline.Record{Kind: pipeline.KindFlow, Body: &pipeline.Flow{Disposition: "refused"}}, true},
		{"passed connection", pipeline.Record{Kind: pipeline.KindFlow, Body: &pipeline.Flow{Disposition: "passed"}}, false},
		{"larger than the emergency segment", event("exc_1", 1, strings.Repeat("x", 2*minSegment)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if refused(t, j, c.rec) == c.want {
				t.Errorf("taken: %v, want %v", !c.want, c.want)
			}
		})
	}
}

// A segment that is ready only when the journal has become full is not kept: it would be beyond the quota.
func TestPreparedTooLate(t *testing.T) {
	dir := t.TempDir()
	o := quota(t, dir)
	j := open(t, o)
	fillUp(t, j)
	j.tasks.Wait()
	before := bytesIn(t, dir)
	j.mu.Lock()
	j.keep(must(j.newFile("filled", o.SegmentBytes, true)))
	spare := j.spare
	j.mu.Unlock()
	if size := bytesIn(t, dir); size != before || size > o.MaxBytes || spare != nil {
		t.Errorf("%d bytes on disk, %d before, quota %d: %v", size, before, o.MaxBytes, sizes(t, dir))
	}
}

// The emergency segment is used to its end, nothing is written beyond the quota, and the chain says all of it.
func TestEmergencySegment(t *testing.T) {
	dir := t.TempDir()
	o := quota(t, dir)
	j := open(t, o)
	fillUp(t, j)
	segment := j.State().Durable.Segment
	n := 0
	for !refused(t, j, outcome("exc_1")) {
		n++
	}
	if size := bytesIn(t, dir); size > o.MaxBytes {
		t.Errorf("%d bytes on disk, quota %d: %v", size, o.MaxBytes, sizes(t, dir))
	}
	if got := j.State(); got.Durable.Segment != segment+1 || !got.Full || got.Refused == 0 || got.Err != nil {
		t.Errorf("state %+v, want segment %d", got, segment+1)
	}
	if n*300 < minSegment/2 {
		t.Errorf("only %d outcomes were taken", n)
	}
	closeJournal(t, j)
	verified(t, dir)
	if at, _ := shortages(t, dir); strings.Join(at, " ") != "begin emergency" {
		t.Errorf("shortages %v", at)
	}
	if left := must(filepath.Glob(filepath.Join(dir, "*"+tmpSuffix))); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// Ordinary records are taken again only when a twentieth of the quota is free, not as soon as one fits.
func TestFullHysteresis(t *testing.T) {
	dir := t.TempDir()
	o := quota(t, dir)
	o.MaxBytes = 100 * minSegment
	j := open(t, o)
	fillUp(t, j)
	// Moved away by an operator: each segment is a hundredth of the quota.
	for oldest := uint64(1); oldest < 5; oldest++ {
		if err := os.Rename(segmentPath(dir, oldest), filepath.Join(t.TempDir(), "moved")); err != nil {
			t.Fatal(err)
		}
		if !refused(t, j, intent("exc_2")) || !j.State().Full {
			t.Fatalf("with %d %% free, ordinary records are taken", oldest)
		}
	}
	for oldest := uint64(5); oldest < 8; oldest++ {
		if err := os.Rename(segmentPath(dir, oldest), filepath.Join(t.TempDir(), "moved")); err != nil {
			t.Fatal(err)
		}
	}
	if refused(t, j, intent("exc_2")) || j.State().Full {
		t.Fatal("with 7 % free, ordinary records are refused")
	}
	more := fillUp(t, j)
	if more < 5*14 {
		t.Errorf("%d records until it was full again: it opens and closes", more)
	}
	put(t, j, outcome("exc_1"))
	closeJournal(t, j)
	verified(t, dir)
	at, counts := shortages(t, dir)
	if got := strings.Join(at, " "); got != "begin end begin" || counts[1] != 5 {
		t.Errorf("shortages %s, counts %v", got, counts)
	}
}

// Used up and prepared anew: a second shortage has an emergency segment too.
func TestEmergencyAgain(t *testing.T) {
	dir := t.TempDir()
	j := open(t, quota(t, dir))
	for round := range 3 {
		fillUp(t, j)
		for !refused(t, j, outcome("exc_1")) {
		}
		for range 12 { // a fifth of the quota
			r := must(listSegments(dir))
			if err := os.Remove(segmentPath(dir, r[0])); err != nil {
				t.Fatal(err)
			}
		}
		if refused(t, j, intent("exc_2")) {
			t.Fatalf("round %d: refused with room", round)
		}
	}
	closeJournal(t, j)
	verified(t, dir)
	if at, _ := shortages(t, dir); strings.Count(strings.Join(at, " "), "emergency end") == 0 {
		t.Errorf("shortages %v", at)
	}
}

// A crash anywhere in a shortage loses nothing, and the next start is still full, until there is room.
func TestCrashWhileFull(t *testing.T) {
	dir := t.TempDir()
	o := quota(t, dir)
	j := open(t, o)
	fillUp(t, j)
	before := copyDir(t, dir) // the shortage has begun
	put(t, j, outcome("exc_1"))
	for j.emergency != nil {
		put(t, j, outcome("exc_1"))
	}
	within := copyDir(t, dir) // the emergency segment is in use
	gone := copyDir(t, dir)   // the old segment was completed, the other one not yet there
	if err := os.Remove(segmentPath(gone, j.info.number)); err != nil {
		t.Fatal(err)
	}
	torn := copyDir(t, dir)
	patch(t, segmentPath(torn, j.info.number), func(b []byte) []byte { clear(b[j.off-10:]); return b })
	for name, dead := range map[string]string{"before": before, "within": within, "between": gone, "torn": torn} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dead, "0000000000000001.emergency.tmp"), make([]byte, minSegment), 0o600); err != nil {
				t.Fatal(err)
			}
			records := verified(t, dead).Records
			o := o
			o.Dir = dead
			j := open(t, o)
			if !refused(t, j, intent("exc_2")) {
				t.Error("an intent was taken by a full journal")
			}
			for range 20 {
				put(t, j, outcome("exc_1"))
			}
			closeJournal(t, j)
			if rep := verified(t, dead); rep.Records < records+22 {
				t.Errorf("%d records, before %d", rep.Records, records)
			}
			o.MaxBytes *= 2
			j = open(t, o)
			put(t, j, intent("exc_2"))
			closeJournal(t, j)
			verified(t, dead)
			if at, _ := shortages(t, dead); at[len(at)-1] != FullEnd {
				t.Errorf("shortages %v", at)
			}
			if left := must(filepath.Glob(filepath.Join(dead, "*"+tmpSuffix))); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// A writer that is killed again and again while it is full leaves a sound chain each time.
func TestKilledWhileFull(t *testing.T) {
	dir := t.TempDir()
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = []string{"JOURNAL_TEST_VICTIM=" + dir, "JOURNAL_TEST_FULL=1"}
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line := make([]byte, 16)
		for range 20 + 31*round { // refusals
			if _, err := pipe.Read(line); err != nil {
				t.Fatal(err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		verified(t, dir)
		if at, _ := shortages(t, dir); len(at) == 0 || at[len(at)-1] == FullEnd {
			t.Errorf("round %d: shortages %v", round, at)
		}
	}
}
