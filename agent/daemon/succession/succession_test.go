// SPDX-License-Identifier: Apache-2.0

package succession

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// role makes this test binary the successor.
const role = "SUCCESSION_TEST_ROLE"

func TestMain(m *testing.M) {
	if r := os.Getenv(role); r != "" {
		if err := succeed(r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// succeed plays a successor; the role says where it goes wrong.
func succeed(r string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if r == "deaf" {
		return nil
	}
	p, err := Inherit(ctx)
	if err != nil {
		return err
	}
	if os.Getenv(variable) != "" {
		return errors.New("the variable is left for children")
	}
	switch r {
	case "rude":
		return p.line.send("make way")
	case "breaks before prepared":
		return errors.New("the new configuration is wrong")
	case "hangs before prepared":
		<-ctx.Done()
		return nil
	}
	if err := p.Prepared(ctx); err != nil {
		return err
	}
	switch r {
	case "breaks after go":
		return errors.New("the programs do not load")
	case "gives up after go":
		if err := p.Failed(); err != nil {
			return err
		}
		_, err := os.Stdin.Read(make([]byte, 1)) // ends what it had begun
		return err
	case "hangs after go":
		<-ctx.Done()
		return nil
	}
	if err := p.Ready(ctx); err != nil {
		return err
	}
	if r == "serves" {
		n := len(p.sockets)
		l, err := p.Take(netip.MustParseAddrPort(os.Getenv(role + "_AT")))
		if err != nil {
			return err
		}
		c, err := l.Accept()
		if err != nil {
			return err
		}
		u, err := p.TakeAdmin()
		if err != nil {
			return err
		}
		a, err := u.Accept()
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(a, p.PIDs, p.Left(), n)
		return errors.Join(err, a.Close(), c.Close())
	}
	return p.Close()
}

// sockets are two listeners of TCP and one of the admin API, and their files.
func sockets(t *testing.T) (address, admin string, o Offer) {
	t.Helper()
	for range 2 {
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		address = l.Addr().String()
		l.Close()
		t.Cleanup(func() { f.Close() })
		o.Listeners = append([]*os.File{f}, o.Listeners...)
	}
	dir, err := os.MkdirTemp("", "succession")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	admin = filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: admin})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if o.Admin, err = l.File(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	t.Cleanup(func() { o.Admin.Close() })
	o.PIDs = []int{os.Getpid()}
	return address, admin, o
}

func start(t *testing.T, r string, o Offer) *Successor {
	t.Helper()
	t.Setenv(role, r)
	t.Setenv("LISTEN_PID", "1")
	s, err := Start(os.Args[0], []string{"-test.run=^$"}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The successor accepts on the sockets that this process held, and is not ended with it.
func TestTakesOver(t *testing.T) {
	address, admin, o := sockets(t)
	t.Setenv(role+"_AT", address)
	s := start(t, "serves", o)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Prepared(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", address) // nobody accepts now: it waits in the queue
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := s.Go(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Lead(); err != nil {
		t.Fatal(err)
	}
	a, err := net.Dial("unix", admin)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(a)
	if want := fmt.Sprint(o.PIDs, o.PIDs, 2); err != nil || string(got) != want {
		t.Errorf("%q, %v: want %q", got, err, want)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
	<-s.done
	if s.err != nil {
		t.Errorf("it ended with %v", s.err)
	}
}

// Wherever it goes wrong, the predecessor hears of it and nothing is left of the successor.
func TestSuccessorThatFails(t *testing.T) {
	for _, c := range []struct {
		role     string
		prepared string // part of the error; "" = fine
		ready    string
	}{
		{"deaf", "gone", ""},
		{"rude", `said "make way"`, ""},
		{"breaks before prepared", "exit status 3", ""},
		{"hangs before prepared", "deadline", ""},
		{"breaks after go", "", "exit status 3"},
		{"hangs after go", "", "deadline"},
		{"gives up after go", "", "failed to take over"},
	} {
		t.Run(c.role, func(t *testing.T) {
			_, _, o := sockets(t)
			s := start(t, c.role, o)
			wait := 20 * time.Second
			if strings.HasPrefix(c.role, "hangs") {
				wait = 300 * time.Millisecond
			}
			try := func(do func(context.Context) error, want string) bool {
				ctx, cancel := context.WithTimeout(context.Background(), wait)
				defer cancel()
				err := do(ctx)
				if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
				return err == nil
			}
			if c.prepared == "" && strings.HasPrefix(c.role, "hangs") {
				wait = 20 * time.Second
			}
			if try(s.Prepared, c.prepared) {
				if strings.HasPrefix(c.role, "hangs") {
					wait = 300 * time.Millisecond
				}
				try(s.Go, c.ready)
			}
			if err := s.Kill(); err != nil {
				t.Error(err)
			}
			if err := unix.Kill(s.PID(), 0); !errors.Is(err, unix.ESRCH) {
				t.Errorf("process %d is still there: %v", s.PID(), err)
			}
		})
	}
}

func TestStartNothing(t *testing.T) {
	if _, err := Start(filepath.Join(t.TempDir(), "none"), nil, Offer{PIDs: []int{1}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
