// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

func TestMemory(t *testing.T) {
	kept := bytes.Join([][]byte{make([]byte, 4<<20), []byte("langchain_core"), []byte(".runnables"), []byte(".base"), make([]byte, 4<<20)}, nil)
	if !(process{"/proc", uint32(os.Getpid())}).remembers(t.Context()) {
		t.Error("our own memory holds the name, and it was not found")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if (process{"/proc", uint32(os.Getpid())}).remembers(ctx) {
		t.Error("it goes on although nobody waits")
	}
	runtime.KeepAlive(kept)

	other := exec.Command("/bin/sh", "-c", "read x")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	if (process{"/proc", uint32(other.Process.Pid)}).remembers(t.Context()) {
		t.Error("the memory of a shell holds the name")
	}
	in.Close()
	if err := other.Wait(); err != nil && other.ProcessState.ExitCode() != 1 { // read ends with 1 at the end of its input
		t.Error(err)
	}
}

// TestMemoryOptIn: memory is searched only where that was asked for, and of a program that has just started only later.
func TestMemoryOptIn(t *testing.T) {
	p := newProc(t, "srv/app", []string{"app"}, "", nil)
	asked := 0
	o := Options{Memory: func(uint32, uint64) bool { asked++; return true }}
	got, d := p.found(o, true)
	if len(got) != 0 || asked != 1 || len(d.later) != 1 {
		t.Errorf("got %+v, asked %d times, %d for later", got, asked, len(d.later))
	}
	if due := d.dueNow(); len(due) != 0 {
		t.Errorf("due at once: %+v", due)
	}
	d.later[0].due = time.Now()
	if due := d.dueNow(); len(due) != 1 || due[0].fresh || len(d.later) != 0 {
		t.Errorf("due: %+v", due)
	}
	if _, d := p.found(Options{}, true); len(d.later) != 0 {
		t.Error("it is searched although nobody asked")
	}
}

func TestPrivate(t *testing.T) {
	for line, want := range map[string]bool{
		"7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ":                 true,
		"c000000000-c000400000 rw-p 00000000 00:00 0 [anon: Go: heap]":     true,
		"55d000000000-55d000001000 rw-p 00000000 00:00 0          [heap]":  true,
		"7ffc00000000-7ffc00001000 rw-p 00000000 00:00 0          [stack]": false,
		"7f0000000000-7f0000001000 r--p 00000000 00:00 0 ":                 false,
		"7f0000000000-7f0000001000 rw-p 00000000 08:01 12 /lib/libc.so":    false,
		"": false, "x rw-p 0 0 0": false,
	} {
		if _, _, ok := private(line); ok != want {
			t.Errorf("%q: %v", line, ok)
		}
	}
}
