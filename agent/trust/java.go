// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"time"
	"unicode/utf16"
)

// javaFiles are the key stores that distributions make for all Java machines.
var javaFiles = []string{
	"/etc/ssl/certs/java/cacerts",              // Debian, Ubuntu
	"/etc/pki/ca-trust/extracted/java/cacerts", // Fedora, RHEL
	"/var/lib/ca-certificates/java-cacerts",    // openSUSE
	"/etc/ssl/java/cacerts",                    // Alpine
}

// inJDK are the key stores of a Java machine, below its home: the first takes precedence over the second.
var inJDK = []string{"lib/security/jssecacerts", "lib/security/cacerts", "jre/lib/security/jssecacerts", "jre/lib/security/cacerts"}

// javaStores are the key stores that a Java machine reads by itself. One that javax.net.ssl.trustStore names is left alone:
// its password is not known, and without it the machine would refuse what we wrote.
func javaStores(e evidence) []candidate {
	homes := places{seen: map[string]bool{}}
	homes.add(e.env["JAVA_HOME"])
	for _, f := range append([]string{e.exe}, e.programs...) {
		if path.Base(f) == kindJava {
			homes.add(path.Dir(path.Dir(f)))
		}
	}
	var out []candidate
	for _, f := range javaFiles {
		out = append(out, candidate{"java", f, false})
	}
	for _, h := range homes.list {
		for _, f := range inJDK {
			out = append(out, candidate{"java", path.Join(h, f), false})
		}
	}
	return out
}

// errKeyStore begins every error about a Java key store.
var errKeyStore = errors.New("a Java key store")

// mergeStore adds roots to a store of any form.
func mergeStore(store []byte, roots [][]byte) (merged []byte, added bool, err error) {
	switch {
	case bytes.HasPrefix(store, jksMagic):
		return mergeJKS(store, roots, time.Now())
	case len(store) > 2 && store[0] == 0x30 && store[1]&0x80 != 0: // a DER sequence of some length: PEM is text
		return mergePKCS12(store, roots, time.Now())
	}
	return merge(store, roots)
}

// The format of a JKS file, in big endian: magic, version, number of entries; each entry a tag, an alias, a time in
// milliseconds, the kind of certificate, and the certificate with its length; strings come with theirs in two bytes. At
// the end a SHA-1 over password, a fixed text and all before. (sun.security.provider.JavaKeyStore)
var jksMagic = []byte{0xfe, 0xed, 0xfe, 0xed}

const (
	jksTrusted  = 2
	jksPassword = "changeit" // of cacerts everywhere; the Java machine itself does not check it
	jksWhiten   = "Mighty Aphrodite"
)

// mergeJKS appends roots to a key store of trusted certificates. One that holds keys is refused.
func mergeJKS(store []byte, roots [][]byte, now time.Time) ([]byte, bool, error) {
	if len(store) < 12+sha1.Size {
		return nil, false, fmt.Errorf("%w that is too short", errKeyStore)
	}
	version, count := binary.BigEndian.Uint32(store[4:]), binary.BigEndian.Uint32(store[8:])
	if version != 1 && version != 2 {
		return nil, false, fmt.Errorf("%w of version %d", errKeyStore, version)
	}
	r := reader{b: store[12 : len(store)-sha1.Size]}
	have := map[string]bool{}
	for range count {
		tag := r.u32()
		r.take(int(r.u16())) // alias
		r.take(8)            // time
		if tag != jksTrusted && !r.bad {
			return nil, false, fmt.Errorf("%w with keys in it", errKeyStore)
		}
		if version == 2 {
			r.take(int(r.u16()))
		}
		have[string(r.take(int(r.u32())))] = true
		if r.bad {
			return nil, false, fmt.Errorf("%w that ends too early", errKeyStore)
		}
	}
	if len(r.b) > 0 {
		return nil, false, fmt.Errorf("%w with something behind its end", errKeyStore)
	}
	if count == 0 {
		return nil, false, errNoCert
	}
	out := bytes.Clone(store[:len(store)-sha1.Size])
	n := count
	for _, der := range missing(roots, have) {
		out = jksEntry(out, version, fmt.Sprintf("sallyport-%d", n), der, now)
		n++
	}
	binary.BigEndian.PutUint32(out[8:], n)
	return jksSeal(out), n > count, nil
}

