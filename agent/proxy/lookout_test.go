// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net"
	"testing"
	"time"
)

// socketPair is one TCP connection, seen from both sides.
func socketPair(t *testing.T) (ours, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if theirs, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	if ours, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

func TestLookout(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(theirs *net.TCPConn)
	}{
		{"closes", func(c *net.TCPConn) { c.Close() }},
		{"closes its half", func(c *net.TCPConn) { c.CloseWrite() }},
		{"resets", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }},
		{"closes behind bytes that nobody reads", func(c *net.TCPConn) { c.Write([]byte("more")); c.Close() }},
	} {
		for _, early := range []bool{false, true} {
			name := c.name
			if early {
				name += " before anybody looks"
			}
			t.Run(name, func(t *testing.T) {
				l, err := newLookout()
				if err != nil {
					t.Fatal(err)
				}
				defer l.close()
				ours, theirs := socketPair(t)
				quiet, _ := socketPair(t)
				gone, wrong := make(chan struct{}), make(chan struct{}, 2)
				if early {
					c.do(theirs)
				}
				if l.add(quiet, func() { wrong <- struct{}{} }) == 0 {
					t.Fatal("refused")
				}
				id := l.add(ours, func() { close(gone) })
				if id == 0 {
					t.Fatal("refused")
				}
				if !early {
					c.do(theirs)
				}
				select {
				case <-gone:
				case <-time.After(30 * time.Second):
					t.Fatal("not noticed")
				}
				l.remove(ours, id) // whoever was told may still say so
				if len(wrong) > 0 {
					t.Error("told of an application that is there")
				}
			})
		}
	}
}

// Whoever is not looked for any more is not told, and may look again.
func TestLookoutRemove(t *testing.T) {
	l, err := newLookout()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := socketPair(t)
	wrong := make(chan struct{}, 1)
	l.remove(ours, l.add(ours, func() { wrong <- struct{}{} }))
	gone := make(chan struct{})
	if l.add(ours, func() { close(gone) }) == 0 {
		t.Fatal("refused the second time")
	}
	theirs.Close()
	select {
	case <-gone:
	case <-time.After(30 * time.Second):
		t.Fatal("not noticed")
	}
	closed, _ := socketPair(t)
	id := l.add(closed, func() { wrong <- struct{}{} })
	closed.Close()
	l.remove(closed, id)
	l.close()
	if l.add(ours, func() { wrong <- struct{}{} }) != 0 {
		t.Error("looks after its end")
	}
	l.remove(ours, 1)
	if len(wrong) > 0 {
		t.Error("told although it was removed")
	}
}
