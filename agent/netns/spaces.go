// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// Server accepts the connections of listeners (agent/proxy).
type Server interface {
	Attend(*net.TCPListener) error // net.ErrClosed: it does not run, or stops
	Dismiss(*net.TCPListener)      // closes it; its connections go on
	Forget(netns uint64)           // closes idle upstream connections that begin there
}

// Kernel is told of listeners and namespaces (agent/kernel).
type Kernel interface {
	TagListener(*net.TCPListener) error
	Served(netns uint64, is bool) error
}

// Options are what Spaces needs.
type Options struct {
	Addresses []netip.AddrPort // where to listen: those of the proxy at home
	Max       int              // namespaces served at a time
	Kernel    Kernel
	Server    Server
	// Wanted says whether the connections of a process may be redirected.
	Wanted   func(pid uint32) bool
	Log      *slog.Logger
	ProcRoot string // "/proc"
}

// LimitError says that a namespace is not served because Options.Max others are.
type LimitError struct{ Max int }

func (e *LimitError) Error() string {
	return fmt.Sprintf("%d network namespaces are served, no more are allowed: raise proxy.max_namespaces", e.Max)
}

// GoneError says that a namespace is not, or no longer, known here.
type GoneError struct{ NetNS uint64 }

func (e *GoneError) Error() string {
	return fmt.Sprintf("the network namespace of the application (cookie %d) is gone, and no other can stand in for it", e.NetNS)
}

// Stats counts since the start.
type Stats struct {
	Served  int    // now
	Made    uint64 // namespaces that got listeners
	Ended   uint64 // namespaces that were left
	Refused uint64 // for want of room
	Failed  uint64 // other failures
}

// Spaces are the other network namespaces. It is safe for concurrent use.
type Spaces struct {
	o       Options
	home    *os.File
	own     uint64
	ownID   inode
	made    atomic.Uint64
	ended   atomic.Uint64
	refused atomic.Uint64
	failed  atomic.Uint64

	sweeping sync.Mutex // held while all processes are looked at; before write
	write    sync.Mutex // held while a namespace is taken up or left

	swept time.Time // guarded by sweeping

	mu   sync.Mutex
	m    map[uint64]*space
	by   map[inode]*space
	told map[string]time.Time
}

// space is one namespace.
type space struct {
	cookie    uint64
	id        inode
	file      *os.File
	listeners []*net.TCPListener
	witness   string // /proc/PID/task/TID/ns/net of a thread that was in it; "" = none known. Guarded by Spaces.mu
}

// New remembers the namespace of the calling process as home.
func New(o Options) (*Spaces, error) {
	if o.ProcRoot == "" {
		o.ProcRoot = "/proc"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("opening our network namespace: %w", err)
	}
	s := &Spaces{o: o, home: home, m: map[uint64]*space{}, by: map[inode]*space{}, told: map[string]time.Time{}}
	if s.own, err = cookie(); err == nil {
		s.ownID, err = inodeOf(home)
	}
	if err != nil {
		return nil, errors.Join(err, home.Close())
	}
	return s, nil
}

// Begin tells the kernel programs that home needs no question. Call it before Scan.
func (s *Spaces) Begin() error { return s.o.Kernel.Served(s.own, true) }

// Own is the cookie of the agent's own namespace.
func (s *Spaces) Own() uint64 { return s.own }

// Stats reads the counters.
func (s *Spaces) Stats() Stats {
	s.mu.Lock()
	n := len(s.m)
	s.mu.Unlock()
	return Stats{Served: n, Made: s.made.Load(), Ended: s.ended.Load(), Refused: s.refused.Load(), Failed: s.failed.Load()}
}

func (s *Spaces) get(netns uint64) *space {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[netns]
}

// complete makes the listener of a family that a namespace did not have when the other one was made.
func (s *Spaces) complete(netns uint64) {
	s.write.Lock()
	defer s.write.Unlock()
	sp := s.get(netns)
	if sp == nil || len(sp.listeners) == len(s.o.Addresses) {
		return
	}
	more, err := s.missing(sp)
	if err != nil {
		return // it still has none
	}
	if err := s.attend(more); err != nil {
		closeListeners(more)
		s.complain(err)
		return
	}
	s.mu.Lock()
	sp.listeners = append(sp.listeners, more...)
	s.mu.Unlock()
}

// stays says whether a namespace is served. If it was about to be left, it is not any more: somebody is at a path.
func (s *Spaces) stays(netns uint64, at string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.m[netns]
	if sp != nil && sp.witness == "" {
		sp.witness = at
	}
	return sp != nil
}

// errElsewhere says that a thread is not, or not any more, in the namespace that was asked for.
var errElsewhere = errors.New("the thread is in another network namespace")

// Ask serves the namespace that a kernel program asked for.
func (s *Spaces) Ask(a agent.NetNSAsk) { s.ask(s.elsewhere, a) }

