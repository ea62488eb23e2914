// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The parts of io_uring(7) that one message needs (linux/io_uring.h).
const (
	opSendmsg    = 9
	offSQRing    = 0
	offCQRing    = 0x8000000
	offSQEs      = 0x10000000
	enterGetOne  = 1 // IORING_ENTER_GETEVENTS
	sqeSize      = 64
	paramsSQOffs = 40 // of struct io_uring_params: io_sqring_offsets, then io_cqring_offsets
	paramsCQOffs = 80
)

// uringSend sends one datagram by io_uring and gives the error that the kernel reports.
func uringSend(fd int, to unix.RawSockaddrInet4, data []byte) error {
	var params [120]byte
	ring, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if e != 0 {
		return fmt.Errorf("io_uring_setup: %w", e)
	}
	defer unix.Close(int(ring))
	page := unix.Getpagesize()
	maps := map[int64][]byte{offSQRing: nil, offCQRing: nil, offSQEs: nil}
	for at := range maps {
		m, err := unix.Mmap(int(ring), at, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
		if err != nil {
			return fmt.Errorf("mapping io_uring: %w", err)
		}
		defer unix.Munmap(m)
		maps[at] = m
	}
	u32 := func(b []byte, at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&b[at])) }
	sq := func(n uint32) uint32 { return *u32(params[:], paramsSQOffs+4*n) }
	cq := func(n uint32) uint32 { return *u32(params[:], paramsCQOffs+4*n) }
	iov := unix.Iovec{Base: &data[0]}
	iov.SetLen(len(data))
	msg := unix.Msghdr{Name: (*byte)(unsafe.Pointer(&to)), Namelen: uint32(unsafe.Sizeof(to)), Iov: &iov, Iovlen: 1}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&data[0])
	pin.Pin(&iov)
	pin.Pin(&to)
	pin.Pin(&msg)
	sqe := maps[offSQEs][:sqeSize]
	sqe[0] = opSendmsg
	*(*int32)(unsafe.Pointer(&sqe[4])) = int32(fd)
	*(*uint64)(unsafe.Pointer(&sqe[16])) = uint64(uintptr(unsafe.Pointer(&msg)))
	*(*uint32)(unsafe.Pointer(&sqe[24])) = 1
	*u32(maps[offSQRing], sq(6)) = 0  // array[0] is entry 0
	*u32(maps[offSQRing], sq(1)) += 1 // tail
	if _, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, ring, 1, 1, enterGetOne, 0, 0); e != 0 {
		return fmt.Errorf("io_uring_enter: %w", e)
	}
	if res := *(*int32)(unsafe.Pointer(&maps[offCQRing][cq(5)+8])); res < 0 { // cqes[0].res
		return unix.Errno(-res)
	}
	return nil
}
