// SPDX-License-Identifier: Apache-2.0

// Package mask finds secrets and personal data in text and replaces them, also in text that arrives in pieces.
//
// # What is found
//
// Vendor API keys by their prefix (rules.go), payment card numbers (card.go) and e-mail addresses (mail.go). The carrier
// "args", the arguments of a tool call, is searched for keys only; every other carrier for all three.
//
// # What is written instead
//
// The type of the value in brackets: [OPENAI_KEY], [CREDIT_CARD], [EMAIL]; keys of smaller vendors are [VENDOR_TOKEN].
// The tag holds no character that JSON would escape, so masked JSON stays JSON.
//
// # Exactness
//
// A Rewriter is one automaton over bytes. What it does at a byte depends on the bytes before it and on nothing else:
// not on where the pieces end, not on time. Engine.Mask feeds it the whole text as one piece, so the output for any
// split equals the output for the whole by construction.
//
//   - A candidate is a value that may yet turn out to be one: the first bytes of a key prefix, a key that is too short
//     still, a run of digit groups, the local part of an address. Bytes are held from the start of the earliest live
//     candidate, and everything before it is released. No candidate lives longer than its bound (Engine.Bounds).
//   - A key is decided by its prefix and the shortest plausible length, an address by local@label.tld. From then on the
//     tag is out and the rest of the value is swallowed as it comes, so neither hold nor memory grows with it, and a
//     truncated value is masked too.
//   - A candidate that reaches its bound undecided is masked: the masker fails closed. The one exception is a long word
//     before an @: of that the last 64 bytes, the longest local part that SMTP allows, count.
//   - Given whole runes, whole runes are released.
//
// The left context is the byte before: a key starts where no ASCII letter or digit precedes it, and an escape of JSON
// (\n, \t, \u00e9, ...) counts as a separator, because the arguments of tool calls are JSON text.
//
// # Fingerprints
//
// With a key in Options each mask carries 16 hex digits of HMAC-SHA-256 over the value: card numbers without their
// separators, addresses in lower case. Equal values can so be linked; without the key they cannot be guessed.
//
// Not found yet: private keys, tokens without a vendor prefix, quoted local parts, values written as HTML or URL escapes.
package mask
