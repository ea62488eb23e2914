// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bufio"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/fakellm"
)

// output collects what several programs print.
type output struct {
	mu sync.Mutex
	b  strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// TestKillAtRandom kills the daemon at random points while programs ask and stream. Whatever the provider was asked is on
// record, no unmasked key reached a program, and the journal verifies and has an end for each exchange. FAULT_ROUNDS says
// how often (4).
func TestKillAtRandom(t *testing.T) {
	killAtRandom(t, newWorld(t, ""), func(*world) {})
}

// TestKillWhileUpgrading does the same while the daemon is upgraded: with its successor in the making, two generations of
// the journal, or an old process that still ends its streams.
func TestKillWhileUpgrading(t *testing.T) {
	w, _ := managed(t)
	killAtRandom(t, w, func(w *world) { must(w.t, syscall.Kill(w.d.PID(), syscall.SIGUSR2)) })
}

// killAtRandom kills whatever there is of the daemon at random points after before was called.
func killAtRandom(t *testing.T, w *world, before func(*world)) {
	rounds := 4
	if n, err := strconv.Atoi(os.Getenv("FAULT_ROUNDS")); err == nil && n > 0 {
		rounds = n
	}
	ctx := t.Context()
	stop := filepath.Join(filepath.Dir(w.d.Config), "stop")
	var out output
	var programs []*exec.Cmd
	var copied sync.WaitGroup // of their output, which ends before Wait may be called
	for range 3 {
		cmd, cleanup, err := w.lab.Command(ctx, w.app(enforced, "current", "loop.py", stop))
		must(t, err)
		defer cleanup()
		pipe, err := cmd.StdoutPipe()
		must(t, err)
		must(t, w.lab.Start(enforced, cmd))
		first := bufio.NewReader(pipe)
		if line, err := first.ReadString('\n'); err != nil || line != "begun\n" {
			t.Fatalf("%q, %v", line, err)
		}
		copied.Go(func() { _, _ = io.Copy(&out, first) })
		programs = append(programs, cmd)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		before(w)
		<-time.After(time.Duration(rnd.IntN(700)) * time.Millisecond)
		must(t, w.d.Kill())
		w.start()
	}
	<-time.After(300 * time.Millisecond)
	must(t, os.WriteFile(stop, nil, 0o644))
	copied.Wait()
	for _, p := range programs {
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	}
	must(t, w.d.Stop(ctx))
	if log, err := exec.Command(filepath.Join(root(t), "build", "sallyport"), "journal", "verify", filepath.Join(w.lab.State(), "journal")).CombinedOutput(); err != nil {
		t.Errorf("verify: %v: %s", err, log)
	}

	asked, open, cut := recorded(t, filepath.Join(w.lab.State(), "journal"))
	for _, r := range w.fake.Requests() {
		if !asked[r.BodySHA256] {
			t.Errorf("the provider was asked (%s, %d bytes), and there is no record of it", r.Path, r.BodyBytes)
		}
	}
	if len(open) > 0 {
		t.Errorf("%d exchanges have no outcome", len(open))
	}
	out.mu.Lock()
	got := out.b.String()
	out.mu.Unlock()
	for _, secret := range []string{fakellm.LeakedKey(), fakellm.LeakedKey()[:16], fakellm.LeakedEmail()} {
		if strings.Contains(got, secret) {
			t.Errorf("a program has read %.4s…, which should be masked", secret)
		}
	}
	if strings.Count(got, "[EMAIL]") < rounds {
		t.Errorf("the programs got next to nothing: %.2000s", got)
	}
	t.Logf("%d kills; the provider was asked %d times, %d on record, %d of them cut", rounds, len(w.fake.Requests()), len(asked), cut)
}

// recorded reads a journal: the digests of all requests, the exchanges without an end, and how many were cut.
func recorded(t *testing.T, dir string) (asked, open map[string]bool, cut int) {
	t.Helper()
	r, err := journal.OpenReader(dir, pipeline.Position{})
	must(t, err)
	defer r.Close()
	asked, open = map[string]bool{}, map[string]bool{}
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return asked, open, cut
		}
		must(t, err)
		switch e.Kind {
		case pipeline.KindIntent:
			var in pipeline.Intent
			must(t, e.Decode(&in))
			asked[in.Digest()] = true
			open[e.Exchange] = true
		case pipeline.KindOutcome:
			var o pipeline.Outcome
			must(t, e.Decode(&o))
			delete(open, e.Exchange)
			if o.Cut != "" {
				cut++
			}
		}
	}
}
