// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"encoding/pem"
	"errors"
	"strings"
)

var (
	errNoCert = errors.New("it holds no PEM certificate")
	errKey    = errors.New("it holds something besides certificates")
)

// isCert says whether a PEM block of this type is a certificate ("TRUSTED CERTIFICATE" is OpenSSL's form with uses).
func isCert(kind string) bool {
	return kind == "CERTIFICATE" || kind == "TRUSTED CERTIFICATE" || kind == "X509 CERTIFICATE"
}

// merge returns the certificates of a store followed by those of roots that it lacks; added says whether there were
// any. Text between the blocks is dropped, so that a file that somebody pointed us at cannot carry anything else along.
// A store without a certificate, or with any other block (a key), is refused.
func merge(store []byte, roots [][]byte) (merged []byte, added bool, err error) {
	var b bytes.Buffer
	b.Grow(len(store) + 2048*len(roots))
	have := map[string]bool{}
	put := func(block *pem.Block) error {
		have[string(block.Bytes)] = true
		return pem.Encode(&b, &pem.Block{Type: block.Type, Bytes: block.Bytes})
	}
	for rest := store; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if !isCert(block.Type) {
			return nil, false, errKey
		}
		if len(block.Bytes) == 0 {
			continue
		}
		if err := put(block); err != nil {
			return nil, false, err
		}
	}
	if len(have) == 0 {
		return nil, false, errNoCert
	}
	if bytes.Contains(store, []byte("PRIVATE KEY-----")) { // also one that does not parse
		return nil, false, errKey
	}
	for _, r := range roots {
		block, _ := pem.Decode(r)
		if block == nil || have[string(block.Bytes)] {
			continue
		}
		if err := put(block); err != nil {
			return nil, false, err
		}
		added = true
	}
	return b.Bytes(), added, nil
}

// isHashLink says whether name is one that OpenSSL looks up in a folder of certificates: eight hexadecimal digits, a
// point and a number.
func isHashLink(name string) bool {
	hash, n, ok := strings.Cut(name, ".")
	if !ok || len(hash) != 8 || n == "" || len(n) > 3 {
		return false
	}
	return strings.Trim(hash, "0123456789abcdef") == "" && strings.Trim(n, "0123456789") == ""
}
