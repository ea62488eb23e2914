// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/bits"
	"sync"
	"unsafe"
)

// buffers lends memory in powers of two, from 4 KiB to 4 MiB; larger pieces are made and left to the collector.
type buffers struct {
	pools [maxClass - minClass + 1]sync.Pool
}

const (
	minClass = 12
	maxClass = 22
)

// get returns at least n bytes.
func (b *buffers) get(n int) []byte {
	class := max(bits.Len(uint(max(n, 1)-1)), minClass)
	if class > maxClass {
		return make([]byte, n)
	}
	if p, ok := b.pools[class-minClass].Get().(*byte); ok {
		return unsafe.Slice(p, 1<<class) // put has seen to it
	}
	return make([]byte, 1<<class)
}

// put takes memory back. Nobody may use it any more.
func (b *buffers) put(p []byte) {
	p = p[:cap(p)]
	class := bits.Len(uint(len(p))) - 1
	if len(p) != 1<<class || class < minClass || class > maxClass {
		return
	}
	b.pools[class-minClass].Put(unsafe.SliceData(p)) // a pointer to a slice would be memory of its own
}

// grow returns a larger buffer with the first used bytes of p, which it takes.
func (b *buffers) grow(p []byte, used, n int) []byte {
	q := b.get(n)
	copy(q, p[:used])
	b.put(p)
	return q
}
