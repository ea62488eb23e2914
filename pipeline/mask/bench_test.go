// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"strings"
	"testing"
)

const prose = "The quick brown fox jumps over the lazy dog, and 42 of its 1,300 friends watch; it's a well-known sentence.\n"

// TestWriteDoesNotAllocate: nothing on the way of a text without findings.
func TestWriteDoesNotAllocate(t *testing.T) {
	r := testEngine.Stream("text")
	in, dst := []byte(prose), make([]byte, 0, 4<<10)
	if n := testing.AllocsPerRun(100, func() { dst, _ = r.Write(dst[:0], in) }); n != 0 {
		t.Errorf("%v allocations per Write", n)
	}
}

func BenchmarkProse(b *testing.B) { benchWrite(b, strings.Repeat(prose, 600), 1<<20) }

func BenchmarkTokens(b *testing.B) { benchWrite(b, prose, 4) }

func BenchmarkNumbers(b *testing.B) {
	benchWrite(b, strings.Repeat("1234 5678 9012 3456, 17-03-2024; ", 2000), 1<<20)
}

func BenchmarkPrefixes(b *testing.B) {
	benchWrite(b, strings.Repeat("sk-ant-a ghp_b SG.c AKIA ", 2000), 1<<20)
}

func benchWrite(b *testing.B, text string, piece int) {
	in, dst := []byte(text), make([]byte, 0, len(text)+1024)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	r := testEngine.Stream("text")
	for b.Loop() {
		for at := 0; at < len(in); at += piece {
			dst, _ = r.Write(dst[:0], in[at:min(at+piece, len(in))])
		}
	}
}

var sink *Rewriter

func BenchmarkStream(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		sink = testEngine.Stream("text")
	}
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		New(Options{})
	}
}
