// SPDX-License-Identifier: Apache-2.0

package tlsca

import (
	"fmt"
	"io"
)

// redacted is all that a Secret ever prints.
const redacted = "[secret]"

// Secret holds bytes that must not appear in a log, an error or a message: every way of printing it that fmt, log/slog,
// encoding/json and encoding.TextMarshaler know gives the same fixed word. The zero value is empty.
type Secret struct {
	// A function, so that printing a struct that holds a Secret in an unexported field, where fmt cannot call its
	// methods, gives an address for every verb. (A pointer does not: fmt follows it to report a verb that does not fit.)
	hold func() *[]byte
}

// NewSecret takes ownership of b.
func NewSecret(b []byte) Secret { return Secret{func() *[]byte { return &b }} }

// Reveal returns the bytes themselves; the caller must not change or print them. After Wipe it returns nil.
func (s Secret) Reveal() []byte {
	if s.hold == nil {
		return nil
	}
	return *s.hold()
}

// Wipe overwrites the bytes, for all copies of s. Other copies that the runtime or a parser made are not reached.
func (s Secret) Wipe() {
	if s.hold != nil {
		b := s.hold()
		clear(*b)
		*b = nil
	}
}

// String implements fmt.Stringer.
func (Secret) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Secret) GoString() string { return redacted }

// Format implements fmt.Formatter, so that no verb and no flag reaches the bytes.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText implements encoding.TextMarshaler, which is what log/slog's text handler asks for.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements json.Marshaler, which is what log/slog's JSON handler asks for.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
