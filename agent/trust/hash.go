// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/sha1"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"strings"
)

// attribute and rdnSET are the parts of a distinguished name (RFC 5280 section 4.1.2.4); the suffix SET tells
// encoding/asn1 which constructed type it is.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

type rdnSET []attribute

// subjectHash returns the name, without its number, under which OpenSSL (1.0 and newer) looks a certificate with this
// subject up in a folder: the first four bytes, little endian, of the SHA-1 of the subject's canonical form, in which
// strings are UTF-8, lower case in ASCII, with single spaces and none at the ends, and the outer SEQUENCE is left off.
func subjectHash(rawSubject []byte) (string, error) {
	var rdns []rdnSET
	if rest, err := asn1.Unmarshal(rawSubject, &rdns); err != nil || len(rest) != 0 {
		return "", fmt.Errorf("the subject is no distinguished name: %v", err)
	}
	sum := sha1.New()
	for _, rdn := range rdns {
		for i, a := range rdn {
			switch a.Value.Tag {
			case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String:
				rdn[i].Value = asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(canonical(string(a.Value.Bytes)))}
			default: // our own roots use no others
				return "", fmt.Errorf("the subject holds a string of type %d", a.Value.Tag)
			}
		}
		der, err := asn1.Marshal(rdn)
		if err != nil {
			return "", err
		}
		sum.Write(der)
	}
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(sum.Sum(nil))), nil
}

func canonical(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }), " ")
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
