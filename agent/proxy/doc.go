// SPDX-License-Identifier: Apache-2.0

// Package proxy accepts the connections that the kernel redirected, learns where each one wanted to go and who opened
// it, and then refuses it, relays it unread, or terminates its TLS and serves HTTP/1.1 or HTTP/2 exchanges to a Handler.
//
// # One connection
//
// Origins.Take (a miss closes it) → Identifier → first bytes → Router → refuse | pass | terminate. A client that is
// silent for 200 ms may be waiting for the server to speak: then, if the router would pass it, the server is dialled and
// what it says is relayed, but the decision is made on the client's first bytes all the same, so that a late
// ClientHello cannot slip past.
//
// # Bytes
//
// A head, a chunk and a body that nobody changed leave as they came; see http1 for edits. Known differences from a
// direct connection: interim replies (100, 103) end here, for the handler decides on the whole body, so the proxy itself
// answers Expect: 100-continue; the body of a chunked request is sent on in the same chunks, but without chunk extensions
// and trailer fields; those of a reply are dropped too, except in observe mode, since nobody would inspect them; a chunk
// of more than 64 KiB, or one that takes longer than 10 ms to arrive, is passed on in parts, each a chunk.
//
// Writes to the application are coalesced when that delays nothing: a reply's head and what is already there of its
// body leave in one write. They are flushed before anything blocks, and after 1 ms in any case.
//
// # Failing closed
//
// A reply is complete only if Handler.Serve returned nil. Otherwise the connection ends without the final chunk, or
// before the announced length, or by a reset, and never with a close_notify. A request that is refused here (malformed,
// for another host, an upgrade) is answered and recorded in the Ledger; in observe mode the connection is then relayed
// unread instead.
//
// A body that can be read in two ways is answered with 400 in every mode: what was read of it is no longer what was sent. An
// application that closes its half of the TCP connection before it has its reply has gone.
//
// A request is never sent twice. An idle upstream connection is checked before it is used again; should its first write
// fail all the same, the request goes out on a new one only if the kernel took not one byte of it.
//
// # Goroutines
//
// One per connection, one more while a relay runs or a dial overlaps the decision. All end before the connection's own
// goroutine does. One for all connections of a Serve looks out for applications that go away while they wait for a reply;
// it is told of an exchange that lasts 20 ms. Serve returns after all of them.
//
// Size: package: one connection shares its buffers, deadlines and end from accept to the last byte of its last exchange;
// what could be cut off without sharing them is in http1 and hello.
package proxy
