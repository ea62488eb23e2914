// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"strings"
	"testing"
)

const prose = "The quick brown fox jumps over the lazy dog, and 42 of its 1,300 friends watch; it's a well-known sentence.\n"

func benchEngine(b *testing.B, o Options) *Engine {
	b.Helper()
	e, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	return e
}

func benchWrite(b *testing.B, o Options, carrier, text string, piece int) {
	e := benchEngine(b, o)
	in, dst := []byte(text), make([]byte, 0, len(text)+1024)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	r := e.Stream(carrier, StreamOptions{})
	for b.Loop() {
		for at := 0; at < len(in); at += piece {
			var err error
			if dst, err = r.Write(dst[:0], in[at:min(at+piece, len(in))]); err != nil {
				b.Fatal(err)
			}
		}
		r.forget()
	}
}

func BenchmarkProse(b *testing.B) {
	text := strings.Repeat(prose, 600)
	b.Run("secrets", func(b *testing.B) { benchWrite(b, Options{}, CarrierArgs, text, 1<<20) })
	b.Run("rules", func(b *testing.B) { benchWrite(b, Options{}, "text", text, 1<<20) })
	b.Run("names", func(b *testing.B) { benchWrite(b, Options{Names: true}, "text", text, 1<<20) })
	b.Run("tokens", func(b *testing.B) { benchWrite(b, Options{Names: true}, "text", text, 4) })
}
