// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/bench/internal/certs"
	"github.com/sallyport-dev/sallyport/test/bench/internal/load"
	"github.com/sallyport-dev/sallyport/test/bench/internal/procstat"
	"github.com/sallyport-dev/sallyport/test/bench/internal/wire"
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
	Served   int64  `json:"served"`   // requests that the provider answered, warm-up included
	Recorded int64  `json:"recorded"` // exchanges in the journal, warm-up included
	Refused  int64  `json:"refused"`  // of these, refused or cut
	Flows    struct{ Seen, Proxied, Passed, Denied, Missed uint64 }
}

func (b *bench) books(ctx context.Context, path string, round int, d *lab.Daemon, state string, before int64) error {
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
	served, err := b.served(ctx)
	if err != nil {
		return err
	}
	k.Served = served - before
	got, err := outcomes(filepath.Join(state, "journal"))
	if err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	k.Recorded, k.Refused = got.all, got.refused
	if err := b.put(line{Books: &k}); err != nil {
		return err
	}
	streams := 0
	if b.work != "" && wanted(b.work, soak) {
		streams = b.streams
	}
	if path == "pass-through" { // it records no exchanges
		return nil
	}
	return got.check(k.Served, streams)
}

// check sets a journal against what the provider answered, and against the streams of a soak if there was one.
func (r *recorded) check(served int64, streams int) error {
	switch {
	case r.all < served:
		return fmt.Errorf("the provider answered %d requests, but only %d exchanges are on record: something went by", served, r.all)
	case streams > 0 && r.refused > 0:
		return fmt.Errorf("soak: %d exchanges are on record as refused or cut", r.refused)
	case streams > 0 && len(r.whole) != streams:
		return fmt.Errorf("soak: %d of %d streams are on record with their whole text", len(r.whole), streams)
	}
	return nil
}

// served asks the provider how many requests it has answered.
func (b *bench) served(ctx context.Context) (int64, error) {
	pem, err := os.ReadFile(filepath.Join(b.certs, "ca.pem"))
	if err != nil {
		return 0, err
	}
	t := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: certs.Pool(pem), ServerName: "llm.bench.test"}}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+b.addr(0)+"/stats", nil)
	if err != nil {
		return 0, err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return 0, fmt.Errorf("asking the provider what it did: %w", err)
	}
	defer resp.Body.Close()
	var st struct{ Chats, Streams int64 }
	if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
		return 0, fmt.Errorf("asking the provider what it did: %w", err)
	}
	return st.Chats + st.Streams, nil
}

// recorded is what a journal says about the exchanges that ended.
type recorded struct {
	all     int64
	refused int64               // those that were not simply allowed, or cut
	whole   map[string]struct{} // answers with the whole text of a soak's stream, by id
}

// outcomes reads a journal.
func outcomes(dir string) (recorded, error) {
	got := recorded{whole: map[string]struct{}{}}
	var text strings.Builder
	for i := range soakDeltas {
		text.WriteString(wire.Word(i, false))
	}
	want := text.String()
	r, err := journal.OpenReader(dir, pipeline.Position{})
	if err != nil {
		return got, err
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		if e.Kind != pipeline.KindOutcome {
			continue
		}
		got.all++
		var o pipeline.Outcome
		if err := e.Decode(&o); err != nil {
			return got, err
		}
		if o.Verdict.Action != pipeline.Allow || o.Cut != "" {
			got.refused++
		} else if o.Text == want {
			got.whole[o.ResponseID] = struct{}{}
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
	case <-time.After(b.options.rest):
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
