// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPeerCredentials(t *testing.T) {
	s, _ := start(t, &fakeDaemon{}, 0)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	ln, err := listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	p := got.(*peerConn)
	if int(p.cred.Pid) != os.Getpid() || int(p.cred.Uid) != os.Geteuid() {
		t.Errorf("peer is %+v", p.cred)
	}
	if err := p.alive(); err != nil {
		t.Errorf("we are alive: %v", err)
	}
	p.Close()
	if err := p.Close(); err == nil {
		t.Error("a second Close says nothing")
	}
	if err := p.alive(); !errors.Is(err, errPeerGone) {
		t.Errorf("after Close: %v", err)
	}
	if ln.total != 0 || len(ln.open) != 0 {
		t.Errorf("still counted: %v", ln.open)
	}
}

// A peer that has ended is nobody, whatever its pid says now.
func TestPeerEnded(t *testing.T) {
	s, _ := start(t, &fakeDaemon{}, 0)
	child := exec.Command("/bin/cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(child.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := &peerConn{cred: &unix.Ucred{Pid: int32(child.Process.Pid), Uid: 0}, pidfd: fd}
	defer unix.Close(fd)
	if _, err := s.admit(p, operator); err != nil {
		t.Errorf("alive: %v", err)
	}
	in.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, need := range []access{operator, anyone, self} {
		if _, err := s.admit(p, need); err == nil {
			t.Errorf("access %d granted to a process that has ended", need)
		}
	}
	t.Run("pid taken by another", func(t *testing.T) {
		p := &peerConn{cred: &unix.Ucred{Pid: int32(os.Getpid()), Uid: 0}, pidfd: fd}
		for _, need := range []access{operator, anyone, self} {
			if _, err := s.admit(p, need); err == nil {
				t.Errorf("access %d granted", need)
			}
		}
	})
	t.Run("pid not visible", func(t *testing.T) {
		p := &peerConn{cred: &unix.Ucred{Uid: 0}, pidfd: -1}
		for _, need := range []access{operator, self} {
			if _, err := s.admit(p, need); err == nil || !strings.Contains(err.Error(), "not visible") {
				t.Errorf("access %d: %v", need, err)
			}
		}
		if c, err := s.admit(p, anyone); err != nil || c.operator {
			t.Errorf("why: %+v, %v", c, err)
		}
	})
}

func TestConnectionLimit(t *testing.T) {
	l := &peerListener{open: map[uint32]int{}}
	for range maxConnsPerUID {
		if !l.take(1000) {
			t.Fatal("refused below the limit")
		}
	}
	if l.take(1000) {
		t.Error("one uid may hold more than its share")
	}
	if !l.take(1001) || !l.take(0) {
		t.Error("one uid shuts others out")
	}
	l.give(1000)
	if !l.take(1000) {
		t.Error("refused after one was given back")
	}
	for uid := uint32(2000); l.take(uid); uid++ {
	}
	if l.total != maxConns {
		t.Errorf("%d connections in all, want %d", l.total, maxConns)
	}
	if !l.take(0) {
		t.Error("root is shut out when the server is full")
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "admin.sock")
	s, err := New(Options{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o666 {
		t.Errorf("socket: %v, %v", st, err)
	}
	_, err = New(Options{Socket: path})
	if err == nil || !strings.Contains(err.Error(), "another sallyportd runs") {
		t.Errorf("second server: %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket left behind: %v", err)
	}

	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false) // what a killed daemon leaves
	ln.Close()
	s, err = New(Options{Socket: path})
	if err != nil {
		t.Fatalf("stale socket: %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"no socket": file, "relative": "admin.sock", "long": "/" + strings.Repeat("x", 100)} {
		if _, err := New(Options{Socket: bad}); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if raw, err := os.ReadFile(file); err != nil || string(raw) != "precious" {
		t.Errorf("the file was touched: %q, %v", raw, err)
	}
}

func TestShutdown(t *testing.T) {
	t.Run("waits", func(t *testing.T) {
		f := &fakeDaemon{block: make(chan struct{}), entered: make(chan struct{}, 1)}
		s, c := start(t, f, 0)
		got := make(chan error, 1)
		go func() { _, err := c.Status(context.Background()); got <- err }()
		<-f.entered
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(context.Background()) }()
		close(f.block)
		if err := <-got; err != nil {
			t.Errorf("the running request was cut: %v", err)
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	t.Run("cuts at the deadline", func(t *testing.T) {
		f := &fakeDaemon{block: make(chan struct{}), entered: make(chan struct{}, 1)}
		s, c := start(t, f, 0)
		got := make(chan error, 1)
		go func() { _, err := c.Status(context.Background()); got <- err }()
		<-f.entered
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-got; err == nil {
			t.Error("the request was answered")
		}
	})
}

func TestParseStat(t *testing.T) {
	rest := " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21"
	for _, c := range []struct {
		name, in, comm string
		start          uint64
	}{
		{"plain", "7 (cat)" + rest, "cat", 4242 * tick},
		{"hostile name", "7 (a) S 1 2 3 (b)" + rest, "a) S 1 2 3 (b", 4242 * tick},
		{"empty name", "7 ()" + rest, "", 4242 * tick},
		{"short", "7 (cat) S 1", "", 0},
		{"no name", "7" + rest, "", 0},
		{"backwards", "7 )cat(" + rest, "", 0},
		{"no number", "7 (cat) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x 20", "", 0},
		{"too large", "7 (cat) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 18446744073709551615 20", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			comm, start, err := parseStat(c.in)
			if comm != c.comm || start != c.start || (err == nil) != (c.start != 0) {
				t.Errorf("got %q, %d, %v", comm, start, err)
			}
		})
	}
	comm, start, err := readStat(uint32(os.Getpid()))
	if err != nil || comm == "" || start == 0 {
		t.Errorf("our own: %q, %d, %v", comm, start, err)
	}
}
