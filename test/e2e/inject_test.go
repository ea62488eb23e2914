// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/bpf"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// hurtable is a world whose daemon can be made to fail; it is not running yet. Its journal syncs with fdatasync throughout.
func hurtable(t *testing.T) (*world, *lab.Faults) {
	t.Helper()
	w := newWorld(t, "")
	must(t, w.d.Stop(t.Context()))
	f, err := lab.NewFaults(filepath.Dir(w.d.Config))
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	f.Fail(lab.AIO, unix.ENOSYS, nil)
	w.lab.Faults = f
	return w, f
}

// verified stops the daemon and checks that the record is whole: it verifies, whatever the provider was asked is in it, and each
// exchange has an end.
func (w *world) verified() {
	w.t.Helper()
	must(w.t, w.d.Stop(w.t.Context()))
	dir := filepath.Join(w.lab.State(), "journal")
	if log, err := exec.Command(filepath.Join(root(w.t), "build", "sallyport"), "journal", "verify", dir).CombinedOutput(); err != nil {
		w.t.Errorf("verify: %v: %s", err, log)
	}
	asked, open, _ := recorded(w.t, dir)
	for _, r := range w.fake.Requests() {
		if !asked[r.BodySHA256] {
			w.t.Errorf("the provider was asked (%s, %d bytes), and there is no record of it", r.Path, r.BodyBytes)
		}
	}
	if len(open) > 0 {
		w.t.Errorf("%d exchanges have no outcome", len(open))
	}
}

// TestSyncFails makes fdatasync fail under the running daemon, once: what may not be on disk is not asked, and neither is
// anything after it, although the disk works again. A new daemon finds the record whole.
func TestSyncFails(t *testing.T) {
	w, f := hurtable(t)
	w.start()
	if out := w.run(w.app(enforced, "current", "plain.py", "say: before")); out != "before\n" {
		t.Fatalf("%q", out)
	}
	asked := len(w.fake.Requests())
	once := true // the filter asks one after the other
	f.Fail(lab.Fdatasync, unix.EIO, func(lab.Call) bool {
		was := once
		once = false
		return was
	})
	for _, why := range []string{"while it fails", "though it works again"} {
		_, errOut, err := w.lab.Run(t.Context(), w.app(enforced, "current", "plain.py", "leak a key"))
		if err == nil || !strings.Contains(errOut, "builtin/unavailable") || !strings.Contains(errOut, "journal") {
			t.Errorf("%s: %v %q", why, err, errOut)
		}
	}
	if n := f.Failed(lab.Fdatasync); n != 1 {
		t.Errorf("%d syncs failed", n)
	}
	if n := len(w.fake.Requests()); n != asked {
		t.Errorf("the provider was asked %d times by nobody on record", n-asked)
	}
	var st struct{ Journal struct{ Error string } }
	w.json(&st, "status", "-o", "json")
	if !strings.Contains(st.Journal.Error, "input/output error") && !w.logged("input/output error") {
		t.Errorf("neither status (%+v) nor the log says what is wrong: %.2000s", st, w.d.Log())
	}
	if err := w.d.Stop(t.Context()); err == nil {
		t.Error("the daemon ends as if all were well")
	}
	f.Mend()
	w.start()
	if out := w.run(w.app(enforced, "current", "plain.py", "say: after")); out != "after\n" {
		t.Errorf("%q", out)
	}
	w.verified()
}

