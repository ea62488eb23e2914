// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// killDir names the folder of a rig to the process that is killed.
const killDir = "SALLYPORT_ARCHIVE_KILL_DIR"

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		fmt.Fprintln(os.Stderr, victim(dir)) // it is not to come back
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim feeds an archive from a journal that nobody writes, and says on standard output how far it is.
func victim(dir string) error {
	ctx := context.Background()
	a, err := Open(ctx, Options{Path: filepath.Join(dir, "archive.db")})
	if err != nil {
		return err
	}
	j, err := journal.Open(journal.Options{Dir: filepath.Join(dir, "journal")})
	if err != nil {
		return err
	}
	go func() {
		for last := int64(-1); ; time.Sleep(time.Millisecond) {
			if s, err := a.Stats(ctx); err == nil && s.Exchanges != last {
				last = s.Exchanges
				fmt.Println(last)
			}
		}
	}()
	return a.Follow(ctx, j)
}

// TestKilled: an archive whose process is killed at any moment, in the middle of a batch or of erasing, has exactly what its place in the journal
// says, counts it rightly, and goes on from there.
func TestKilled(t *testing.T) {
	r := newRig(t)
	const n = 4000
	var list []x
	for i := range n {
		list = append(list, x{session: fmt.Sprint("ses_", i/9), user: "u", unit: "s", model: "m", prompts: []string{fmt.Sprint("word", i)}, answer: "ok", after: time.Duration(i) * time.Millisecond})
	}
	r.write(list...)
	for i := range 5 {
		if _, err := r.j.Erase(t.Context(), journal.Subject{Session: fmt.Sprint("ses_", i*80)}, pipeline.Person{User: "dpo"}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.a.Close(), r.j.Close()); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	var stops []int64
	for last := int64(0); last < n; {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), killDir+"="+r.dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() { // killed some time after the first batch that is new
			var at int64
			if _, err := fmt.Sscan(lines.Text(), &at); err != nil || at > last {
				break
			}
		}
		time.Sleep(time.Duration(rnd.IntN(150)) * time.Millisecond) // whenever that is
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // killed
		r.open(Options{})
		s := r.whole("killed")
		at, err := r.a.place(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := r.ended(at.Done); s.Exchanges < want || s.Exchanges > want+batchExchanges || s.Renewed != 0 {
			t.Fatalf("%+v: its place says %d", s, want)
		}
		if s.Exchanges < last {
			t.Fatalf("%d after %d", s.Exchanges, last)
		}
		last = s.Exchanges
		stops = append(stops, last)
		if err := r.a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(stops) < 3 {
		t.Errorf("killed at %v only", stops)
	}
	r.open(Options{})
	var err error
	if r.j, err = journal.Open(journal.Options{Dir: filepath.Join(r.dir, "journal"), EventDelay: time.Microsecond}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.j.Close() })
	gone := fmt.Sprint("word", 9*80)
	r.until(func() bool {
		at, err := r.a.place(context.Background())
		return err == nil && r.ended(at.Done) == n && r.find(gone) == ""
	})
	if s := r.whole("at the end"); s.Exchanges != n || s.Sessions != (n+8)/9 || r.find("word777") != "778" {
		t.Errorf("%+v, found %s", s, r.find("word777"))
	}
}

// ended is how many exchanges of the journal ended before a mark.
func (r *rig) ended(m journal.Mark) (n int64) {
	r.t.Helper()
	rd, err := journal.OpenReader(filepath.Join(r.dir, "journal"), pipeline.Position{})
	if err != nil {
		r.t.Fatal(err)
	}
	defer rd.Close()
	for {
		e, err := rd.Next()
		if errors.Is(err, io.EOF) {
			return n
		}
		if err != nil {
			r.t.Fatal(err)
		}
		if e.Kind == pipeline.KindOutcome && m.Covers(e.Generation, e.Position) {
			n++
		}
	}
}
