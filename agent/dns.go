// SPDX-License-Identifier: Apache-2.0

package agent

// DNSCopy is a piece of DNS traffic that the kernel programs saw, for a second look in user space.
type DNSCopy struct {
	Kind    DNSKind
	NetNS   uint64 // netns cookie
	Socket  uint64 // cookie of the program's socket
	Name    string // DNSAnswer: the endpoint that was asked for, in lower case
	Learned int    // DNSAnswer: how many addresses the kernel learned from it
	Size    int    // of the whole; Data may be cut
	Seq     uint32 // of a piece of a connection: sequence number of its first byte
	Data    []byte // valid until the receiver returns
}

// DNSKind says what a DNSCopy is.
type DNSKind uint8

const (
	DNSAnswer DNSKind = iota + 1 // an answer over UDP to a question about an endpoint, from its header on
	DNSIn                        // a piece of a TCP connection to a name server, as it came
	DNSOut                       // and as it left
)
