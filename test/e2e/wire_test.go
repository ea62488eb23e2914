// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"errors"
	"io"
	"net"
	"sync"
)

// The states of a wire.
type wireState int

const (
	wireWhole wireState = iota
	wireDeaf            // what the server answers is lost; what it is sent arrives
	wireCut             // nothing passes, in either direction, and nobody gets through any more
)

// wire stands between the agent and a server, passes bytes on, and can be hurt. close it after use.
type wire struct {
	ln net.Listener
	to string

	mu    sync.Mutex
	state wireState
	conns map[net.Conn]struct{}
	lost  int           // answers that did not arrive, on connections that had worked
	heard chan struct{} // closed and made anew when lost grows
	wg    sync.WaitGroup
}

// newWire listens on a loopback port of its own.
func newWire(to string) (*wire, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &wire{ln: ln, to: to, conns: map[net.Conn]struct{}{}, heard: make(chan struct{})}
	w.wg.Go(w.serve)
	return w, nil
}

func (w *wire) addr() string { return w.ln.Addr().String() }

func (w *wire) serve() {
	for {
		c, err := w.ln.Accept()
		if err != nil {
			return // closed
		}
		w.wg.Go(func() { w.join(c) })
	}
}

// join connects one client with the server until either has enough.
func (w *wire) join(client net.Conn) {
	defer client.Close()
	if !w.add(client) {
		return
	}
	defer w.drop(client)
	server, err := net.Dial("tcp", w.to)
	if err != nil {
		return // it is down: so is the connection
	}
	defer server.Close()
	if !w.add(server) {
		return
	}
	defer w.drop(server)
	var both sync.WaitGroup
	both.Go(func() { w.pump(server, client, false) })
	both.Go(func() { w.pump(client, server, true) })
	both.Wait()
}

// pump passes bytes on as the state of the wire allows, and then ends both sides.
func (w *wire) pump(to, from net.Conn, answers bool) {
	buf := make([]byte, 32<<10)
	worked := false
	for {
		n, err := from.Read(buf)
		if n > 0 {
			switch s := w.now(); {
			case s == wireCut:
			case s == wireDeaf && answers:
				if worked {
					w.lose()
				}
			default:
				worked = true
				if _, err := to.Write(buf[:n]); err != nil {
					to.Close()
					from.Close()
					return
				}
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) || w.now() == wireWhole {
				to.Close()
				from.Close()
			}
			return
		}
	}
}

func (w *wire) now() wireState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

func (w *wire) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost++
	close(w.heard)
	w.heard = make(chan struct{})
}

// losses says how many answers were lost so far, and gives what is closed with the next.
func (w *wire) losses() (int, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost, w.heard
}

func (w *wire) add(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[c] = struct{}{}
	return w.state != wireCut
}

func (w *wire) drop(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
}

// set changes the state. A wire that is whole again begins with new connections: bytes of the old ones are missing.
func (w *wire) set(s wireState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
	if s == wireWhole {
		for c := range w.conns {
			c.Close()
		}
	}
}

func (w *wire) close() error {
	err := w.ln.Close()
	w.set(wireWhole)
	w.wg.Wait()
	return err
}
