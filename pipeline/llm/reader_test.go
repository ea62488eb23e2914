// SPDX-License-Identifier: Apache-2.0

package llm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestMembers: whichever removable members are cut, what is left is the object without them.
func TestMembers(t *testing.T) {
	for _, body := range []string{
		`{"stay":1,"a":[1,2],"b":"x"}`,
		`{"a":1,"b":2,"stay":3}`,
		`{ "a" : 1 , "stay" : 2 , "b" : 3 , "also" : 4 , "c" : 5 }`,
		`{"a":1,"b":2,"stay":3,"c":4,"also":5}`,
		`{"stay":1,"a":1,"also":2,"b":2,"c":{"a":1}}`,
		`{"stay":1}`,
		`{"stay":1,"a":{}}`,
	} {
		for mask := range 8 {
			t.Run(fmt.Sprintf("%s without %03b", body, mask), func(t *testing.T) {
				var s Scanner
				if err := s.Reset([]byte(body)); err != nil {
					t.Fatal(err)
				}
				var edits []Edit
				err := s.Members(func(m Member) (func(Span), error) {
					if err := s.Pass(); err != nil {
						return nil, err
					}
					i := strings.Index("abc", string(m.Key))
					if i < 0 {
						return nil, nil
					}
					return func(at Span) {
						if mask&(1<<i) != 0 {
							edits = append(edits, Edit{Span: at})
						}
					}, nil
				})
				if err != nil {
					t.Fatal(err)
				}
				now, err := Splice(nil, []byte(body), edits)
				if err != nil {
					t.Fatal(err)
				}
				var got, want map[string]any
				if err := json.Unmarshal(now, &got); err != nil {
					t.Fatalf("%s: %v", now, err)
				}
				if err := json.Unmarshal([]byte(body), &want); err != nil {
					t.Fatal(err)
				}
				for i, k := range []string{"a", "b", "c"} {
					if mask&(1<<i) != 0 {
						delete(want, k)
					}
				}
				if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
					t.Errorf("left %s", now)
				}
			})
		}
	}
}
