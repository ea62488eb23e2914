// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"reflect"
	"slices"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestReleaseWipes: a rewriter that is used again knows nothing of the text before.
func TestReleaseWipes(t *testing.T) {
	e := New(Options{Key: []byte("k")})
	for _, before := range []string{"card 4111 1111 1111", "mail joe@exam", "sk-ant-api03-abcdefghij", "key AKIAIOSFODNN7EXAMPLE", `\u00`} {
		r := e.Stream("text")
		if _, err := r.Write(nil, []byte(before)); err != nil {
			t.Fatal(err)
		}
		masks := r.Masks()
		kept := append([]pipeline.Mask(nil), masks...)
		r.Release()
		if !reflect.DeepEqual(*r, Rewriter{}) {
			t.Errorf("%q: something is left", before)
		}
		got, _ := e.Mask("text", "ple.com 1111 z")
		if got != "ple.com 1111 z" {
			t.Errorf("after %q: %q", before, got)
		}
		if !slices.Equal(masks, kept) {
			t.Errorf("after %q the masks changed", before)
		}
	}
}
