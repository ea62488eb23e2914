// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"
	"log/slog"

	"github.com/sallyport-dev/sallyport/pipeline/secretfile"
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

// ReadSecret reads the one line of a file that nobody but its owner may read.
func ReadSecret(path string) (Secret, error) {
	value, err := secretfile.Read(path, "the Elasticsearch key")
	return Secret{value}, err
}
