// SPDX-License-Identifier: Apache-2.0

package original

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"filippo.io/age"
)

func people(t testing.TB, n int) (names []string, who [][]age.Identity) {
	t.Helper()
	for range n {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		names, who = append(names, id.Recipient().String()), append(who, []age.Identity{id})
	}
	return names, who
}

// Any two open it; one alone, twice the same, or a stranger with one of them do not.
func TestTwoPeople(t *testing.T) {
	for _, n := range []int{2, 3, MaxRecipients} {
		names, who := people(t, n)
		_, stranger := people(t, 1)
		s, err := New(names)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := s.Seal([]byte("the words"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sealed, []byte("words")) {
			t.Error("it is in the clear")
		}
		for i := range who {
			for k := range who {
				got, err := Open(sealed, who[i], who[k])
				if i == k && !errors.Is(err, ErrAlone) || i != k && string(got) != "the words" {
					t.Errorf("%d of %d and %d: %q %v", i, n, k, got, err)
				}
			}
			if _, err := Open(sealed, who[i], stranger[0]); !errors.Is(err, ErrAlone) {
				t.Errorf("%d and a stranger: %v", i, err)
			}
		}
		var changed Sealed
		if err := json.Unmarshal(sealed, &changed); err != nil {
			t.Fatal(err)
		}
		changed.Box[0] ^= 1
		bad, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(bad, who[0], who[1]); err == nil || errors.Is(err, ErrAlone) {
			t.Errorf("changed: %v", err)
		}
	}
}

func TestRecipients(t *testing.T) {
	names, _ := people(t, MaxRecipients+1)
	for what, list := range map[string][]string{"none": nil, "one": names[:1], "too many": names, "twice": {names[0], names[0]}, "no key": {names[0], "age1x"}} {
		if _, err := New(list); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
}

func FuzzOpen(f *testing.F) {
	_, who := people(f, 2)
	f.Add([]byte(`{"pairs":[{"recipients":["a","b"],"halves":["",""]}],"box":""}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Open(b, who[0], who[1]); err == nil {
			t.Error("opened what nobody sealed")
		}
	})
}
