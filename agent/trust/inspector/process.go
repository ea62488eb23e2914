// SPDX-License-Identifier: Apache-2.0

package inspector

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is a program by its number and its start, in nanoseconds since boot.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// target is a pinned process.
type target struct {
	Process
	dir   string // /proc/PID
	pidfd int
}

var errGone = errors.New("the process has ended")

func pin(p Process) (*target, error) {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return nil, errGone
	}
	t := &target{p, "/proc/" + strconv.Itoa(p.PID), fd}
	if err := t.same(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *target) close() { unix.Close(t.pidfd) }

// same says whether the number still stands for the process.
func (t *target) same() error {
	b, err := os.ReadFile(filepath.Join(t.dir, "stat"))
	if err != nil {
		return errGone
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 || f[19] != strconv.FormatUint(t.Start/10_000_000, 10) {
		return errGone
	}
	return nil
}

// ready says why the process must not be sent SIGUSR1, if so.
func (t *target) ready() error {
	exe, err := os.Readlink(filepath.Join(t.dir, "exe"))
	if err != nil || !strings.HasPrefix(path.Base(exe), "node") {
		return fmt.Errorf("%q is not Node.js", path.Base(exe))
	}
	b, err := os.ReadFile(filepath.Join(t.dir, "status"))
	if err != nil {
		return errGone
	}
	caught, blocked, err := signals(string(b))
	if err != nil {
		return err
	}
	const usr1 = 1 << (uint(unix.SIGUSR1) - 1)
	if caught&usr1 == 0 {
		return errors.New("it does not handle SIGUSR1, which would end it: start it without --disable-sigusr1, or set NODE_EXTRA_CA_CERTS")
	}
	if blocked&usr1 != 0 {
		return errors.New("it blocks SIGUSR1")
	}
	return nil
}

// signals reads which signals a process handles, and which its first thread blocks (proc_pid_status(5)).
func signals(status string) (caught, blocked uint64, err error) {
	found := 0
	for line := range strings.Lines(status) {
		k, v, _ := strings.Cut(line, ":")
		into := map[string]*uint64{"SigCgt": &caught, "SigBlk": &blocked}[k]
		if into == nil {
			continue
		}
		if *into, err = strconv.ParseUint(strings.TrimSpace(v), 16, 64); err != nil {
			return 0, 0, errors.New("its status does not parse")
		}
		found++
	}
	if found != 2 {
		return 0, 0, errors.New("its status does not say which signals it handles")
	}
	return caught, blocked, nil
}

// listening lists the loopback addresses at which the process itself listens, by the inode of the socket.
func (t *target) listening() (map[uint64]netip.AddrPort, error) {
	own := map[uint64]bool{}
	fds, err := os.ReadDir(filepath.Join(t.dir, "fd"))
	if err != nil {
		return nil, errGone
	}
	for _, fd := range fds {
		link, err := os.Readlink(filepath.Join(t.dir, "fd", fd.Name()))
		if err != nil {
			continue
		}
		if n, ok := strings.CutPrefix(link, "socket:["); ok {
			if inode, err := strconv.ParseUint(strings.TrimSuffix(n, "]"), 10, 64); err == nil {
				own[inode] = true
			}
		}
	}
	out := map[uint64]netip.AddrPort{}
	for _, name := range []string{"net/tcp", "net/tcp6"} { // of the process's network namespace
		f, err := os.Open(filepath.Join(t.dir, name))
		if err != nil {
			continue
		}
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			at, inode, ok := listener(sc.Text())
			if ok && own[inode] && at.Addr().IsLoopback() {
				out[inode] = at
			}
		}
		f.Close()
	}
	return out, nil
}

// listener reads a line of /proc/net/tcp: where a socket listens, and its inode. (proc_net(5))
func listener(line string) (at netip.AddrPort, inode uint64, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != "0A" {
		return at, 0, false
	}
	addr, port, found := strings.Cut(f[1], ":")
	raw, err := hex.DecodeString(addr)
	n, err2 := strconv.ParseUint(port, 16, 16)
	inode, err3 := strconv.ParseUint(f[9], 10, 64)
	if !found || err != nil || err2 != nil || err3 != nil || len(raw)%4 != 0 {
		return at, 0, false
	}
	for i := 0; i < len(raw); i += 4 { // words in the order of the machine, little endian
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	ip, valid := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), inode, valid
}

// dial connects from inside the process's network namespace, if the socket is still its own.
func (t *target) dial(ctx context.Context, inode uint64, at netip.AddrPort) (net.Conn, error) {
	now, err := t.listening()
	if err != nil {
		return nil, err
	}
	if now[inode] != at {
		return nil, errors.New("the port is not its own any more")
	}
	ns, err := unix.Open(filepath.Join(t.dir, "ns/net"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errGone
	}
	defer unix.Close(ns)
	if err := t.same(); err != nil { // the namespace is that of the process that was pinned
		return nil, err
	}
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// The first thread would be kept: hold it, so that another one does the work.
			inner := make(chan result, 1)
			go func() { runtime.LockOSThread(); inner <- dialIn(ctx, ns, at) }()
			r := <-inner
			runtime.UnlockOSThread()
			done <- r
			return
		}
		done <- dialIn(ctx, ns, at)
	}()
	r := <-done
	return r.c, r.err
}

func dialIn(ctx context.Context, ns int, at netip.AddrPort) (r struct {
	c   net.Conn
	err error
}) {
	if r.err = unix.Setns(ns, unix.CLONE_NEWNET); r.err != nil {
		r.err = fmt.Errorf("entering its network namespace: %w", r.err)
		return r
	}
	d := net.Dialer{}
	d.SetMultipathTCP(false)
	r.c, r.err = d.DialContext(ctx, "tcp", at.String())
	return r
}
