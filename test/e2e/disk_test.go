// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDiskFull takes the disk from under the journal while programs ask. What cannot be recorded is refused before it
// reaches the provider, with the reason; with room again the daemon goes on, and no exchange is lost.
func TestDiskFull(t *testing.T) {
	w := newWorld(t, "")
	must(t, w.d.Stop(t.Context()))
	w.conf = strings.Replace(w.conf, "max_bytes: 1GiB", "max_bytes: 64MiB", 1)
	disk := filepath.Join(w.lab.State(), "journal")
	must(t, os.RemoveAll(disk))
	must(t, os.Mkdir(disk, 0o700))
	must(t, unix.Mount("full-disk", disk, "tmpfs", 0, "size=40m,mode=0700"))
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w.start()
	if out := w.run(w.app(enforced, "current", "plain.py", "say: before")); out != "before\n" {
		t.Fatalf("%q", out)
	}
	ballast := filepath.Join(disk, "not-ours")
	useUp(t, ballast)

	out := w.run(w.app(enforced, "current", "fill.py", "200", "512"))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, "Error") || !strings.Contains(last, "journal") {
		t.Fatalf("%d questions of 512 KiB on a full disk; the last one got %.300q", len(lines), last)
	}
	asked := len(w.fake.Requests())
	for range 3 { // and each one after that
		if out := w.run(w.app(enforced, "current", "fill.py", "1", "1")); !strings.Contains(out, "Error") {
			t.Errorf("%q", out)
		}
	}
	if n := len(w.fake.Requests()); n != asked {
		t.Errorf("the provider was asked %d times by nobody on record", n-asked)
	}

	must(t, os.Remove(ballast))
	for end := time.Now().Add(90 * time.Second); ; {
		out := w.run(w.app(enforced, "current", "fill.py", "1", "1"))
		if out == "0\n" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("there is room, and still: %q", out)
		}
	}
	must(t, w.d.Stop(t.Context()))
	known, open, _ := recorded(t, disk)
	for _, r := range w.fake.Requests() {
		if !known[r.BodySHA256] {
			t.Errorf("the provider was asked (%s, %d bytes), and there is no record of it", r.Path, r.BodyBytes)
		}
	}
	if len(open) > 0 {
		t.Errorf("%d exchanges have no outcome", len(open))
	}
	t.Logf("%d questions until the disk was full; the last one got %s", len(lines)-1, lines[len(lines)-1])
}

// useUp writes a file until the disk holds no more.
func useUp(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	must(t, err)
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
}