func (s *Spaces) ask(do doer, a agent.NetNSAsk) {
	at := filepath.Join(s.o.ProcRoot, utoa(a.TGID), "task", utoa(a.TID), "ns", "net")
	if a.NetNS == s.own || s.stays(a.NetNS, at) {
		if a.Why == agent.NetNSConnect && a.NetNS != s.own {
			s.complete(a.NetNS)
		}
		return
	}
	if a.Why == agent.NetNSPending && !s.o.Wanted(a.TGID) {
		return
	}
	err := s.take(do, at, a.NetNS)
	switch {
	case err == nil, errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ESRCH): // it ended meanwhile
	case errors.Is(err, errNoLoopback): // asked again when somebody connects
		s.say("loopback", "connections of a network namespace do what their scopes say for a dead agent until its loopback interface is up", nil, "pid", a.TGID)
	case errors.Is(err, errElsewhere):
		s.say("elsewhere", "a connection of a socket that was made in another network namespace found no listener there", nil, "pid", a.TGID)
	default:
		s.complain(err)
	}
}

func utoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// complain counts and logs a failure.
func (s *Spaces) complain(err error) {
	var limit *LimitError
	if errors.As(err, &limit) {
		s.refused.Add(1)
		s.say("limit", "a network namespace is not served: connections there do what their scopes say for a dead agent", err)
		return
	}
	s.failed.Add(1)
	s.say("failed", "a network namespace is not served: connections there do what their scopes say for a dead agent", err)
}

// say logs a thing of one kind once a minute.
func (s *Spaces) say(kind, message string, err error, more ...any) {
	now := time.Now()
	s.mu.Lock()
	last, ok := s.told[kind]
	quiet := ok && now.Sub(last) < time.Minute
	if !quiet {
		s.told[kind] = now
	}
	s.mu.Unlock()
	if quiet {
		return
	}
	if err != nil {
		more = append(more, "error", err)
	}
	s.o.Log.Warn(message+" (said once a minute)", more...)
}

// take serves the namespace that a file below /proc names, if it is not served yet. netns is its cookie, or 0.
func (s *Spaces) take(do doer, at string, netns uint64) error {
	f, err := os.Open(at)
	if err != nil {
		return fmt.Errorf("opening a network namespace: %w", err)
	}
	kept := false
	defer func() {
		if !kept {
			_ = f.Close()
		}
	}()
	id, err := inodeOf(f)
	if err != nil || id == s.ownID {
		if err == nil && netns != 0 {
			err = errElsewhere
		}
		return err
	}
	s.write.Lock()
	defer s.write.Unlock()
	for swept := false; ; swept = true {
		s.mu.Lock()
		known, n := s.by[id], len(s.m) // while we hold a namespace, its inode is not used again
		s.mu.Unlock()
		if known != nil {
			if netns != 0 && known.cookie != netns {
				return errElsewhere
			}
			return nil
		}
		if n < s.o.Max {
			break
		}
		if swept {
			return &LimitError{s.o.Max}
		}
		s.write.Unlock()
		s.sweep(time.Second)
		s.write.Lock()
	}
	sp := &space{id: id, file: f, witness: at}
	err = do(f, func() (err error) {
		if sp.cookie, err = cookie(); err != nil {
			return err
		}
		if netns != 0 && sp.cookie != netns {
			return errElsewhere
		}
		sp.listeners, err = listen(s.o.Addresses)
		return err
	})
	if err == nil {
		err = s.serve(sp)
	}
	if err != nil {
		closeListeners(sp.listeners)
		return err
	}
	kept = true
	s.made.Add(1)
	return nil
}

// serve tags the listeners of a space, puts them to work and tells the kernel; write is held. On an error they are the
// caller's still.
func (s *Spaces) serve(sp *space) error {
	if err := s.attend(sp.listeners); err != nil {
		return err
	}
	s.mu.Lock()
	s.m[sp.cookie], s.by[sp.id] = sp, sp
	s.mu.Unlock()
	s.served(sp, true)
	return nil
}

// attend tags listeners and puts all of them to work, or none.
func (s *Spaces) attend(ls []*net.TCPListener) error {
	for _, l := range ls {
		if err := s.o.Kernel.TagListener(l); err != nil {
			return err
		}
	}
	for i, l := range ls {
		if err := s.o.Server.Attend(l); err != nil {
			for _, l := range ls[:i] {
				s.o.Server.Dismiss(l)
			}
			return err
		}
	}
	return nil
}

func closeListeners(ls []*net.TCPListener) {
	for _, l := range ls {
		_ = l.Close()
	}
}

// Close lets go of all namespaces: connections that run may still end, but not begin anew. Listeners that somebody else
// holds too, a successor perhaps, go on there. It may be called again.
func (s *Spaces) Close() error {
	s.write.Lock()
	defer s.write.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.home.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	for _, sp := range s.m {
		for _, l := range sp.listeners {
			s.o.Server.Dismiss(l)
		}
		err = errors.Join(err, sp.file.Close())
	}
	clear(s.m)
	clear(s.by)
	return err
}
