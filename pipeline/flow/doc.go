// SPDX-License-Identifier: Apache-2.0

// Package flow takes one exchange from its first byte to its last: decode, attribute, decide, record, forward, and
// the same for each event of the reply. Start reading at Flow.Serve; it holds the fail-closed rule.
//
// What an enforcing scope cannot decode, mask, decide or record is not passed: the request is answered by a denial
// before Upstream.Send is called, a reply is answered by a denial or cut before the bytes in question are written.
// An observing scope is the reverse: every byte passes as it came, whatever happens here.
//
// Size: package: the stages of one exchange share what is known of it and what has been released; apart, each would have
// to trust that the others were called, and in the right order.
package flow