// TestNoMemoryForMaps: without memory for its maps the daemon does not start, says why, and leaves nothing in the kernel; if it
// is the map of connections that has no room, an enforcing scope is refused and the provider not asked, until there is room.
func TestNoMemoryForMaps(t *testing.T) {
	w, f := hurtable(t)
	clean := exec.Command(filepath.Join(root(t), "build", "sallyportd"), "uninstall", "--pin-dir", w.lab.PinDir(), "--ledger", filepath.Join(w.lab.State(), "trust.ledger"))
	if out, err := clean.CombinedOutput(); err != nil {
		t.Fatalf("uninstall: %v: %s", err, out)
	}
	f.Fail(lab.BPF, unix.ENOMEM, func(c lab.Call) bool {
		attr := make([]byte, 16) // of bpf(2): type, sizes of key and value, number of entries
		return c.Args[0] == unix.BPF_MAP_CREATE && c.Read(c.Args[1], attr) == nil && binary.NativeEndian.Uint32(attr[12:]) > 1000
	})
	if _, err := w.lab.StartDaemon(t.Context(), w.conf); err == nil || !strings.Contains(err.Error(), "cannot allocate memory") {
		t.Errorf("without memory for a map it started: %v", err)
	}
	if f.Failed(lab.BPF) == 0 {
		t.Error("no map was refused")
	}
	if entries, err := os.ReadDir(w.lab.PinDir()); err == nil {
		t.Errorf("left in the kernel: %v", entries)
	}
	f.Mend()
	w.start()
	if out := w.run(w.app(enforced, "current", "plain.py", "say: before")); out != "before\n" {
		t.Fatalf("%q", out)
	}

	conns, err := ebpf.LoadPinnedMap(filepath.Join(w.lab.PinDir(), bpf.RedirectMapConns), nil)
	must(t, err)
	defer conns.Close()
	keys, values := make([]bpf.RedirectFlowKey, conns.MaxEntries()), make([]bpf.RedirectConn, conns.MaxEntries())
	for i := range keys {
		keys[i].Netns = ^uint64(i)
	}
	_, err = conns.BatchUpdate(keys, values, nil)
	must(t, err)
	asked := len(w.fake.Requests())
	for range 3 {
		if out, _, err := w.lab.Run(t.Context(), w.app(enforced, "current", "impatient.py", "leak a key")); err == nil {
			t.Errorf("with no room for records it was answered: %q", out)
		}
	}
	if code := connectError(t, w, observed); code != "0" {
		t.Errorf("connect in the observing scope gave errno %q, want 0: it fails open", code)
	}
	if n := len(w.fake.Requests()); n != asked {
		t.Errorf("the provider was asked %d times by nobody on record", n-asked)
	}
	_, err = conns.BatchDelete(keys, nil)
	must(t, err)
	for end := time.Now().Add(90 * time.Second); ; {
		if out, _, err := w.lab.Run(t.Context(), w.app(enforced, "current", "impatient.py", "say: after")); err == nil && out == "after\n" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("there is room again, and still nothing is answered")
		}
	}
	w.verified()
}

// TestClockJumps sets the wall clock of daemon and programs 20 hours ahead and back again, while they ask: certificates stay
// valid, nothing is lost, the record verifies, and listings show all of it.
func TestClockJumps(t *testing.T) {
	w, f := hurtable(t)
	w.start()
	app := func(prompt string) lab.App {
		a := w.app(enforced, "current", "plain.py", prompt)
		a.Faulty = true
		return a
	}
	n := 0
	ask := func(where string) {
		t.Helper()
		n++
		if out := w.run(app("leak a key")); !strings.Contains(out, "[EMAIL]") {
			t.Errorf("%s: %q", where, out)
		}
	}
	before := f.Asked()
	ask("before")
	if f.Asked() == before {
		t.Fatal("nobody asked for the time: the clock cannot be set")
	}
	stream := w.stream("pace 20ms long 100")
	f.Jump(20 * time.Hour)
	ask("20 hours ahead")
	if got := <-stream; got[1] != "" {
		t.Errorf("the stream across the jump: %q", got)
	}
	n++
	must(t, w.d.Stop(t.Context()))
	w.start()
	ask("ahead, after a restart")
	f.Jump(0)
	ask("back")
	f.Jump(-10 * time.Minute)
	ask("ten minutes behind")
	must(t, w.d.Kill())
	w.start()
	ask("behind, after a kill")
	all := w.exchanges()
	if len(all) != n {
		t.Errorf("%d exchanges are listed, want %d", len(all), n)
	}
	w.verified()
	first, last := span(t, filepath.Join(w.lab.State(), "journal"))
	if last.Sub(first) < 19*time.Hour {
		t.Errorf("the record goes from %s to %s: the daemon's clock was not set", first, last)
	}
}

// span is when the earliest and the latest record of a journal say that they were made.
func span(t *testing.T, dir string) (first, last time.Time) {
	t.Helper()
	r, err := journal.OpenReader(dir, pipeline.Position{})
	must(t, err)
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return first, last
		}
		must(t, err)
		if first.IsZero() || e.Time.Before(first) {
			first = e.Time
		}
		if e.Time.After(last) {
			last = e.Time
		}
	}
}

// TestOtherClocks: in a time namespace, whose monotonic clock is not the kernel programs', the daemon does not start.
func TestOtherClocks(t *testing.T) {
	w := newWorld(t, "")
	must(t, w.d.Stop(t.Context()))
	for _, clock := range []string{"--monotonic", "--boottime"} {
		cmd := exec.CommandContext(t.Context(), "unshare", "--time", clock, "3600", filepath.Join(root(t), "build", "sallyportd"), "--config", w.d.Config)
		cmd.Env = []string{}
		timer := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
		out, err := cmd.CombinedOutput()
		timer.Stop()
		if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "time namespace") {
			t.Errorf("%s: ended with %v: %s", clock, err, out)
		}
	}
	if code := connectError(t, w, enforced); code != "111" {
		t.Errorf("connect in the enforcing scope gave errno %q, want 111", code)
	}
}