// missing are the roots, in DER, that a store lacks.
func missing(roots [][]byte, have map[string]bool) (out [][]byte) {
	for _, r := range roots {
		if block, _ := pem.Decode(r); block != nil && !have[string(block.Bytes)] {
			out = append(out, block.Bytes)
		}
	}
	return out
}

func jksEntry(b []byte, version uint32, alias string, der []byte, now time.Time) []byte {
	b = binary.BigEndian.AppendUint32(b, jksTrusted)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(alias))), alias...)
	b = binary.BigEndian.AppendUint64(b, uint64(now.UnixMilli()))
	if version == 2 {
		const kind = "X.509"
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(kind))), kind...)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(der))), der...)
}

func jksSeal(b []byte) []byte {
	h := sha1.New()
	for _, u := range utf16.Encode([]rune(jksPassword)) {
		h.Write([]byte{byte(u >> 8), byte(u)})
	}
	h.Write([]byte(jksWhiten))
	h.Write(b)
	return h.Sum(b)
}

// reader takes bytes from the front; bad once there were too few.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// The parts of PKCS #12 (RFC 7292) that a store of trusted certificates without a password has, as JDK 18 and newer
// bring it.
type (
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"optional"`
	}
	pfx struct {
		Version  int
		AuthSafe contentInfo
		MAC      asn1.RawValue `asn1:"optional"`
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue
		Attributes []asn1.RawValue `asn1:"set,optional"`
	}
	certBag struct {
		ID   asn1.ObjectIdentifier
		Data []byte `asn1:"tag:0,explicit"`
	}
)

var (
	oidData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidCertBag = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidX509    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
)

// mergePKCS12 makes a JKS store of the certificates of a PKCS #12 store and roots: Java machines since 9 take either form
// under either name.
func mergePKCS12(store []byte, roots [][]byte, now time.Time) ([]byte, bool, error) {
	fail := func(what string) ([]byte, bool, error) { return nil, false, fmt.Errorf("%w %s", errKeyStore, what) }
	var p pfx
	if rest, err := asn1.Unmarshal(store, &p); err != nil || len(rest) > 0 {
		return fail("of an unknown form")
	}
	var safes []contentInfo
	raw, err := content(p.AuthSafe)
	if err == nil {
		err = all(raw, &safes)
	}
	if err != nil {
		return fail("that is encrypted, or damaged")
	}
	out := append(bytes.Clone(jksMagic), 0, 0, 0, 2, 0, 0, 0, 0)
	have, n := map[string]bool{}, uint32(0)
	for _, s := range safes {
		var bags []safeBag
		raw, err := content(s)
		if err == nil {
			err = all(raw, &bags)
		}
		if err != nil {
			return fail("that is encrypted, or damaged")
		}
		for _, b := range bags {
			var c certBag
			if !b.ID.Equal(oidCertBag) {
				return fail("with something besides certificates in it")
			}
			if err := all(b.Value.Bytes, &c); err != nil || !c.ID.Equal(oidX509) {
				return fail("with a certificate of an unknown form")
			}
			if _, err := x509.ParseCertificate(c.Data); err != nil || have[string(c.Data)] {
				continue
			}
			have[string(c.Data)] = true
			out = jksEntry(out, 2, fmt.Sprintf("cert-%d", n), c.Data, now)
			n++
		}
	}
	if n == 0 {
		return nil, false, errNoCert
	}
	more := missing(roots, have)
	for i, der := range more {
		out = jksEntry(out, 2, fmt.Sprintf("sallyport-%d", i), der, now)
	}
	binary.BigEndian.PutUint32(out[8:], n+uint32(len(more)))
	return jksSeal(out), len(more) > 0, nil
}

// content is what a ContentInfo of plain data holds.
func content(c contentInfo) (out []byte, err error) {
	if !c.Type.Equal(oidData) {
		return nil, errKeyStore
	}
	return out, all(c.Content.Bytes, &out)
}

// all decodes one value and wants nothing behind it.
func all(b []byte, into any) error {
	rest, err := asn1.Unmarshal(b, into)
	if err == nil && len(rest) > 0 {
		err = errKeyStore
	}
	return err
}
