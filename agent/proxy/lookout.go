// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lookout tells when applications go away that wait for a reply, for all connections of one Serve. Nobody reads from them
// meanwhile: a goroutine that did would cost each stream a stack and a buffer.
type lookout struct {
	file *os.File // an epoll descriptor, itself watched by Go's poller
	end  sync.WaitGroup

	mu   sync.Mutex
	fd   int // of file; -1 once it is closed
	last uint64
	gone map[uint64]func()
}

// newLookout begins to look. close ends it.
func newLookout() (*lookout, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		if err = unix.SetNonblock(fd, true); err != nil {
			_ = unix.Close(fd)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("proxy: watch applications: %w", os.NewSyscallError("epoll_create1", err))
	}
	l := &lookout{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, gone: map[uint64]func(){}}
	raw, err := l.file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("proxy: watch applications: %w", err), l.file.Close())
	}
	l.end.Go(func() { _ = raw.Read(l.events) }) // until close
	return l, nil
}

func (l *lookout) close() {
	l.mu.Lock()
	l.fd = -1
	l.mu.Unlock()
	_ = l.file.Close()
	l.end.Wait()
}

// events takes what there is, and tells whether it is of no use to wait for more.
func (l *lookout) events(fd uintptr) bool {
	var list [32]unix.EpollEvent
	for {
		n, err := unix.EpollWait(int(fd), list[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return true
		}
		if n == 0 {
			return false
		}
		l.mu.Lock()
		for i := range list[:n] {
			id := uint64(uint32(list[i].Fd)) | uint64(uint32(list[i].Pad))<<32
			if gone := l.gone[id]; gone != nil {
				gone()
				delete(l.gone, id)
			}
		}
		l.mu.Unlock()
	}
}

// add calls gone, which must not block, once the other side of c has closed its half, or the connection broke. It gives a
// number for remove; 0 if the kernel refuses, so that it is noticed at the next write only.
func (l *lookout) add(c *net.TCPConn, gone func()) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	id := l.last
	ev := unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
	if l.control(c, unix.EPOLL_CTL_ADD, &ev) != nil {
		return 0
	}
	l.gone[id] = gone
	return id
}

// remove ends what add began. gone is not called any more.
func (l *lookout) remove(c *net.TCPConn, id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.gone, id)
	_ = l.control(c, unix.EPOLL_CTL_DEL, &unix.EpollEvent{}) // a connection that is closed is not there any more
}

func (l *lookout) control(c *net.TCPConn, op int, ev *unix.EpollEvent) error {
	if l.fd < 0 {
		return net.ErrClosed
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = unix.EpollCtl(l.fd, op, int(fd), ev) }); cerr != nil {
		return cerr
	}
	return err
}

// watchAfter is how long an exchange lasts before it is worth while to find out whether the application went away.
const watchAfter = 20 * time.Millisecond

// watcher has one application looked out for while an exchange runs that takes longer.
type watcher struct {
	mu    sync.Mutex
	timer *time.Timer
	armed bool
	id    uint64 // with the lookout; 0 if it does not look
}

// arm begins to watch after a while. gone is called if the application goes away.
func (w *watcher) arm(l *lookout, c *net.TCPConn, gone func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed || w.id != 0 {
		return
	}
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(watchAfter, func() { w.look(l, c, gone) })
		return
	}
	w.timer.Reset(watchAfter)
}

func (w *watcher) look(l *lookout, c *net.TCPConn, gone func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed {
		w.armed, w.id = false, l.add(c, gone)
	}
}

// disarm ends the watch.
func (w *watcher) disarm(l *lookout, c *net.TCPConn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed {
		w.armed = false
		w.timer.Stop()
	}
	if w.id != 0 {
		l.remove(c, w.id)
		w.id = 0
	}
}
