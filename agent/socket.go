// SPDX-License-Identifier: Apache-2.0

package agent

import "net/netip"

// Socket is a TCP connection that a process holds open, by one of its descriptors.
type Socket struct {
	Cookie     uint64 // of the socket; 0 if that is not known
	NetNS      uint64 // cookie of the socket's network namespace, which need not be the process's; 0 if that is not known
	NetNSInode uint32
	Local      netip.AddrPort // IPv4 is never in mapped form
	Remote     netip.AddrPort // the real one: of a redirected connection, the proxy
	Redirected bool           // by our programs

	PID   uint32
	Start uint64 // nanoseconds since boot at which the process started, at least as exact as /proc has it (10 ms)
	FD    int
}
