// SPDX-License-Identifier: Apache-2.0

package hoststore

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"
)

// The lines around our roots in a file. The second form of the first says that the file did not end in a line feed.
const (
	markBegin   = "# >>> sallyport: roots of the host agent; `sallyport trust remove` takes them out >>>"
	markBeginNL = "# >>> sallyport: roots of the host agent, and a line feed; `sallyport trust remove` takes them out >>>"
	markEnd     = "# <<< sallyport <<<"
)

const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
)

// commonName begins the subject of each root of ours, of any authority.
const commonName = "Sallyport root "

var (
	errNoCert = errors.New("it holds no PEM certificate")
	errOther  = errors.New("it holds something besides certificates")
)

// root is one root of ours.
type root struct {
	pem []byte
	sum string // SHA-256 of the certificate, hex
}

func parseRoots(list [][]byte) ([]root, error) {
	var out []root
	for _, p := range list {
		block, rest := pem.Decode(p)
		if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
			return nil, errors.New("a root for the trust stores is not one PEM certificate")
		}
		out = append(out, root{pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}), sum(block.Bytes)})
	}
	return out, nil
}

func sum(der []byte) string {
	s := sha256.Sum256(der)
	return hex.EncodeToString(s[:])
}

// certificates returns the sums of the certificates of a store. A file that holds anything else, or none, is no store: a
// program may have named it to have us read or change it.
func certificates(store []byte) (map[string]bool, error) {
	have := map[string]bool{}
	for rest := store; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE":
		default:
			return nil, errOther
		}
		if len(block.Bytes) > 0 {
			have[sum(block.Bytes)] = true
		}
	}
	if len(have) == 0 {
		return nil, errNoCert
	}
	if bytes.Contains(store, []byte("PRIVATE KEY-----")) || bytes.IndexByte(store, 0) >= 0 { // also a key that does not parse
		return nil, errOther
	}
	return have, nil
}

// holds says whether all roots are among the certificates of a store.
func holds(have map[string]bool, roots []root) bool {
	for _, r := range roots {
		if !have[r.sum] {
			return false
		}
	}
	return true
}

// addBlock returns the store with a block that holds exactly roots, in place of any block of ours.
func addBlock(store []byte, roots []root) []byte {
	store, _ = cutBlock(store, roots)
	var b bytes.Buffer
	b.Grow(len(store) + 2048*len(roots))
	b.Write(store)
	mark := markBegin
	if len(store) > 0 && store[len(store)-1] != '\n' {
		b.WriteByte('\n')
		mark = markBeginNL
	}
	b.WriteString(mark + "\n")
	for _, r := range roots {
		b.Write(r.pem)
	}
	b.WriteString(markEnd + "\n")
	return b.Bytes()
}

// cutBlock takes our marks and what stands between them out of a store. A certificate between them that is none of ours
// was put there by somebody else and stays. The result shares no memory with store if found.
func cutBlock(store []byte, ours []root) (rest []byte, found bool) {
	if !bytes.Contains(store, []byte("# >>> sallyport: ")) {
		return store, false
	}
	var out bytes.Buffer
	out.Grow(len(store))
	inside, glued := false, -1 // glued: where a line feed of ours ends, if nothing followed the block yet
	var cert []byte
	for line := range bytes.Lines(store) {
		text := strings.TrimRight(string(line), "\r\n")
		switch {
		case text == markBegin || text == markBeginNL:
			inside, found = true, true
			if text == markBeginNL && out.Len() > 0 {
				glued = out.Len()
			}
		case inside && text == markEnd:
			inside = false
			out.Write(cert) // cut off before its end
			cert = nil
		case inside && (cert != nil || strings.HasPrefix(text, pemBegin)):
			cert = append(cert, line...)
			if strings.HasPrefix(text, pemEnd) {
				if !isOurs(cert, ours) {
					out.Write(cert)
				}
				cert = nil
			}
		default:
			out.Write(line)
		}
	}
	out.Write(cert)
	rest = out.Bytes()
	if glued == len(rest) && glued > 0 {
		rest = bytes.TrimSuffix(rest, []byte("\n"))
	}
	return rest, found
}

// isOurs tells a root of ours, also one of an authority that is gone.
func isOurs(text []byte, ours []root) bool {
	block, _ := pem.Decode(text)
	if block == nil {
		return false
	}
	s := sum(block.Bytes)
	for _, r := range ours {
		if r.sum == s {
			return true
		}
	}
	c, err := x509.ParseCertificate(block.Bytes)
	return err == nil && c.IsCA && strings.HasPrefix(c.Subject.CommonName, commonName)
}

// hasBlock says whether a mark of ours stands in a store.
func hasBlock(store []byte) bool {
	for line := range bytes.Lines(store) {
		switch strings.TrimRight(string(line), "\r\n") {
		case markBegin, markBeginNL:
			return true
		}
	}
	return false
}
