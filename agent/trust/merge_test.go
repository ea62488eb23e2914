// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
)

// block is a PEM block whose content only has to be distinct.
func block(kind, content string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(content)}))
}

func TestMerge(t *testing.T) {
	a, b, ours, more := block("CERTIFICATE", "a"), block("CERTIFICATE", "b"), block("CERTIFICATE", "ours"), block("CERTIFICATE", "more")
	trusted := block("TRUSTED CERTIFICATE", "t")
	roots := [][]byte{[]byte(ours), []byte(more)}
	for _, c := range []struct {
		name, in, want string
		added          bool
		err            error
	}{
		{"appended", a + b, a + b + ours + more, true, nil},
		{"text between is dropped", "# a\n" + a + "\n# secret\n" + b + "trailer", a + b + ours + more, true, nil},
		{"no final newline", strings.TrimSuffix(a, "\n"), a + ours + more, true, nil},
		{"carriage returns", strings.ReplaceAll(a, "\n", "\r\n"), a + ours + more, true, nil},
		{"one is there", a + ours, a + ours + more, true, nil},
		{"all are there", a + more + ours, a + more + ours, false, nil},
		{"OpenSSL's trusted form", trusted, trusted + ours + more, true, nil},
		{"empty", "", "", false, errNoCert},
		{"text only", "root:x:0:0:root:/root:/bin/sh\n", "", false, errNoCert},
		{"torn block only", a[:len(a)-12], "", false, errNoCert},
		{"key", a + block("PRIVATE KEY", "k"), "", false, errKey},
		{"old key", block("RSA PRIVATE KEY", "k") + a, "", false, errKey},
		{"torn key", a + "-----BEGIN EC PRIVATE KEY-----\nAAAA", "", false, errKey},
		{"request", a + block("CERTIFICATE REQUEST", "r"), "", false, errKey},
		{"revocation list", a + block("X509 CRL", "r"), "", false, errKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, added, err := merge([]byte(c.in), roots)
			if string(got) != c.want || added != c.added || !errors.Is(err, c.err) {
				t.Errorf("merge = %q, %v, %v", got, added, err)
			}
		})
	}
}

func FuzzMerge(f *testing.F) {
	a := block("CERTIFICATE", "a")
	for _, s := range []string{"", a, a + a, "x" + a, a + block("PRIVATE KEY", "k"), strings.ReplaceAll(a, "\n", "\r\n"), "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n"} {
		f.Add([]byte(s))
	}
	root := []byte(block("CERTIFICATE", "ours"))
	f.Fuzz(func(t *testing.T, in []byte) {
		out, added, err := merge(in, [][]byte{root})
		if err != nil {
			return
		}
		if !bytes.Contains(out, root) {
			t.Error("our root is missing")
		}
		if added && len(out) > 2*len(in)+len(root)+256 {
			t.Errorf("%d bytes became %d", len(in), len(out))
		}
		for rest := out; len(rest) > 0; {
			b, r := pem.Decode(rest)
			if b == nil || !isCert(b.Type) || len(b.Headers) != 0 {
				t.Fatalf("something else than certificates: %q", rest)
			}
			rest = r
		}
		again, added, err := merge(out, [][]byte{root})
		if err != nil || added || !bytes.Equal(again, out) {
			t.Errorf("not idempotent: %v, %v", added, err)
		}
	})
}

func TestHashLinkNames(t *testing.T) {
	for name, want := range map[string]bool{
		"deadbeef.0": true, "01234567.12": true, "DEADBEEF.0": false, "deadbee.0": false, "deadbeef0": false, "deadbeef.": false,
		"deadbeef.r0": false, "deadbeefa.0": false, "deadbeef.0000": false, ".0": false,
	} {
		if isHashLink(name) != want {
			t.Errorf("isHashLink(%q) = %v", name, !want)
		}
	}
}
