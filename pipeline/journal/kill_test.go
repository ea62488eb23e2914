// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("JOURNAL_TEST_VICTIM"); dir != "" {
		victim(dir)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// victim appends as fast as it can and says on standard output what was written and what was acknowledged.
func victim(dir string) {
	o := Options{Dir: dir, SegmentBytes: 4 * minSegment, Beside: os.Getenv("JOURNAL_TEST_BESIDE") != ""}
	full := os.Getenv("JOURNAL_TEST_FULL") != ""
	if full {
		o.MaxBytes = 24 * minSegment
	}
	j, err := Open(o)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for i := 0; full; i++ { // a line for each refusal
		if _, done := j.Append(event("exc_1", i, strings.Repeat("x", i%3000))); len(done) > 0 {
			j.Append(outcome("exc_1"))
			fmt.Print("refused\n")
		}
	}
	out := make(chan string, 1024)
	go func() {
		for i := 0; ; i++ {
			j.Append(event("exc_1", i, strings.Repeat("x", i%3000)))
			out <- "written " + strconv.Itoa(i)
			if i%7 == 0 {
				_, done := j.Append(outcome("exc_" + strconv.Itoa(i)))
				if err := <-done; err != nil {
					out <- "error " + err.Error()
				}
				out <- "acknowledged " + strconv.Itoa(i)
			}
		}
	}()
	for line := range out {
		if _, err := os.Stdout.WriteString(line + "\n"); err != nil {
			return
		}
	}
}

func TestKilledWriterLosesNothing(t *testing.T) {
	dir := t.TempDir()
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = []string{"JOURNAL_TEST_VICTIM=" + dir}
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		written, acked := -1, -1
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			word, number, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Errorf("victim: %s", lines.Text())
				break
			}
			switch word {
			case "written":
				written = n
			case "acknowledged":
				acked = n
			}
			if written == 1000+137*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed

		rep := verified(t, dir)
		if rep.Torn != 0 {
			t.Logf("round %d: killed within a write, %d bytes", round, rep.Torn)
		}
		lastEvent, lastOutcome := -1, -1
		for _, e := range entries(t, dir) {
			if e.Generation != uint64(round+1) {
				continue
			}
			switch e.Kind {
			case pipeline.KindEvent:
				var ev pipeline.Event
				if err := e.Decode(&ev); err != nil || ev.Seq != lastEvent+1 {
					t.Fatalf("event %d after %d (%v)", ev.Seq, lastEvent, err)
				}
				lastEvent = ev.Seq
			case pipeline.KindOutcome:
				lastOutcome = must(strconv.Atoi(strings.TrimPrefix(e.Exchange, "exc_")))
			}
		}
		if written < 1000 || lastEvent < written || lastOutcome < acked {
			t.Errorf("round %d: written up to %d, there up to %d; acknowledged up to %d, there up to %d", round, written, lastEvent, acked, lastOutcome)
		}
	}
}

// A process that hands over is killed while it still writes beside its successor: what it had acknowledged is there, what
// it had begun is cut, and its end is on record, without a restart.
func TestKilledBesideSuccessor(t *testing.T) {
	dir := t.TempDir()
	j := takeOver(t, beside(t, dir))
	for round := range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = []string{"JOURNAL_TEST_VICTIM=" + dir, "JOURNAL_TEST_BESIDE=1"}
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var victim uint64
		acked := -1
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			word, number, _ := strings.Cut(lines.Text(), " ")
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Errorf("victim: %s", lines.Text())
				break
			}
			if word == "acknowledged" {
				acked = n
			}
			switch n {
			case 100: // it is the newest: its predecessor ends, and this process takes over
				if word != "written" {
					break
				}
				closeJournal(t, j)
				victim = j.State().Generation + 1
				j = takeOver(t, beside(t, dir))
				put(t, j, intent(fmt.Sprint("exc_new_", round)))
			case 800 + 37*round:
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			default:
				if n%50 == 0 {
					put(t, j, event("exc_new", n, strings.Repeat("y", 1000)))
				}
			}
		}
		_ = cmd.Wait() // killed
		eventually(t, "the end is on record", func() bool { return !exists(generationLock(dir, victim)) })
		verified(t, dir)
		list := entries(t, dir)
		chains(t, list)
		last := -1
		for _, e := range list {
			if e.Generation == victim && e.Kind == pipeline.KindOutcome {
				last = must(strconv.Atoi(strings.TrimPrefix(e.Exchange, "exc_")))
			}
		}
		if acked < 100 || last < acked {
			t.Errorf("round %d: acknowledged up to %d, there up to %d", round, acked, last)
		}
		put(t, j, outcome(fmt.Sprint("exc_new_", round)))
	}
	closeJournal(t, j)
	verified(t, dir)
}
