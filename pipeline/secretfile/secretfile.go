// SPDX-License-Identifier: Apache-2.0

// Package secretfile reads files that hold one secret. What the secret means, and that it cannot print, is for those who ask.
package secretfile

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// maxBytes is far more than any secret on one line has.
const maxBytes = 64 << 10

// Read gives the one line of a file that nobody but its owner may read, without the space around it. what names it in errors, such as "the
// Elasticsearch key"; no error holds any of the file.
func Read(path, what string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe without a writer must not keep us
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", what, err)
	}
	defer f.Close()
	st, err := f.Stat() // of what is open, not of what the name means by then
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", what, err)
	}
	if !st.Mode().IsRegular() || st.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s %s has mode %04o: it has to be a file that its owner alone may read: run chmod 0600 on it", what, path, st.Mode().Perm())
	}
	if st.Size() > maxBytes {
		return "", fmt.Errorf("%s %s has %d bytes: it holds the secret alone, on one line", what, path, st.Size())
	}
	b := make([]byte, st.Size())
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return "", fmt.Errorf("reading %s: %w", what, err)
	}
	value := strings.TrimSpace(string(b))
	if value == "" || strings.ContainsAny(value, "\r\n\t ") {
		return "", fmt.Errorf("%s %s is empty or has several lines or words: it holds the secret alone, on one line", what, path)
	}
	return value, nil
}
