// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// service is one call of Serve.
type service struct {
	s    *Server
	ctx  context.Context
	all  accepted
	more sync.WaitGroup // accept loops that Attend added

	mu     sync.Mutex
	pulses map[*net.TCPListener]*pulse
	seen   []*pulse // alive's own
}

// Serve accepts connections until Shutdown, or until ctx ends, which cuts everything at once. It returns when its accept
// loops and all connections have ended. It owns the listeners from now on. It may run several times at once, each with
// listeners of its own.
func (s *Server) Serve(ctx context.Context, listeners ...*net.TCPListener) error {
	nets := make([]uint64, len(listeners))
	for i, l := range listeners {
		var err error
		if nets[i], err = NetNS(l); err != nil {
			return fmt.Errorf("proxy: network namespace of %s: %w", l.Addr(), err)
		}
	}
	look, err := newLookout()
	if err != nil {
		return err
	}
	defer look.close()
	v := &service{s: s, ctx: ctx, all: accepted{lookout: look}, pulses: map[*net.TCPListener]*pulse{}}
	s.mu.Lock()
	if s.draining.Load() {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.serving.Add(1)
	for _, l := range listeners {
		s.listeners[l] = struct{}{}
	}
	v.more.Add(1) // until there can be no more
	if s.first == nil {
		s.first = v
		for _, w := range s.early {
			if _, still := s.listeners[w.l]; still {
				v.attend(w)
			}
		}
		s.early = nil
	}
	s.mu.Unlock()
	defer s.serving.Done()

	stop := context.AfterFunc(ctx, func() {
		s.stopAccepting()
		s.cut()
	})
	defer stop()
	done := make(chan struct{})
	var loops, heart sync.WaitGroup
	failed := make([]error, len(listeners))
	for i, l := range listeners {
		p := v.begin(l)
		loops.Go(func() {
			defer p.end()
			failed[i] = s.accept(v, l, nets[i], p)
		})
	}
	heart.Go(func() { s.heart(v, done) })
	loops.Wait()
	v.dismissAll()
	v.more.Wait()
	v.all.conns.Wait()
	close(done)
	heart.Wait()
	return errors.Join(failed...)
}

// waiting is a listener with the cookie of its network namespace.
type waiting struct {
	l     *net.TCPListener
	netns uint64
}

// Attend serves another listener until it is dismissed or Serve ends; before Serve, as soon as that begins. The listener
// belongs to the server then. The error is net.ErrClosed if the server is about to end.
func (s *Server) Attend(l *net.TCPListener) error {
	netns, err := NetNS(l)
	if err != nil {
		return fmt.Errorf("proxy: network namespace of %s: %w", l.Addr(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining.Load():
		return net.ErrClosed
	case s.first != nil:
		s.first.attend(waiting{l, netns})
	default:
		s.early = append(s.early, waiting{l, netns})
	}
	s.listeners[l] = struct{}{}
	return nil
}

// attend begins an accept loop; the server's lock is held.
func (v *service) attend(w waiting) {
	p := v.begin(w.l)
	v.more.Go(func() {
		defer v.forget(w.l)
		if err := v.s.accept(v, w.l, w.netns, p); err != nil {
			v.s.o.Notice("accept", err)
		}
	})
}

// Dismiss closes a listener that was given to Attend. Its connections go on.
func (s *Server) Dismiss(l *net.TCPListener) {
	s.mu.Lock()
	delete(s.listeners, l)
	s.mu.Unlock()
	_ = l.Close() // it may be closed already
}

// Forget closes the idle upstream connections of a network namespace: each of them keeps the namespace alive.
func (s *Server) Forget(netns uint64) {
	s.pool.forget(netns)
	s.learned.leave(netns)
}

// begin gives an accept loop its pulse.
func (v *service) begin(l *net.TCPListener) *pulse {
	p := &pulse{}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pulses[l] = p
	return p
}

// forget ends the pulse of a loop: one that ended for good is no sign of anything.
func (v *service) forget(l *net.TCPListener) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.pulses, l)
}

func (v *service) alive() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen = v.seen[:0]
	for _, p := range v.pulses {
		v.seen = append(v.seen, p)
	}
	return alive(v.seen)
}

// dismissAll closes what Attend added; nothing is added any more.
func (v *service) dismissAll() {
	s := v.s
	s.mu.Lock()
	if s.first == v {
		s.first = nil
	}
	s.mu.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	for l := range v.pulses {
		s.Dismiss(l)
	}
	v.more.Done()
}

func (s *Server) stopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	s.pool.close()
	for l := range s.listeners {
		_ = l.Close()
		delete(s.listeners, l)
	}
}

// dismissed tells whether a listener was closed by ourselves.
func (s *Server) dismissed(l *net.TCPListener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ours := s.listeners[l]
	return !ours
}

func (s *Server) accept(v *service, l *net.TCPListener, netns uint64, p *pulse) error {
	s.o.Accepting()
	s.readied.Do(func() { close(s.ready) })
	var told time.Time
	for {
		p.wait()
		tcp, err := l.AcceptTCP()
		p.turn()
		switch {
		case err == nil:
			s.start(v.ctx, tcp, netns, &v.all)
		case s.draining.Load(), errors.Is(err, net.ErrClosed) && s.dismissed(l):
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("proxy: listener %s was closed by somebody else", l.Addr())
		default: // out of descriptors or memory, or the client gave up: it may pass
			if now := time.Now(); now.Sub(told) >= time.Minute {
				told = now
				s.o.Notice("accept", fmt.Errorf("%w (connections wait in the queue; said once a minute)", err))
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}
