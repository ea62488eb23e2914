// SPDX-License-Identifier: Apache-2.0

// Package webhook tells a webhook that people are waited for. It follows the Standard Webhooks specification 1.0
// (https://www.standardwebhooks.com): headers webhook-id, webhook-timestamp and webhook-signature, the latter an
// HMAC-SHA256 over the three of ID, time and body.
//
// Send never waits: messages go into a bounded queue, and what finds no room is dropped and counted. Run delivers, a few at
// a time, and tries again with growing, jittered pauses until a message is taken or has become pointless. A message keeps
// its ID, so a receiver that gets it twice can tell. The receiver's certificate is verified, redirects are refused (they
// would take a signed message to a host that nobody configured), and the reply's body is not read.
package webhook
