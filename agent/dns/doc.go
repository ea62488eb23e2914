// SPDX-License-Identifier: Apache-2.0

// Package dns looks a second time at what programs were told about endpoints by DNS. The programs in the kernel learn addresses
// from answers in time for the connection that follows; here the same answers are read by another parser and compared: a
// difference is counted, told and mended. Answers over TCP, which the kernel does not put together, are learned here, and what
// HTTPS records (RFC 9460) offer that would go past the proxy, ECH and HTTP/3, is reported.
//
// It has no sockets: copies come in, findings and addresses go out.
package dns
