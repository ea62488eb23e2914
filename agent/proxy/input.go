// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"io"
	"net"
	"sync"
	"time"
)

// input is what an application sends. One message at a time lies at the front of buf: its head, then its body.
type input struct {
	nc   net.Conn
	bufs *buffers
	buf  []byte // nil while there is nothing in it
	w    int    // bytes in buf
	err  error  // why nothing more comes
	one  [1]byte

	watch watcher
}

// firstBuffer is what a new request is read into.
const firstBuffer = 8 << 10

// await is fill without a buffer for as long as nothing comes: it reads one byte, and what comes with it is for fill. buf
// must be nil.
func (in *input) await() error {
	if in.err != nil {
		return in.err
	}
	b, err, was := in.watch.take()
	if !was {
		var k int
		k, err = in.nc.Read(in.one[:])
		b = in.one[:k]
	}
	if len(b) > 0 {
		in.buf, err = in.bufs.get(firstBuffer), nil // an error comes again
		in.w = copy(in.buf, b)
	}
	in.err = err
	return err
}

// fill reads more, once, into a buffer with room for n bytes in all, or for some more if n is 0.
func (in *input) fill(n int) error {
	if in.err != nil {
		return in.err
	}
	if n <= in.w {
		n = in.w + 1
	}
	switch {
	case in.buf == nil:
		in.buf = in.bufs.get(max(n, firstBuffer))
	case n > len(in.buf):
		in.buf = in.bufs.grow(in.buf, in.w, max(n, min(2*len(in.buf), 1<<maxClass)))
	}
	if one, err, was := in.watch.take(); was {
		in.w += copy(in.buf[in.w:], one)
		in.err = err
		return err
	}
	k, err := in.nc.Read(in.buf[in.w:])
	in.w += k
	if k > 0 {
		err = nil // it comes again
	}
	in.err = err
	return err
}

// drop cuts the first n bytes off, those of a message that is done with.
func (in *input) drop(n int) {
	rest := in.buf[n:in.w]
	in.w = len(rest)
	if in.w == 0 && len(in.buf) > 4*firstBuffer {
		in.bufs.put(in.buf)
		in.buf = nil
		return
	}
	copy(in.buf, rest)
}

// free gives the buffer back.
func (in *input) free() {
	if in.buf != nil {
		in.bufs.put(in.buf)
	}
	in.buf, in.w = nil, 0
}

// watchAfter is how long an exchange lasts before it is worth while to find out whether the application went away.
const watchAfter = 20 * time.Millisecond

// watcher reads one byte ahead while an exchange runs, so that the end of the connection is noticed at once and not at
// the next write. What it read is what fill returns next.
type watcher struct {
	mu      sync.Mutex
	timer   *time.Timer
	armed   bool
	running bool
	result  chan watched
}

type watched struct {
	b   [1]byte
	n   int
	err error
}

// arm begins to watch nc after a while. gone is called, from another goroutine, if the application goes away.
func (w *watcher) arm(nc io.Reader, gone func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed || w.running {
		return
	}
	w.armed = true
	if w.timer == nil {
		w.result = make(chan watched, 1)
		w.timer = time.AfterFunc(watchAfter, func() { w.run(nc, gone) })
		return
	}
	w.timer.Reset(watchAfter)
}

func (w *watcher) run(nc io.Reader, gone func()) {
	w.mu.Lock()
	if !w.armed {
		w.mu.Unlock()
		return
	}
	w.armed, w.running = false, true
	w.mu.Unlock()
	var r watched
	r.n, r.err = nc.Read(r.b[:])
	if r.err != nil {
		gone()
	}
	w.result <- r
}

// reads tells whether a watch reads.
func (w *watcher) reads() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.running
}

// disarm stops a watch that has not begun to read. One that has goes on reading.
func (w *watcher) disarm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed {
		w.armed = false
		w.timer.Stop()
	}
}

// take waits for the byte of a watch that reads. was is false if there is none.
func (w *watcher) take() (b []byte, err error, was bool) {
	w.disarm()
	if !w.reads() {
		return nil, nil, false
	}
	r := <-w.result
	w.mu.Lock()
	w.running = false
	w.mu.Unlock()
	if r.n > 0 {
		r.err = nil
	}
	return r.b[:r.n], r.err, true
}
