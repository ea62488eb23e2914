// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sallyport-dev/sallyport/test/lab"
)

// space makes a network namespace as a container has one.
func (w *world) space(n int) *lab.Space {
	w.t.Helper()
	s, err := w.lab.NewSpace(n)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { must(w.t, s.Close()) })
	return s
}

// until waits for something.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestOtherNamespace runs real programs, unmodified, in a network namespace of their own.
func TestOtherNamespace(t *testing.T) {
	w := newWorld(t, "")
	s := w.space(0)
	for _, venv := range generations {
		t.Run(venv, func(t *testing.T) {
			a := w.app(enforced, venv, "plain.py", "say: good morning")
			a.NetNS = s.Path()
			if out := w.run(a); out != "good morning\n" {
				t.Errorf("got %q", out)
			}
		})
	}
	t.Run("marked alone", func(t *testing.T) {
		a := w.app(marked, "current", "plain.py", "say: hello")
		a.NetNS = w.space(1).Path()
		a.Mounts = map[string]string{"/etc/ssl/certs/ca-certificates.crt": filepath.Join(filepath.Dir(w.d.Config), "fake-ca.pem")} // relayed unread: discover
		before := w.status(t).Flows.Passed
		if out := w.run(a); out != "hello\n" {
			t.Errorf("got %q", out)
		}
		if after := w.status(t).Flows.Passed; after == before {
			t.Error("it went direct")
		}
	})
	t.Run("a route that denies", func(t *testing.T) {
		s := w.space(2)
		dst, err := netlink.ParseIPNet(w.lab.Fake.String() + "/32")
		must(t, err)
		must(t, s.Netlink().RouteAdd(&netlink.Route{Dst: dst, Type: syscall.RTN_PROHIBIT}))
		before := len(w.fake.Requests())
		a := w.app(enforced, "current", "plain.py", "say: hello")
		a.NetNS = s.Path()
		if out, _, err := w.lab.Run(t.Context(), a); err == nil {
			t.Errorf("the host's routes were used: %q", out)
		}
		if after := len(w.fake.Requests()); after != before {
			t.Errorf("%d requests reached the provider", after-before)
		}
	})
	for _, x := range w.exchanges() {
		if x.Response.Text == "good morning" && (x.Workload.Unit != enforced || !x.Verdict.Enforced || x.Verdict.Action != "allow") {
			t.Errorf("%+v", x)
		}
	}
	if s := w.status(t); s.Flows.Missed != 0 || s.Coverage.Unexplained != 0 {
		t.Errorf("%+v", s)
	}
}

// TestNamespacesEnd makes and ends 200 namespaces with a program in each that connects at once. Nothing goes direct, and
// nothing is left of them in the daemon or the kernel.
func TestNamespacesEnd(t *testing.T) {
	const all, atOnce = 200, 20
	w := newWorld(t, "")
	held := func() (n int) { // namespaces and sockets; Go keeps pipes for later
		dir := fmt.Sprintf("/proc/%d/fd", w.d.PID())
		e, err := os.ReadDir(dir)
		must(t, err)
		for _, x := range e {
			if to, err := os.Readlink(filepath.Join(dir, x.Name())); err == nil && (strings.HasPrefix(to, "net:") || strings.HasPrefix(to, "socket:")) {
				n++
			}
		}
		return n
	}
	before := held()
	gates := func() (n int) {
		must(t, w.lab.Do(func() error {
			links, err := netlink.LinkList()
			for errors.Is(err, netlink.ErrDumpInterrupted) { // a link came or went meanwhile
				links, err = netlink.LinkList()
			}
			for _, l := range links {
				if strings.HasPrefix(l.Attrs().Name, "gate") {
					n++
				}
			}
			return err
		}))
		return n
	}
	script := `exec 3<>/dev/tcp/` + w.lab.Fake.String() + `/443 || exit 7; printf 'GET / HTTP/1.0\r\n\r\n' >&3; read -r -n 1 -u 3 a; echo "$a"`
	refused := 0
	for done := 0; done < all; done += atOnce {
		var spaces []*lab.Space
		type result struct{ out, errOut string }
		results := make(chan result, atOnce)
		for i := range atOnce {
			s, err := w.lab.NewSpace(i)
			must(t, err)
			spaces = append(spaces, s)
			go func() {
				out, errOut, _ := w.lab.Run(t.Context(), lab.App{Cgroup: enforced, NetNS: s.Path(), Args: []string{"/bin/bash", "-c", script}, Shared: true})
				results <- result{out, errOut}
			}()
		}
		for range atOnce {
			r := <-results
			switch {
			case strings.Contains(r.errOut, "Connection refused"):
				refused++
			case strings.TrimSpace(r.out) != "":
				t.Errorf("a connection went direct: %q", r.out)
			}
		}
		for _, s := range spaces {
			must(t, s.Close())
		}
		until(t, "the namespaces to end", func() bool { return gates() == 0 })
	}
	t.Logf("%d of %d programs that connect at once were refused", refused, all)
	until(t, "the daemon's descriptors to be closed", func() bool { return held() <= before })
	if n := len(w.fake.Requests()); n != 0 {
		t.Errorf("%d requests reached the provider", n)
	}
	out := w.run(w.app(enforced, "current", "plain.py", "say: still here"))
	if out != "still here\n" {
		t.Errorf("got %q", out)
	}
}

// TestNamespaceHandover upgrades and restarts the daemon while a program connects in a namespace of its own: nothing goes
// direct and nothing is refused. After a kill -9 it is refused until the next daemon is there.
func TestNamespaceHandover(t *testing.T) {
	w, _ := managed(t)
	s := w.space(0)
	in := func(a *lab.App) { a.NetNS = s.Path() }
	stop := w.traffic(in)
	served := func() int { return int(w.status(t).Flows.Seen) }
	until(t, "traffic", func() bool { return served() > 0 })
	for range 2 {
		must(t, w.upgrade(syscall.SIGUSR2))
		seen := served()
		until(t, "traffic after the upgrade", func() bool { return served() > seen })
	}
	must(t, w.d.Stop(t.Context()))
	w.start()
	until(t, "traffic after the restart", func() bool { return served() > 0 })
	proxied, direct, failed := stop()
	t.Logf("proxied %d, direct %d, failed %d", proxied, direct, failed)
	if proxied == 0 || direct != 0 || failed != 0 {
		t.Errorf("proxied %d, direct %d, failed %d", proxied, direct, failed)
	}

	stop = w.traffic(in)
	until(t, "traffic", func() bool { return served() > 0 })
	must(t, w.d.Kill())
	w.start()
	until(t, "traffic after kill -9", func() bool { return served() > 0 })
	if proxied, direct, failed = stop(); proxied == 0 || direct != 0 {
		t.Errorf("after kill -9: proxied %d, direct %d, failed %d", proxied, direct, failed)
	}
	a := w.app(enforced, "current", "plain.py", "say: again")
	in(&a)
	if out := w.run(a); out != "again\n" {
		t.Errorf("got %q", out)
	}
}

type status struct {
	Flows    struct{ Seen, Proxied, Passed, Denied, Missed uint64 }
	Coverage struct{ Unexplained uint64 }
}

func (w *world) status(t *testing.T) (s status) {
	t.Helper()
	w.json(&s, "status", "-o", "json")
	return s
}
