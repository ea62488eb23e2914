// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent"
)

// host is a kernel and a server that note what they are told. Entering namespaces needs root: test/kernel.
type host struct {
	served map[uint64]bool
	asked  []uint32
}

func (h *host) TagListener(*net.TCPListener) error { return nil }
func (h *host) Served(n uint64, is bool) error     { h.served[n] = is; return nil }
func (h *host) Attend(*net.TCPListener) error      { return nil }
func (h *host) Dismiss(*net.TCPListener)           {}
func (h *host) Forget(uint64)                      {}

func spaces(t *testing.T, max int, proc string) (*Spaces, *host, *strings.Builder) {
	t.Helper()
	h, log := &host{served: map[uint64]bool{}}, &strings.Builder{}
	s, err := New(Options{Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, Max: max, Kernel: h, Server: h, ProcRoot: proc,
		Wanted: func(pid uint32) bool { h.asked = append(h.asked, pid); return pid != 3 }, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s, h, log
}

// proc is a proc file system in which each process has one thread, and a file for its namespace.
func proc(t *testing.T, namespaces map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for pid, ns := range namespaces {
		dir := filepath.Join(root, pid, "task", pid, "ns")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(ns, filepath.Join(dir, "net")); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestHome(t *testing.T) {
	s, h, log := spaces(t, 10, proc(t, map[string]string{"2": "/proc/self/ns/net", "self": "/proc/self/ns/net"}))
	if err := errors.Join(s.Begin(), s.Scan()); err != nil {
		t.Fatal(err)
	}
	s.Look(2)
	s.Ask(agent.NetNSAsk{NetNS: s.Own(), TGID: 2, TID: 2, Why: agent.NetNSScope})
	if here, err := Here(); err != nil || here != s.Own() || !h.served[here] {
		t.Errorf("home is %d, %v, served %v", here, err, h.served)
	}
	if st := s.Stats(); st != (Stats{}) || len(h.asked) != 0 || log.Len() != 0 {
		t.Errorf("%+v, asked %v, logged %q", st, h.asked, log)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := s.Dial(context.Background(), agent.Conn{Orig: l.Addr().(*net.TCPAddr).AddrPort(), Proc: agent.Process{NetNS: s.Own()}})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	s.Adopt([]*net.TCPListener{l.(*net.TCPListener)}) // of an address of the old configuration
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a listener that is not needed is open: %v", err)
	}
}

func TestDialUnknown(t *testing.T) {
	s, _, _ := spaces(t, 10, "")
	_, err := s.Dial(context.Background(), agent.Conn{Orig: netip.MustParseAddrPort("127.0.0.1:1"), Proc: agent.Process{NetNS: 77}})
	var gone *GoneError
	if !errors.As(err, &gone) || gone.NetNS != 77 || !strings.Contains(err.Error(), "cookie 77") {
		t.Errorf("%v", err)
	}
}

// A question whose thread is somewhere else, or has ended, changes nothing.
func TestAsk(t *testing.T) {
	s, h, log := spaces(t, 10, proc(t, map[string]string{"2": "/proc/self/ns/net"}))
	s.Ask(agent.NetNSAsk{NetNS: 77, TGID: 9, TID: 9, Why: agent.NetNSConnect})
	s.Ask(agent.NetNSAsk{NetNS: 77, TGID: 3, TID: 3, Why: agent.NetNSPending}) // not wanted
	if st := s.Stats(); st != (Stats{}) || log.Len() != 0 || len(h.asked) != 1 {
		t.Errorf("%+v, logged %q, asked %v", st, log, h.asked)
	}
	for range 3 {
		s.Ask(agent.NetNSAsk{NetNS: 77, TGID: 2, TID: 2, Why: agent.NetNSConnect})
	}
	if strings.Count(log.String(), "made in another network namespace") != 1 {
		t.Errorf("logged %q", log)
	}
}

// With no room, a namespace is refused before it is entered.
func TestNoRoom(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other") // any file that is not our namespace
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s, h, log := spaces(t, 0, proc(t, map[string]string{"2": other, "3": other, "4": other}))
	if err := s.Scan(); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Refused != 2 || len(h.asked) != 3 || strings.Count(log.String(), "raise proxy.max_namespaces") != 1 {
		t.Errorf("%+v, asked %v, logged %q", st, h.asked, log)
	}
}
