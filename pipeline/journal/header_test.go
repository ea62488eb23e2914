// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// TestHeader: the hash of each record is that of its header, which names the digest of what is stored.
func TestHeader(t *testing.T) {
	dir, _ := witnessed(t)
	r := must(OpenReader(dir, pipeline.Position{}))
	defer r.Close()
	for n := 0; ; n++ {
		e, err := r.Next()
		if errors.Is(err, io.EOF) && n > 10 {
			return
		}
		if err != nil {
			t.Fatal(n, err)
		}
		h := e.Header()
		if sha256.Sum256(h) != e.Hash || sha256.Sum256(e.Stored()) != Hash(h[76:108]) {
			t.Fatalf("record %d: %s", n, e.Kind)
		}
	}
}
