// SPDX-License-Identifier: Apache-2.0

package succession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Predecessor is the process that this one takes over from.
type Predecessor struct {
	PIDs    []int // of it and of its own predecessors that still end
	line    line
	sockets map[netip.AddrPort]*os.File
	admin   *os.File // nil if it has none
	others  []*os.File
	ends    []end
}

// end tells when a process ends.
type end struct {
	pid   int
	pidfd *os.File
}

// Inherit takes what a predecessor offers, nil if there is none. It clears the variable, so that no child takes it for its
// own.
func Inherit(ctx context.Context) (*Predecessor, error) {
	v := os.Getenv(variable)
	if v == "" {
		return nil, nil
	}
	if err := os.Unsetenv(variable); err != nil {
		return nil, err
	}
	fd, err := strconv.Atoi(v)
	if err != nil || fd != lineFD {
		return nil, fmt.Errorf("%s is not set by a sallyportd that hands over: start this one without it", variable)
	}
	unix.CloseOnExec(fd)
	l, err := open(os.NewFile(uintptr(fd), "succession"))
	if err != nil {
		return nil, err
	}
	p := &Predecessor{line: l}
	if err := p.accept(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("taking over: %w", err), p.Close())
	}
	return p, nil
}

func (p *Predecessor) accept(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	word, files, err := p.line.receive(ctx)
	if err != nil {
		return err
	}
	raw, ok := strings.CutPrefix(word, wordOffer)
	var o offer
	if !ok || json.Unmarshal([]byte(raw), &o) != nil || len(o.PIDs) == 0 || o.Admin && len(files) == 0 {
		closeAll(files)
		return fmt.Errorf("%.40q is no offer", word)
	}
	p.PIDs, p.sockets = o.PIDs, map[netip.AddrPort]*os.File{}
	if o.Admin {
		p.admin, files = files[len(files)-1], files[:len(files)-1]
	}
	for i, f := range files {
		at, err := address(f)
		if err == nil && p.sockets[at] != nil {
			err = fmt.Errorf("%s twice", at)
		}
		if err != nil {
			closeAll(files[i:])
			return fmt.Errorf("a listening socket: %w", err)
		}
		p.sockets[at] = f
	}
	for _, pid := range p.PIDs {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue // a predecessor of the predecessor, which has ended meanwhile
		}
		if err != nil {
			return fmt.Errorf("watching process %d: %w", pid, err)
		}
		p.ends = append(p.ends, end{pid, os.NewFile(uintptr(fd), "pidfd")})
	}
	return nil
}

// address is where a socket of TCP is bound.
func address(f *os.File) (at netip.AddrPort, err error) {
	err = lend(f, func(fd int) error {
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return os.NewSyscallError("getsockname", err)
		}
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			at = netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
		case *unix.SockaddrInet6:
			at = netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
		default:
			return errors.New("it is none of TCP")
		}
		return nil
	})
	return at, err
}

// Offers says whether there is a socket of an address among those offered.
func (p *Predecessor) Offers(at netip.AddrPort) bool { return p.sockets[at] != nil }

// Take gives the offered socket of an address, once. The predecessor must have let go: while it accepts, making a listener
// of the descriptor could block it.
func (p *Predecessor) Take(at netip.AddrPort) (*net.TCPListener, error) {
	f := p.sockets[at]
	if f == nil {
		return nil, fmt.Errorf("no socket of %s was handed over", at)
	}
	delete(p.sockets, at)
	l, err := net.FileListener(f) // a copy
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("the socket of %s that was handed over: %w", at, err)
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the socket of %s that was handed over is none of TCP", at), l.Close())
	}
	return tcp, nil
}

// TakeAdmin gives the listening socket of the admin API, once, in the same way; nil if there is none.
func (p *Predecessor) TakeAdmin() (*net.UnixListener, error) {
	f := p.admin
	if f == nil {
		return nil, nil
	}
	p.admin = nil
	l, err := net.FileListener(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("the admin socket that was handed over: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(errors.New("the admin socket that was handed over is none"), l.Close())
	}
	return u, nil
}

// TakeOthers gives the listening sockets of other network namespaces, once, after Prepared. What is no listener of TCP is
// left out.
func (p *Predecessor) TakeOthers() (out []*net.TCPListener) {
	for _, f := range p.others {
		l, err := net.FileListener(f) // a copy
		_ = f.Close()                 // it was only read
		if tcp, ok := l.(*net.TCPListener); ok {
			out = append(out, tcp)
		} else if err == nil {
			_ = l.Close()
		}
	}
	p.others = nil
	return out
}

// Prepared says that all is read and checked, and waits until the predecessor has let go.
func (p *Predecessor) Prepared(ctx context.Context) error {
	err := p.line.send(wordPrepared)
	for err == nil {
		var word string
		var files []*os.File
		word, files, err = p.line.receive(ctx)
		p.others = append(p.others, files...)
		if err == nil && word == wordGo {
			return nil
		}
		if err == nil && (word != wordMore || len(p.others) > maxOthers) {
			err = fmt.Errorf("the other process said %.40q, not %q", word, wordGo)
		}
	}
	return explain("waiting for it to let go", err)
}

// Failed says that this process has let go again.
func (p *Predecessor) Failed() error { return explain("telling it", p.line.send(wordFailed)) }

// Ready says that this process has taken over, and waits until it leads.
func (p *Predecessor) Ready(ctx context.Context) error {
	err := p.line.send(wordReady)
	if err == nil {
		err = p.line.expect(ctx, wordLead)
	}
	return explain("waiting for it to give the lead", err)
}

func explain(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the predecessor: %s: %w", what, err)
}

// Left lists those of PIDs that have not ended.
func (p *Predecessor) Left() []int {
	var out []int
	for _, e := range p.ends {
		if !e.within(0) {
			out = append(out, e.pid)
		}
	}
	return out
}

// Wait returns when all of PIDs have ended, or with ctx's error.
func (p *Predecessor) Wait(ctx context.Context) error {
	for _, e := range p.ends {
		for !e.within(50 * time.Millisecond) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

// within waits for the end of the process. What cannot be asked after counts as ended.
func (e end) within(d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(e.pidfd.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, int(d.Milliseconds()))
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
}

// Close lets go of the line and of what was offered and not taken.
func (p *Predecessor) Close() error {
	err := p.line.conn.Close()
	for _, f := range p.sockets {
		err = errors.Join(err, f.Close())
	}
	closeAll(p.others)
	if p.admin != nil {
		err = errors.Join(err, p.admin.Close())
	}
	for _, e := range p.ends {
		err = errors.Join(err, e.pidfd.Close())
	}
	p.sockets, p.admin, p.others, p.ends = nil, nil, nil, nil
	return err
}
