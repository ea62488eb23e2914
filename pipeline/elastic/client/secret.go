// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// Secret is an API key or a password. However it is printed, encoded or logged, it says only that it is one.
type Secret struct{ value string }

// NewSecret keeps a value.
func NewSecret(value string) Secret { return Secret{value} }

const hidden = "[secret]"

func (Secret) String() string               { return hidden }
func (Secret) GoString() string             { return hidden }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(hidden)) }
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
func (Secret) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (s Secret) Empty() bool                { return s.value == "" }

// maxSecret is far more than any key has.
const maxSecret = 64 << 10

// ReadSecret reads the one line of a file that nobody but its owner may read.
func ReadSecret(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, fmt.Errorf("reading the Elasticsearch key: %w", err)
	}
	defer f.Close()
	st, err := f.Stat() // of what is open, not of what the name means by then
	if err != nil {
		return Secret{}, fmt.Errorf("reading the Elasticsearch key: %w", err)
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o077 != 0 {
		return Secret{}, fmt.Errorf("the Elasticsearch key %s has mode %04o: run chmod 0600 on it", path, st.Mode().Perm())
	}
	if st.Size() > maxSecret {
		return Secret{}, fmt.Errorf("the Elasticsearch key %s has %d bytes: it holds the key alone, on one line", path, st.Size())
	}
	b := make([]byte, st.Size())
	n, err := f.ReadAt(b, 0)
	if n < len(b) {
		return Secret{}, fmt.Errorf("reading the Elasticsearch key: %w", err)
	}
	value := strings.TrimSpace(string(b))
	if value == "" || strings.ContainsAny(value, "\r\n\t ") {
		return Secret{}, fmt.Errorf("the Elasticsearch key %s is empty or has several lines: it holds the encoded key alone, on one line", path)
	}
	return Secret{value}, nil
}
