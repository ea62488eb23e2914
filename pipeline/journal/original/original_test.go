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

// sealReply seals a reply in pieces.
func sealReply(t testing.TB, s *Sealer, exchange string, pieces ...string) (key []byte, sealed [][]byte) {
	t.Helper()
	r := s.Reply(exchange)
	defer r.Close()
	for i, p := range pieces {
		sealed = append(sealed, r.Piece(nil, []byte(p), i == len(pieces)-1))
	}
	key, err := r.Key()
	if err != nil {
		t.Fatal(err)
	}
	return key, sealed
}

// A reply opens for any two of three, and for nobody alone.
func TestReplyTwoPeople(t *testing.T) {
	names, who := people(t, 3)
	_, stranger := people(t, 1)
	s, err := New(names)
	if err != nil {
		t.Fatal(err)
	}
	key, sealed := sealReply(t, s, "exc_1", "the ", "very ", "words")
	for i := range who {
		for k := range who {
			got, whole, err := OpenReply("exc_1", key, sealed, who[i], who[k])
			if i == k && (!errors.Is(err, ErrAlone) || got != nil) || i != k && (string(got) != "the very words" || !whole || err != nil) {
				t.Errorf("%d and %d: %q %t %v", i, k, got, whole, err)
			}
		}
		if got, _, err := OpenReply("exc_1", key, sealed, who[i], stranger[0]); !errors.Is(err, ErrAlone) || got != nil {
			t.Errorf("%d and a stranger: %q %v", i, got, err)
		}
	}
}

// What was done to the pieces shows. Nothing is given of pieces that are not what was sealed.
func TestReplyPieces(t *testing.T) {
	names, who := people(t, 2)
	s, err := New(names)
	if err != nil {
		t.Fatal(err)
	}
	key, p := sealReply(t, s, "exc_1", "one", "two", "three")
	otherKey, other := sealReply(t, s, "exc_1", "one", "two", "three")
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	for _, c := range []struct {
		name     string
		exchange string
		key      []byte
		pieces   [][]byte
		want     string
		whole    bool
		err      error // nil: it opens
	}{
		{"as sealed", "exc_1", key, p, "onetwothree", true, nil},
		{"the end is missing", "exc_1", key, p[:2], "onetwo", false, nil},
		{"nothing is there", "exc_1", key, nil, "", false, nil},
		{"a bit in the text", "exc_1", key, [][]byte{p[0], flip(p[1], 0), p[2]}, "", false, errChanged},
		{"a bit in the tag", "exc_1", key, [][]byte{p[0], p[1], flip(p[2], len(p[2])-1)}, "", false, errChanged},
		{"the first is missing", "exc_1", key, p[1:], "", false, errChanged},
		{"one in the middle is missing", "exc_1", key, [][]byte{p[0], p[2]}, "", false, errChanged},
		{"another order", "exc_1", key, [][]byte{p[1], p[0], p[2]}, "", false, errChanged},
		{"one twice", "exc_1", key, [][]byte{p[0], p[0], p[1], p[2]}, "", false, errChanged},
		{"more behind the end", "exc_1", key, append(p[:3:3], p[2]), "", false, errChanged},
		{"one of another reply", "exc_1", key, [][]byte{p[0], other[1], p[2]}, "", false, errChanged},
		{"the key of another reply", "exc_1", otherKey, p, "", false, errChanged},
		{"another exchange", "exc_2", key, p, "", false, errChanged},
		{"an empty piece", "exc_1", key, [][]byte{p[0], {}, p[2]}, "", false, errChanged},
		{"no key", "exc_1", []byte(`{}`), p, "", false, ErrAlone},
	} {
		got, whole, err := OpenReply(c.exchange, c.key, c.pieces, who[0], who[1])
		if string(got) != c.want || whole != c.whole || !errors.Is(err, c.err) {
			t.Errorf("%s: %q %t %v", c.name, got, whole, err)
		}
	}
	for _, b := range p {
		if bytes.Contains(b, []byte("one")) || bytes.Contains(b, []byte("thr")) {
			t.Error("a piece is in the clear")
		}
	}
	if _, _, err := OpenReply("exc_1", []byte("{"), p, who[0], who[1]); err == nil {
		t.Error("a key that is no JSON opens it")
	}
}

// A request and a reply cannot stand for each other, even under one key.
func TestReplyIsNoRequest(t *testing.T) {
	names, who := people(t, 2)
	s, err := New(names)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := s.Seal([]byte("a request"))
	if err != nil {
		t.Fatal(err)
	}
	var sealed Sealed
	if err := json.Unmarshal(raw, &sealed); err != nil {
		t.Fatal(err)
	}
	if got, _, err := OpenReply("exc_1", raw, [][]byte{sealed.Box}, who[0], who[1]); !errors.Is(err, errChanged) {
		t.Errorf("%q %v", got, err)
	}
}

// After Close the key is gone.
func TestReplyClose(t *testing.T) {
	names, _ := people(t, 2)
	s, err := New(names)
	if err != nil {
		t.Fatal(err)
	}
	r := s.Reply("exc_1")
	_ = r.Piece(nil, []byte("x"), false)
	r.Close()
	if r.key != [keySize]byte{} || r.aead != nil {
		t.Error("the key is still there")
	}
	if key, err := r.Key(); err == nil {
		t.Errorf("it was given away: %s", key)
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

func FuzzOpenReply(f *testing.F) {
	names, who := people(f, 2)
	s, err := New(names)
	if err != nil {
		f.Fatal(err)
	}
	key, sealed := sealReply(f, s, "exc_1", "one", "two")
	f.Add(key, sealed[0], sealed[1])
	f.Add(key, sealed[1], sealed[0])
	f.Add([]byte(`{"pairs":[{"recipients":["a","b"],"halves":["",""]}]}`), []byte{}, []byte{1})
	f.Add([]byte(`{`), []byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, k, a, b []byte) {
		got, whole, err := OpenReply("exc_1", k, [][]byte{a, b}, who[0], who[1])
		same := bytes.Equal(a, sealed[0]) && bytes.Equal(b, sealed[1])
		if err == nil && (!same || !whole || string(got) != "onetwo") || err != nil && got != nil {
			t.Errorf("opened %q of what nobody sealed: %v", got, err)
		}
	})
}
