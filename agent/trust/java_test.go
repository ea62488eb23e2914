// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"slices"
	"testing"
	"time"
)

// jks makes a key store of certificates.
func jks(version uint32, roots ...[]byte) []byte {
	b := append(bytes.Clone(jksMagic), 0, 0, 0, byte(version), 0, 0, 0, byte(len(roots)))
	for _, r := range roots {
		block, _ := pem.Decode(r)
		b = jksEntry(b, version, "x", block.Bytes, time.Unix(1, 0))
	}
	return jksSeal(b)
}

// pkcs12 makes one of the other form.
func pkcs12(t *testing.T, data asn1.ObjectIdentifier, bag asn1.ObjectIdentifier, roots ...[]byte) []byte {
	t.Helper()
	enc := func(v any) []byte {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	wrap := func(b []byte) asn1.RawValue { return asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: b} }
	type info struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}
	type value struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	var bags []value
	for _, r := range roots {
		block, _ := pem.Decode(r)
		bags = append(bags, value{bag, wrap(enc(value{oidX509, wrap(enc(block.Bytes))}))})
	}
	safes := enc([]info{{data, wrap(enc(enc(bags)))}})
	return enc(struct {
		Version int
		Safe    info
	}{3, info{oidData, wrap(enc(safes))}})
}

func TestMergeJava(t *testing.T) {
	a, b, ours := newRoot(t, "a"), newRoot(t, "b"), newRoot(t, "ours")
	withKey := jks(2, a)
	binary.BigEndian.PutUint32(withKey[12:], 1)
	for _, c := range []struct {
		name  string
		store []byte
		want  []byte // nil: refused
		added bool
	}{
		{"JKS", jks(2, a, b), jks(2, a, b, ours), true},
		{"JKS of version 1", jks(1, a), jks(1, a, ours), true},
		{"JKS that has it", jks(2, a, ours), jks(2, a, ours), false},
		{"PKCS #12", pkcs12(t, oidData, oidCertBag, a, b), jks(2, a, b, ours), true},
		{"PKCS #12 that has it", pkcs12(t, oidData, oidCertBag, a, ours), jks(2, a, ours), false},
		{"encrypted PKCS #12", pkcs12(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}, oidCertBag, a), nil, false},
		{"PKCS #12 with a key", pkcs12(t, oidData, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}, a), nil, false},
		{"JKS with a key", withKey, nil, false},
		{"JKS of version 3", jks(3, a), nil, false},
		{"JKS cut off", jks(2, a)[:100], nil, false},
		{"JKS with more behind it", jksSeal(append(jks(2, a), 1)), nil, false},
		{"empty JKS", jks(2), nil, false},
		{"a sequence that is none", []byte{0x30, 0x82, 0, 0}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, added, err := mergeStore(c.store, [][]byte{ours})
			if c.want == nil {
				if err == nil || !errors.Is(err, errKeyStore) && !errors.Is(err, errNoCert) {
					t.Errorf("%x, %v", got, err)
				}
				return
			}
			if err != nil || added != c.added {
				t.Fatal(added, err)
			}
			if g, w := certificates(t, got), certificates(t, c.want); !slices.Equal(g, w) {
				t.Errorf("%d certificates, want %d", len(g), len(w))
			}
			if again, added, err := mergeStore(got, [][]byte{ours}); err != nil || added || !bytes.Equal(again, got) {
				t.Errorf("merging again: %v %v", added, err)
			}
		})
	}
}

// certificates are those of a JKS store.
func certificates(t *testing.T, store []byte) (out []string) {
	t.Helper()
	version := binary.BigEndian.Uint32(store[4:])
	r := reader{b: store[12 : len(store)-20]}
	for range binary.BigEndian.Uint32(store[8:]) {
		r.u32()
		r.take(int(r.u16()))
		r.take(8)
		if version == 2 {
			r.take(int(r.u16()))
		}
		out = append(out, string(r.take(int(r.u32()))))
	}
	if r.bad || !bytes.Equal(jksSeal(bytes.Clone(store[:len(store)-20])), store) {
		t.Error("the store is damaged")
	}
	return out
}

func FuzzMergeStore(f *testing.F) {
	f.Add([]byte("\xfe\xed\xfe\xed\x00\x00\x00\x02\x00\x00\x00\x00" + string(make([]byte, 20))))
	f.Add([]byte{0x30, 0x82, 0, 3, 2, 1, 3})
	f.Fuzz(func(t *testing.T, store []byte) {
		got, added, err := mergeStore(store, nil)
		if err == nil && added {
			t.Errorf("added nothing, and says so: %x", got)
		}
	})
}
