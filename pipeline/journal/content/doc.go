// SPDX-License-Identifier: Apache-2.0

// Package content keeps what people and models said apart from the chain that proves it: encrypted under a key for each session,
// so that whoever destroys the key has erased the content wherever the journal was copied to, and the chain, which covers
// the ciphertext, still verifies. Within a session a text that was recorded before is not recorded again but referred to.
//
// Keys lie in a folder of their own, wrapped by the key of the journal. The bytes are described in docs/journal-format.md.
package content
