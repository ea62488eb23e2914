// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"testing"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{`principal:a* tool:shell -verdict:deny "wire \"x\" transfer" since:24h`, `-"`, `tokens:>=3`, `a:b:c`, `*`, `"" x`, "text : \x00 NEAR(a)", `since:2026-01-01T00:00:00Z`,
		`a* -b* "c" NEAR(x y, 3)`, `since:65535d until:9999-12-31`, `since:0001-01-01 -until:2562047h`, `principal:*a*b*c*[?]*`, `-tokens:<9223372036854775807 duration:>=-1`, `""" ("a" OR b)^`} {
		f.Add(s)
	}
	r := newRig(f)
	now := r.base
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(s, now)
		if err != nil {
			var want *QueryError
			if !errors.As(err, &want) {
				t.Fatalf("%q: %v is no QueryError", s, err)
			}
			return
		}
		if _, err := r.a.Search(context.Background(), q, 0, 1); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
