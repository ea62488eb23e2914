// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bufio"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestProviderDies ends all connections of the provider at random points of chats and streams. What a program takes for an
// answer is a whole one; the rest are errors, and each exchange has an end on record. FAULT_ROUNDS says how often (20).
func TestProviderDies(t *testing.T) {
	rounds := 20
	if n, err := strconv.Atoi(os.Getenv("FAULT_ROUNDS")); err == nil && n > 0 {
		rounds = n
	}
	w := newWorld(t, "")
	ctx := t.Context()
	stop := filepath.Join(filepath.Dir(w.d.Config), "stop")
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
	read := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(first)
		read <- string(b)
	}()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		<-time.After(time.Duration(rnd.IntN(150)) * time.Millisecond)
		w.fake.Drop()
	}
	<-time.After(300 * time.Millisecond)
	must(t, os.WriteFile(stop, nil, 0o644))
	got := <-read
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	answers, failed := map[string]int{}, 0
	for line := range strings.Lines(strings.TrimSpace(got)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "fine "):
		case strings.Contains(line, "Error"):
			failed++
		default:
			answers[line]++
		}
	}
	if len(answers) != 1 {
		t.Errorf("the same question was answered in %d ways: %v", len(answers), answers)
	}
	must(t, w.d.Stop(ctx))
	asked, open, cut := recorded(t, filepath.Join(w.lab.State(), "journal"))
	for _, r := range w.fake.Requests() {
		if !asked[r.BodySHA256] {
			t.Errorf("the provider was asked (%s, %d bytes), and there is no record of it", r.Path, r.BodyBytes)
		}
	}
	if len(open) > 0 {
		t.Errorf("%d exchanges have no outcome", len(open))
	}
	if failed == 0 || cut == 0 {
		t.Errorf("nothing was hit: %d failed, %d cut", failed, cut)
	}
	t.Logf("%d times; asked %d, %d failed, %d cut, answers %v", rounds, len(asked), failed, cut, answers)
}

// TestNoDescriptors leaves the daemon without file descriptors while programs ask. Nothing goes direct, and once there are
// descriptors again everything works as before.
func TestNoDescriptors(t *testing.T) {
	w := newWorld(t, "")
	if out := w.run(w.app(enforced, "current", "plain.py", "say: before")); out != "before\n" {
		t.Fatalf("%q", out)
	}
	pid := w.d.PID()
	var old unix.Rlimit
	must(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &old))
	for tries := 1; ; tries++ { // one may come free after they were counted
		open, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/fd")
		must(t, err)
		must(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(len(open)), Max: old.Max}, nil))
		asked := len(w.fake.Requests())
		out, _, err := w.lab.Run(t.Context(), w.app(enforced, "current", "impatient.py", "say: during"))
		if err != nil || !strings.Contains(out, "during") {
			if n := len(w.fake.Requests()); n != asked {
				t.Errorf("the provider was asked %d times by nobody on record", n-asked)
			}
			break
		}
		if tries == 20 {
			t.Fatal("without descriptors everything is answered")
		}
	}
	if !w.logged("too many open files") {
		t.Errorf("the log does not say what is missing: %.2000s", w.d.Log())
	}
	if n := strings.Count(w.d.Log(), "too many open files"); n > 100 {
		t.Errorf("the log says it %d times", n)
	}
	must(t, unix.Prlimit(pid, unix.RLIMIT_NOFILE, &old, nil))
	if out := w.run(w.app(enforced, "current", "plain.py", "say: after")); out != "after\n" {
		t.Errorf("%q", out)
	}
	known := map[string]bool{}
	for _, e := range w.exchanges() {
		known[e.ExchangeID] = true
	}
	if n := len(w.fake.Requests()); n > len(known) {
		t.Errorf("the provider was asked %d times, %d are on record", n, len(known))
	}
}
