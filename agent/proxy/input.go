// SPDX-License-Identifier: Apache-2.0

package proxy

import "net"

// input is what an application sends. One message at a time lies at the front of buf: its head, then its body.
type input struct {
	nc   net.Conn
	bufs *buffers
	buf  []byte // nil while there is nothing in it
	w    int    // bytes in buf
	err  error  // why nothing more comes
	one  [1]byte
}

// firstBuffer is what a new request is read into.
const firstBuffer = 8 << 10

// await is fill without a buffer for as long as nothing comes: it reads one byte, and what comes with it is for fill. buf
// must be nil.
func (in *input) await() error {
	if in.err != nil {
		return in.err
	}
	k, err := in.nc.Read(in.one[:])
	if k > 0 {
		in.buf, err = in.bufs.get(firstBuffer), nil // an error comes again
		in.w = copy(in.buf, in.one[:k])
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
