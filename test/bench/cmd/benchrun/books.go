// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/bench/internal/load"
	"github.com/sallyport-dev/sallyport/test/bench/internal/procstat"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// line is one line of the results file: one of its members is set.
type line struct {
	Result *load.Result `json:"result,omitempty"`
	Books  *books       `json:"books,omitempty"`
	Rest   *rest        `json:"rest,omitempty"`
}

func (b *bench) put(l line) error {
	p, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = b.results.Write(append(p, '\n'))
	return err
}

// books sets what the daemon says that it did beside what the load generator got: a path that let exchanges by unseen
// would look cheap.
type books struct {
	Path     string `json:"path"`
	Round    int    `json:"round"`
	Answers  int64  `json:"answers"`  // right answers after warm-up
	Recorded int64  `json:"recorded"` // exchanges in the journal, warm-up included
	Refused  int64  `json:"refused"`  // of these, refused or cut
	Flows    struct{ Seen, Proxied, Passed, Denied, Missed uint64 }
}

func (b *bench) books(ctx context.Context, path string, round int, d *lab.Daemon, state string) error {
	k := books{Path: path, Round: round, Answers: b.right[path]}
	var status struct {
		Flows struct{ Seen, Proxied, Passed, Denied, Missed uint64 }
	}
	out, err := d.CLI(ctx, "status", "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &status)
	}
	if err != nil {
		return fmt.Errorf("asking for the status: %w", err)
	}
	k.Flows = status.Flows
	if k.Recorded, k.Refused, err = outcomes(filepath.Join(state, "journal")); err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	if path != "pass-through" && k.Recorded < k.Answers {
		return fmt.Errorf("%d right answers, but only %d exchanges on record: something went by", k.Answers, k.Recorded)
	}
	return b.put(line{Books: &k})
}

// outcomes counts the exchanges that ended, and those among them that were not simply allowed.
func outcomes(dir string) (all, refused int64, err error) {
	r, err := journal.OpenReader(dir, pipeline.Position{})
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, refused, nil
		}
		if err != nil {
			return all, refused, err
		}
		if e.Kind != pipeline.KindOutcome {
			continue
		}
		all++
		var o pipeline.Outcome
		if err := e.Decode(&o); err != nil {
			return all, refused, err
		}
		if o.Verdict.Action != pipeline.Allow || o.Cut != "" {
			refused++
		}
	}
}

// rest is a daemon that was started and has nothing to do.
type rest struct {
	Path    string  `json:"path"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu_share"` // of one core
	Anon    int64   `json:"rss_anon_bytes"`
	RSS     int64   `json:"rss_bytes"`
}

func (b *bench) rest(ctx context.Context, path string, pid int) error {
	before, err := cpuOf(pid)
	if err != nil {
		return err
	}
	start := time.Now()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Second):
	}
	r := rest{Path: path, Seconds: time.Since(start).Seconds()}
	after, err := cpuOf(pid)
	if err != nil {
		return err
	}
	r.CPU = (after - before).Seconds() / r.Seconds
	m, err := procstat.MemoryOf(pid)
	if err != nil {
		return err
	}
	r.RSS, r.Anon = m.RSS, m.Anon
	return b.put(line{Rest: &r})
}

// cpuOf is the time on a CPU of a process with all its threads, ended ones too, to the nanosecond: its CPU clock, whose
// id is made of its number (clock_getcpuclockid(3)).
func cpuOf(pid int) (time.Duration, error) {
	const processWide = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|processWide, &t); err != nil {
		return 0, fmt.Errorf("reading the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
