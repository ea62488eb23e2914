// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"net"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/agent/proxy/http1"
)

// holdFor is how long bytes wait for more bytes that are sure to come.
const holdFor = time.Millisecond

// output is what an application is sent. Bytes that are held leave with the next ones, or when somebody flushes, or
// after holdFor.
type output struct {
	mu    sync.Mutex
	nc    net.Conn
	bufs  *buffers
	buf   []byte // its first n bytes are held
	n     int
	timer *time.Timer
	timed bool
	err   error

	stall time.Duration // how long one write may take
	since time.Time     // when its deadline was set
}

// send writes to the application, which has to read it in time. The deadline is renewed only now and then: that
// costs as much as a small write.
func (o *output) send(b []byte) error {
	if now := time.Now(); now.Sub(o.since) > o.stall/4 {
		o.since = now
		if err := o.nc.SetWriteDeadline(now.Add(o.stall)); err != nil {
			return err
		}
	}
	_, err := o.nc.Write(b)
	return err
}

// write sends b, or holds it.
func (o *output) write(b []byte, hold bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n == 0 && !hold && o.err == nil {
		o.err = o.send(b)
		return o.err
	}
	copy(o.room(len(b)), b)
	return o.settle(hold)
}

// chunk sends b as one chunk, or holds it.
func (o *output) chunk(b []byte, hold bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var line [20]byte
	l := http1.AppendChunkLine(line[:0], len(b))
	at := o.room(len(l) + len(b) + 2)
	at = at[copy(at, l):]
	at = at[copy(at, b):]
	at[0], at[1] = '\r', '\n'
	return o.settle(hold)
}

// room makes place for n bytes more.
func (o *output) room(n int) []byte {
	switch {
	case o.buf == nil:
		o.buf = o.bufs.get(n)
	case o.n+n > len(o.buf):
		o.buf = o.bufs.grow(o.buf, o.n, max(o.n+n, 2*len(o.buf)))
	}
	at := o.buf[o.n : o.n+n]
	o.n += n
	return at
}

// maxHeld is more than is worth to be held: it fills TLS records by itself.
const maxHeld = 32 << 10

func (o *output) settle(hold bool) error {
	if !hold || o.n >= maxHeld || o.err != nil {
		return o.flushLocked()
	}
	if !o.timed {
		o.timed = true
		if o.timer == nil {
			o.timer = time.AfterFunc(holdFor, o.late)
		} else {
			o.timer.Reset(holdFor)
		}
	}
	return nil
}

func (o *output) late() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timed {
		_ = o.flushLocked() // kept in o.err, and returned by the next write
	}
}

// flush sends what is held.
func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flushLocked()
}

func (o *output) flushLocked() error {
	if o.timed {
		o.timed = false
		o.timer.Stop()
	}
	if o.n > 0 && o.err == nil {
		o.err = o.send(o.buf[:o.n])
	}
	o.n = 0
	o.freeLocked()
	return o.err
}

// end drops what is held; nothing is written any more.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = net.ErrClosed
	}
	_ = o.flushLocked()
}

func (o *output) freeLocked() {
	if o.buf != nil {
		o.bufs.put(o.buf)
		o.buf = nil
	}
}
