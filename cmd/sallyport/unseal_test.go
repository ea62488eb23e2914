// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"testing"
)

// The bytes of an original reach a file as they are, and a terminal without what steers it; then that is said.
func TestWriteOriginal(t *testing.T) {
	for _, c := range []struct {
		name     string
		in       string
		terminal bool
		want     string
		told     bool
	}{
		{"a file", "a\x1b]0;owned\x07\r\n\xff", false, "a\x1b]0;owned\x07\r\n\xff", false},
		{"a terminal", "a\x1b]0;owned\x07\nb", true, "a\uFFFD]0;owned\uFFFD\nb", true},
		{"a terminal, C1 and other ends of lines", "a\u009b2J\u2028\rb", true, "a\uFFFD2J\uFFFD\uFFFDb", true},
		{"a terminal, bytes that are no text", "a\x9b2J", true, "a\uFFFD2J", true},
		{"a terminal, plain", "words\n\tand more", true, "words\n\tand more", false},
	} {
		var out, told bytes.Buffer
		a := &app{out: &out, err: &told}
		if err := a.writeOriginal([]byte(c.in), c.terminal); err != nil || out.String() != c.want || (told.Len() > 0) != c.told {
			t.Errorf("%s: %q, told %q, %v", c.name, out.String(), told.String(), err)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if isTerminal(f) || isTerminal(new(bytes.Buffer)) {
		t.Error("a file is a terminal")
	}
	p, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !isTerminal(p) {
		t.Error("a terminal is none")
	}
}
