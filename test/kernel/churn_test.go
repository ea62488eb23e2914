// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/kernel"
)

// TestChurn: 20,000 connections from eight processes, a part of which leave before the proxy can look: every record is
// found or its miss counted, and nothing stays behind.
func TestChurn(t *testing.T) {
	w := inScope(t, enforced)
	before, routines := openFiles(t), runtime.NumGoroutine()
	const each, leavers = 2000, 4000
	done := make(chan map[string]int, 9)
	var children []*process
	for range 8 {
		p := w.spawn("app")
		children = append(children, p)
		go func() { done <- p.do("many", origin4.String(), fmt.Sprint(each)).Count }()
	}
	leaver := w.spawn("app")
	children = append(children, leaver)
	go func() { done <- leaver.do("churn", origin4.String(), fmt.Sprint(leavers)).Count }()
	said := map[string]int{}
	for range 9 {
		for k, n := range <-done {
			said[k] += n
		}
	}
	if said["PROXY"] != 8*each || len(said) != 1 {
		t.Errorf("answers: %v, want %d from the proxy", said, 8*each)
	}
	if n := w.went(); n != 0 {
		t.Errorf("%d connections went direct", n)
	}
	wait(t, "records to go", func() bool {
		n, err := w.k.Records()
		must(t, err)
		w.mu.Lock()
		defer w.mu.Unlock()
		return n == 0 && len(w.conns)+w.misses <= 8*each+leavers
	})
	w.mu.Lock()
	found, missed := len(w.conns), w.misses
	w.mu.Unlock()
	if found < 8*each {
		t.Errorf("%d records found, want at least %d", found, 8*each)
	}
	t.Logf("%d records found, %d accepted connections had left before", found, missed)
	for _, p := range children {
		p.end()
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
	wait(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= routines })
}

// TestUpgrade replaces the programs while a process connects all the time.
func TestUpgrade(t *testing.T) {
	w := inScope(t, enforced)
	p := w.spawn("app")
	done := make(chan map[string]int, 1)
	go func() { done <- p.do("many", origin4.String(), "5000").Count }()
	upgrades := uint32(0)
	for {
		select {
		case said := <-done:
			if said["PROXY"] != 5000 || len(said) != 1 {
				t.Errorf("answers during %d upgrades: %v", upgrades, said)
			}
			if n := w.went(); n != 0 || upgrades == 0 {
				t.Errorf("%d connections went direct during %d upgrades", n, upgrades)
			}
			return
		default:
			upgrades++
			k := w.load(upgrades + 1)
			must(t, k.Attach())
			k.Close()
		}
	}
}

// TestDeadInTheQueue: a connection that its client reset before it was accepted is not given the record of the next one
// with the same addresses and ports, although what it sent can still be read.
func TestDeadInTheQueue(t *testing.T) {
	w := inScope(t, enforced)
	w.stopProxy()
	ln := listen(t, proxy4)
	defer ln.Close()
	must(t, w.k.TagListener(ln))
	first, second := w.spawn("app"), w.spawn("app")
	must(t, w.k.Depart(time.Hour)) // a heartbeat for as long as this takes
	if r := first.do("resetfrom", "40123", origin4.String()); r.Error != "" {
		t.Fatal(r.Error)
	}
	other := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), originPort)
	answer := make(chan reply)
	go func() { answer <- second.do("connectfrom", "40123", other.String()) }()
	var accepted [2]*net.TCPConn
	for i := range accepted {
		must(t, ln.SetDeadline(time.Now().Add(30*time.Second)))
		c, err := ln.AcceptTCP()
		must(t, err)
		defer c.Close()
		accepted[i] = c
	}
	if a, b := accepted[0].RemoteAddr().String(), accepted[1].RemoteAddr().String(); a != b {
		t.Fatalf("two connections from %s and %s: the test needs one address", a, b)
	}
	if c, err := w.k.Take(w.netns, accepted[0]); !errors.Is(err, kernel.ErrMiss) {
		t.Errorf("the dead connection has the record %+v, %v", c, err)
	}
	c, err := w.k.Take(w.netns, accepted[1])
	if err != nil || c.Orig != other || int(c.Proc.TGID) != second.cmd.Process.Pid {
		t.Errorf("the living connection has the record %+v, %v", c, err)
	}
	io.WriteString(accepted[1], "PROXY\n")
	if r := <-answer; r.Said != "PROXY" {
		t.Errorf("the second client got %+v", r)
	}
}

// TestByHand: whoever dials the proxy itself has no record.
func TestByHand(t *testing.T) {
	w := inScope(t, enforced)
	if got := w.spawn("app").connect("v4", proxy4); got == "PROXY" || got == "ORIGIN" {
		t.Errorf("got %s", got)
	}
	wait(t, "the miss to be counted", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.misses == 1 })
}

// TestMultipathListener: the programs could not recognise such a listener, so it is refused.
func TestMultipathListener(t *testing.T) {
	w := inScope(t, enforced)
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(true)
	ln, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	if err := w.k.TagListener(ln.(*net.TCPListener)); err == nil {
		t.Error("a multipath listener was accepted")
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(d)
}

func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 30 s for %s", what)
		}
	}
}
