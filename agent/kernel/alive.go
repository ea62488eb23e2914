// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/bpf"
)

// StaleAfter is how old a heartbeat may be before the programs take the agent for dead.
const StaleAfter = time.Second

// listenerTag is LISTENER_TAG of redirect.bpf.c.
const listenerTag uint64 = 0x53414c4c59504f52

// TagListener marks a listener as ours, so that another program on its port is not taken for us, and has it keep the SYNs
// of its connections for Take. The tag goes with the socket. A multipath listener is refused: the programs see its subflows, which carry no tag.
func (k *Kernel) TagListener(l *net.TCPListener) error {
	rc, err := l.SyscallConn()
	if err != nil {
		return fmt.Errorf("marking our listener: %w", err)
	}
	var terr error
	err = rc.Control(func(fd uintptr) {
		var protocol int
		if protocol, terr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); terr != nil {
			return
		}
		if protocol != unix.IPPROTO_TCP {
			terr = errors.New("it speaks multipath TCP: listen with SetMultipathTCP(false)")
			return
		}
		if terr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_SAVE_SYN, 1); terr != nil {
			return
		}
		terr = k.redirect.Maps[bpf.RedirectMapListeners].Update(uint32(fd), listenerTag, ebpf.UpdateAny)
	})
	if err := errors.Join(err, terr); err != nil {
		return fmt.Errorf("marking our listener: %w", err)
	}
	return nil
}

// Beat tells the programs that the agent is alive now. Whoever accepts connections should call it, several times within
// StaleAfter, and only while it does accept.
func (k *Kernel) Beat() error {
	k.heart.Lock()
	defer k.heart.Unlock()
	if k.departed {
		return nil
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&k.pulse.now)), 0); errno != 0 {
		return fmt.Errorf("reading the clock: %w", errno)
	}
	return k.beat(uint64(k.pulse.now.Nano()))
}

// pulse is what one beat hands to the kernel. It is part of Kernel, which is on the heap: nothing of it moves.
type pulse struct {
	now   unix.Timespec
	key   uint32
	value bpf.RedirectBeat
	attr  struct { // union bpf_attr of BPF_MAP_UPDATE_ELEM
		fd, _             uint32
		key, value, flags uint64
	}
}

// beat writes the heartbeat; the lock is held. Its system calls are raw ones: they never wait, and each of the others
// wakes Go's monitor thread, which then looks after the scheduler for a while. Four times a second, that was a third of
// what an idle agent cost.
func (k *Kernel) beat(ns uint64) error {
	p := &k.pulse
	p.value = bpf.RedirectBeat{Ns: ns, Generation: k.o.Generation}
	p.attr.fd = uint32(k.redirect.Maps[bpf.RedirectMapHeartbeat].FD())
	p.attr.key, p.attr.value = uint64(uintptr(unsafe.Pointer(&p.key))), uint64(uintptr(unsafe.Pointer(&p.value)))
	if _, _, errno := unix.RawSyscall(unix.SYS_BPF, unix.BPF_MAP_UPDATE_ELEM, uintptr(unsafe.Pointer(&p.attr)), unsafe.Sizeof(p.attr)); errno != 0 {
		return fmt.Errorf("writing the heartbeat: %w", errno)
	}
	return nil
}

// Heartbeat beats until ctx ends, as long as alive says so, and then lets the heartbeat go stale at once.
func (k *Kernel) Heartbeat(ctx context.Context, alive func() bool) error {
	t := time.NewTicker(StaleAfter / 5)
	defer t.Stop()
	for {
		if alive() {
			if err := k.Beat(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return k.StopHeart()
		case <-t.C:
		}
	}
}

// Depart says that the next agent takes over within a time: until then the programs go on as if this one were alive, and
// Beat and StopHeart do nothing. The listener must stay open in somebody's hands; the programs look for it at each
// connect, and take the agent for dead if it is gone.
func (k *Kernel) Depart(within time.Duration) error {
	k.heart.Lock()
	defer k.heart.Unlock()
	now, err := clock(unix.CLOCK_MONOTONIC)
	if err != nil {
		return err
	}
	if err := k.beat(uint64(now + within)); err != nil {
		return err
	}
	k.departed = true
	return nil
}

// StopHeart lets the heartbeat go stale at once: the programs then do what their scopes say for a dead agent. It does
// nothing if another agent (by its generation) beats already, or after Depart.
func (k *Kernel) StopHeart() error {
	k.heart.Lock()
	defer k.heart.Unlock()
	if k.departed {
		return nil
	}
	var b bpf.RedirectBeat
	if err := k.redirect.Maps[bpf.RedirectMapHeartbeat].Lookup(uint32(0), &b); err != nil {
		return fmt.Errorf("reading the heartbeat: %w", err)
	}
	if b.Generation != k.o.Generation {
		return nil
	}
	return k.beat(0)
}

func clock(id int32) (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(id, &now); err != nil {
		return 0, fmt.Errorf("reading the clock: %w", err)
	}
	return time.Duration(now.Nano()), nil
}

// Alive says, by the pins alone, whether an agent beats, or has said that the next one takes over shortly.
func Alive(pinDir string) (bool, error) {
	m, err := pinned(pinDir, bpf.RedirectMapHeartbeat)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer m.Close()
	var b bpf.RedirectBeat
	if err := m.Lookup(uint32(0), &b); err != nil {
		return false, fmt.Errorf("reading the heartbeat: %w", err)
	}
	now, err := clock(unix.CLOCK_MONOTONIC)
	if err != nil {
		return false, err
	}
	return b.Ns != 0 && now < time.Duration(b.Ns)+StaleAfter, nil
}
