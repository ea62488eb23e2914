// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"bytes"
	"strings"
	"testing"
)

func FuzzProgram(f *testing.F) {
	f.Add(frozenProgram("\xfa\x0elangchain_core)", "a/b"))
	f.Add(append([]byte("\x7fELF"), zipped(f, "langchain_core/x.py")...))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := program(bytes.NewReader(b), int64(len(b)))
		if got.how != "" && !bytes.Contains(b, []byte("langchain")) {
			t.Errorf("found %q in what does not name it (%v)", got.how, err)
		}
	})
}

func FuzzArchive(f *testing.F) {
	f.Add(zipped(f, "langchain_core/x.py", "y"))
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Add([]byte("PK\x06\x07" + strings.Repeat("\x00", 16) + "PK\x05\x06" + strings.Repeat("\xff", 18)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := archive(bytes.NewReader(b), int64(len(b)), "x")
		if got.how != "" && (err != nil || !bytes.Contains(b, []byte("langchain"))) {
			t.Errorf("found %q, %v", got.how, err)
		}
	})
}

func FuzzArguments(f *testing.F) {
	f.Add("python3\x00-W\x00x\x00a.py")
	f.Add("node\x00-r\x00x\x00--\x00a.js")
	f.Add("python3\x00-m")
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\x00")
		if n := len(candidates(python, args)); n > 2 {
			t.Errorf("%d scripts", n)
		}
		if n := len(candidates(javascript, args)); n > 2*maxTries+1 {
			t.Errorf("%d scripts", n)
		}
	})
}

func FuzzMaps(f *testing.F) {
	f.Add("7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ")
	f.Add("55-56 rw-p 00000000 00:00 0 [heap]")
	f.Add("55-56 r--p 00000000 08:01 7 /lib/x.so")
	f.Fuzz(func(t *testing.T, line string) {
		if begin, end, ok := private(line); ok && begin >= end {
			t.Errorf("%d to %d", begin, end)
		}
	})
}
