// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peer is the process at the other end of the socket, as the kernel saw it when it connected.
type Peer struct {
	PID   uint32 // in our pid namespace; 0 if it is not visible there
	Start uint64 // when it started, nanoseconds since boot in steps of 10 ms; with PID it names one process
	UID   uint32 // effective, in our user namespace
	Comm  string // for people; the process chooses it
}

// The connections that others than root may hold open at once: the socket is open to all, our descriptors are few.
const (
	maxConns       = 256
	maxConnsPerUID = 16
)

// peerListener asks the kernel about each connection as it is accepted and limits how many a uid may hold.
type peerListener struct {
	*net.UnixListener
	mu    sync.Mutex
	open  map[uint32]int // by uid
	total int
}

func (l *peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := l.admit(c)
		if err != nil {
			c.Close() // nobody to tell: who is there is exactly what we do not know
			continue
		}
		return p, nil
	}
}

func (l *peerListener) admit(c *net.UnixConn) (*peerConn, error) {
	p, err := newPeerConn(c)
	if err != nil {
		return nil, err
	}
	uid := p.cred.Uid
	if !l.take(uid) {
		if p.pidfd >= 0 {
			unix.Close(p.pidfd)
		}
		return nil, errors.New("too many connections")
	}
	p.done = func() { l.give(uid) }
	return p, nil
}

// take counts one more connection of a uid, or says that it has too many. Root is counted but never refused.
func (l *peerListener) take(uid uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if uid != 0 && (l.total >= maxConns || l.open[uid] >= maxConnsPerUID) {
		return false
	}
	l.open[uid]++
	l.total++
	return true
}

func (l *peerListener) give(uid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[uid]--; l.open[uid] == 0 {
		delete(l.open, uid)
	}
	l.total--
}

// peerConn is a connection of which we know the peer.
type peerConn struct {
	*net.UnixConn
	cred  *unix.Ucred
	done  func()
	close sync.Once

	mu    sync.Mutex // pidfd is used by requests and closed by the connection's end
	pidfd int        // -1 if the process is not visible to us, or after Close
}

func newPeerConn(c *net.UnixConn) (*peerConn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	p := &peerConn{UnixConn: c, pidfd: -1}
	var serr error
	err = raw.Control(func(fd uintptr) {
		if p.cred, serr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); serr != nil {
			return
		}
		if p.cred.Pid <= 0 {
			return // in a pid namespace that we cannot see
		}
		// SO_PEERPIDFD (Linux 6.5) names the process that connected. Before it, the pid is all there is: a process that
		// took the pid in between is then taken for it, which is why the pid must be alive throughout.
		if p.pidfd, serr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD); serr == unix.ENOPROTOOPT {
			p.pidfd, serr = unix.PidfdOpen(int(p.cred.Pid), 0)
		}
	})
	if err = errors.Join(err, serr); err != nil {
		return nil, fmt.Errorf("asking who connected: %w", err)
	}
	return p, nil
}

func (p *peerConn) Close() error {
	err := p.UnixConn.Close()
	p.close.Do(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.pidfd >= 0 {
			err = errors.Join(err, unix.Close(p.pidfd))
		}
		p.pidfd = -1
		if p.done != nil {
			p.done()
		}
	})
	return err
}

var errPeerGone = errors.New("the calling process has ended")

// alive says whether the process that connected still exists. While it does, its pid means nobody else.
func (p *peerConn) alive() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd < 0 {
		return errPeerGone
	}
	fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 0)
	for err == unix.EINTR {
		n, err = unix.Poll(fds, 0)
	}
	if err != nil {
		return fmt.Errorf("asking after the calling process: %w", err)
	}
	if n > 0 {
		return errPeerGone
	}
	return nil
}

type peerKey struct{}

// withPeer is the server's ConnContext.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, c)
}

func peerOf(r *http.Request) (*peerConn, bool) {
	p, ok := r.Context().Value(peerKey{}).(*peerConn)
	return p, ok
}

// nsID names a namespace.
type nsID struct{ dev, ino uint64 }

// namespaces are those that tell a peer from an operator. mnt comes apart: `sallyport run` has one of its own.
var namespaces = [...]string{"mnt", "pid", "net", "user"}

// home holds the namespaces that count as the host's: ours, and those of pid 1, since a service manager may have given
// us a mount namespace of our own.
type home map[string]map[nsID]bool

func readHome() (home, error) {
	h := home{}
	for _, name := range namespaces {
		self, err := readNS("self", name)
		if err != nil {
			return nil, fmt.Errorf("reading our own namespaces: %w", err)
		}
		h[name] = map[nsID]bool{self: true}
		if first, err := readNS("1", name); err == nil {
			h[name][first] = true
		} else if !errors.Is(err, os.ErrPermission) && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("reading the namespaces of pid 1: %w", err)
		}
	}
	return h, nil
}

// foreign lists the namespaces of a process that are not the host's.
func (h home) foreign(pid uint32) ([]string, error) {
	var out []string
	for _, name := range namespaces {
		id, err := readNS(fmt.Sprint(pid), name)
		if err != nil {
			return nil, fmt.Errorf("reading the namespaces of process %d: %w", pid, err)
		}
		if !h[name][id] {
			out = append(out, name)
		}
	}
	return out, nil
}

func readNS(pid, name string) (nsID, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/"+pid+"/ns/"+name, &st); err != nil {
		return nsID{}, &os.PathError{Op: "stat", Path: "/proc/" + pid + "/ns/" + name, Err: err}
	}
	return nsID{st.Dev, st.Ino}, nil
}

// tick is the unit of start times in /proc/PID/stat: USER_HZ is 100 on every Linux that Go runs on.
const tick = 10_000_000 // nanoseconds

// readStat reads name and start time of a process.
func readStat(pid uint32) (comm string, start uint64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, fmt.Errorf("reading the start time of process %d: %w", pid, err)
	}
	if comm, start, err = parseStat(string(raw)); err != nil {
		return "", 0, fmt.Errorf("reading the start time of process %d: %w", pid, err)
	}
	return comm, start, nil
}

// parseStat reads proc_pid_stat(5): the name stands in parentheses and may hold anything, also parentheses; the start
// time is field 22.
func parseStat(s string) (comm string, start uint64, err error) {
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return "", 0, errors.New("no name in its stat")
	}
	fields := strings.Fields(s[end+1:])
	if len(fields) < 20 {
		return "", 0, errors.New("its stat is too short")
	}
	ticks, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil || ticks > math.MaxUint64/tick {
		return "", 0, errors.New("its stat holds no start time")
	}
	return s[open+1 : end], ticks * tick, nil
}

// listen opens the socket. A socket file that nobody listens on is left from a daemon that was killed, and replaced.
func listen(path string, mode os.FileMode) (*peerListener, error) {
	if len(path) > 100 {
		return nil, fmt.Errorf("admin.socket %s: a socket path holds at most 100 bytes: choose a shorter one", path)
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("admin.socket %s exists and is no socket: remove it or choose another path", path)
		}
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
			return nil, fmt.Errorf("admin.socket %s is in use: another sallyportd runs (stop it, or choose another path)", path)
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("trying admin.socket %s: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("removing the stale admin.socket: %w", err)
		}
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("opening admin.socket: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("opening admin.socket to its users: %w", err), ln.Close())
	}
	return &peerListener{UnixListener: ln, open: map[uint32]int{}}, nil
}
