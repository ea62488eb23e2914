// SPDX-License-Identifier: Apache-2.0

package masking

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask"
)

func BenchmarkProse(b *testing.B) {
	bench(b, func(d *Document) bool { return strings.HasPrefix(d.Source, "MT-bench") })
}

func BenchmarkCode(b *testing.B) {
	bench(b, func(d *Document) bool { return strings.HasPrefix(d.Source, "Go standard") })
}

func BenchmarkDense(b *testing.B) { bench(b, func(d *Document) bool { return len(d.Spans) > 1 }) }

func bench(b *testing.B, which func(*Document) bool) {
	docs := corpus(b)
	var text []byte
	for i := range docs {
		if which(&docs[i]) {
			text = append(append(text, docs[i].Text...), "\n\n"...)
		}
	}
	e := engine(b)
	dst := make([]byte, 0, 2*len(text))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		r := e.Stream(Carrier, mask.StreamOptions{})
		var err error
		if dst, err = r.Write(dst[:0], text); err != nil {
			b.Fatal(err)
		}
		if dst, err = r.Flush(dst); err != nil {
			b.Fatal(err)
		}
		r.Release()
	}
}
