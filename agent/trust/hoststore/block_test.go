// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

// newRoot makes a certificate as the authority would; a name that does not begin as ours is somebody else's.
func newRoot(t testing.TB, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func rootsOf(t testing.TB, list ...[]byte) []root {
	t.Helper()
	out, err := parseRoots(list)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBlock(t *testing.T) {
	one, two, other := newRoot(t, commonName+"one"), newRoot(t, commonName+"two"), newRoot(t, "Other CA")
	r1, r12 := rootsOf(t, one), rootsOf(t, one, two)
	base := "# a store\n" + string(other)
	block := func(mark string, certs ...[]byte) string {
		return mark + "\n" + string(bytes.Join(certs, nil)) + markEnd + "\n"
	}
	for _, c := range []struct {
		name, in, want string
	}{
		{"no block", base, base},
		{"empty", "", ""},
		{"one root", base + block(markBegin, one), base},
		{"two roots", base + block(markBegin, one, two), base},
		{"a root of an authority that is gone", base + block(markBegin, newRoot(t, commonName+"gone")), base},
		{"two blocks", base + block(markBegin, one) + block(markBegin, two), base},
		{"added behind", base + block(markBegin, one) + "# mine\n", base + "# mine\n"},
		{"added inside", base + block(markBegin, one, other), base + string(other)},
		{"a comment inside", base + markBegin + "\n# mine\n" + string(one) + markEnd + "\n", base + "# mine\n"},
		{"end lost", base + markBegin + "\n" + string(one), base},
		{"end lost, others follow", base + markBegin + "\n" + string(one) + string(other), base + string(other)},
		{"cut off in a certificate", base + markBegin + "\n-----BEGIN CERTIFICATE-----\nAAAA\n", base + "-----BEGIN CERTIFICATE-----\nAAAA\n"},
		{"line feed of ours", strings.TrimSuffix(base, "\n") + "\n" + block(markBeginNL, one), strings.TrimSuffix(base, "\n")},
		{"line feed of ours that others need now", strings.TrimSuffix(base, "\n") + "\n" + block(markBeginNL, one) + "# mine\n", base + "# mine\n"},
		{"an end alone is not ours", base + markEnd + "\n", base + markEnd + "\n"},
		{"our root without marks was put there by somebody", base + string(one), base + string(one)},
		{"mark inside a line", base + "# " + markBegin + "\n", base + "# " + markBegin + "\n"},
		{"carriage returns", base + markBegin + "\r\n" + string(one) + markEnd + "\r\n", base},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, found := cutBlock([]byte(c.in), r12)
			if string(got) != c.want || found != hasBlock([]byte(c.in)) {
				t.Errorf("found %v, got\n%s\nwant\n%s", found, got, c.want)
			}
			for _, roots := range [][]root{r1, r12} {
				added := addBlock([]byte(c.in), roots)
				have, err := certificates(added)
				if err != nil || !holds(have, roots) {
					t.Errorf("added: %v", err)
				}
				if again := addBlock(added, roots); !bytes.Equal(again, added) {
					t.Error("adding twice is not adding once")
				}
				if back, _ := cutBlock(added, roots); string(back) != c.want {
					t.Errorf("after adding and cutting\n%s\nwant\n%s", back, c.want)
				}
			}
		})
	}
}

func TestCertificates(t *testing.T) {
	other := string(newRoot(t, "Other CA"))
	for _, c := range []struct {
		name, in string
		want     error
	}{
		{"certificates", "text\n" + other + other, nil},
		{"trusted certificate", strings.ReplaceAll(other, "CERTIFICATE", "TRUSTED CERTIFICATE"), nil},
		{"empty", "", errNoCert},
		{"text", "root:x:0:0", errNoCert},
		{"key", other + "-----BEGIN PRIVATE KEY-----\naGk=\n-----END PRIVATE KEY-----\n", errOther},
		{"key that does not parse", other + "-----BEGIN PRIVATE KEY-----\n%\n-----END PRIVATE KEY-----\n", errOther},
		{"request", other + "-----BEGIN CERTIFICATE REQUEST-----\naGk=\n-----END CERTIFICATE REQUEST-----\n", errOther},
		{"program that carries a certificate", "\x7fELF\x00\n" + other, errOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := certificates([]byte(c.in)); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// FuzzBlock: what was added is cut out again to the byte, whatever the file held.
func FuzzBlock(f *testing.F) {
	one := newRoot(f, commonName+"one")
	roots := rootsOf(f, one)
	for _, s := range []string{"", "a", "a\n", string(one), markBegin + "\n", markBeginNL + "\n" + string(one), "x\n" + markEnd, "\n", pemBegin + "\n" + markBegin + "\n" + pemEnd} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		clean, found := cutBlock(bytes.Clone(in), roots)
		if !found && !bytes.Equal(clean, in) {
			t.Fatal("changed without a mark")
		}
		if hasBlock(clean) {
			t.Skip("what stood inside of marks were marks")
		}
		added := addBlock(bytes.Clone(clean), roots)
		back, _ := cutBlock(bytes.Clone(added), roots)
		if !bytes.Equal(back, clean) {
			t.Fatalf("got %q, want %q", back, clean)
		}
		if text := cutText(in); !hasText(in) && !bytes.Equal(text, in) {
			t.Fatal("a text changed without a mark")
		}
	})
}

func hasText(b []byte) bool {
	for line := range bytes.Lines(b) {
		if strings.TrimRight(string(line), "\r\n") == markBegin {
			return true
		}
	}
	return false
}
