// SPDX-License-Identifier: Apache-2.0

package personal

import (
	"testing"
)

// TestBounds holds each rule to the most bytes that it may hold back.
func TestBounds(t *testing.T) {
	for _, r := range Rules() {
		_, n, err := r.Compile()
		if err != nil {
			t.Error(err)
			continue
		}
		limit := 120
		if r.Type == "EMAIL" {
			limit = 320
		}
		t.Logf("%s: %d bytes", r.Name, n)
		if n > limit {
			t.Errorf("%s: a match may have %d bytes, more than %d", r.Name, n, limit)
		}
		if r.Tail != nil {
			t.Errorf("%s is open", r.Name)
		}
	}
}
