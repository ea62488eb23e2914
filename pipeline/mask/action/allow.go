// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unsafe"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// MaxAllow is the longest entry of the list of values that are allowed, in bytes, and the longest value that one can allow.
const MaxAllow = 256

const (
	maxEntries = 4096
	minDigits  = 6 // of an entry that is compared by its digits
	minLiteral = 3 // characters of a glob that are no wildcards
)

// list is the values that are never masked.
type list struct {
	exact  []string            // sorted
	folded map[string]struct{} // in lower case; IBANs without spaces
	digits map[string]struct{}
	globs  []string // in lower case
	nets   []netip.Prefix
}

func (l *list) parse(entries []string) error {
	var errs []error
	if len(entries) > maxEntries {
		errs = append(errs, fmt.Errorf("allow: %d entries: at most %d are allowed", len(entries), maxEntries))
	}
	l.folded, l.digits = map[string]struct{}{}, map[string]struct{}{}
	for i, e := range entries {
		bad := func(why string) { errs = append(errs, fmt.Errorf("allow[%d]: %s", i, why)) }
		stars := strings.Count(e, "*")
		switch {
		case strings.TrimSpace(e) == "":
			bad("an empty entry: remove it")
		case len(e) > MaxAllow:
			bad(fmt.Sprintf("longer than %d bytes, which would be held back to compare them: allow its type by a row of actions", MaxAllow))
		case stars > 0 && len(e)-stars < minLiteral:
			bad(fmt.Sprintf("a pattern with less than %d characters besides * allows too much: allow a type by a row of actions", minLiteral))
		case stars > 0:
			l.globs = append(l.globs, strings.ToLower(e))
		default:
			if p, err := netip.ParsePrefix(e); err == nil {
				l.nets = append(l.nets, p.Masked())
				continue
			} else if a, err := netip.ParseAddr(e); err == nil {
				l.nets = append(l.nets, netip.PrefixFrom(a, a.BitLen()))
			}
			l.exact = append(l.exact, e)
			l.folded[strings.ToLower(e)] = struct{}{}
			l.folded[strings.ToLower(strings.ReplaceAll(e, " ", ""))] = struct{}{}
			if d, ok := digits(make([]byte, 0, len(e)), []byte(e)); ok && len(d) >= minDigits {
				l.digits[string(d)] = struct{}{}
			}
		}
	}
	slices.Sort(l.exact)
	return errors.Join(errs...)
}

// Allowed tells whether the value of a closed rule is never masked. Of secrets only exact entries count: a pattern would let others like it pass.
// It does not allocate.
func (t *Table) Allowed(r *rule.Rule, value []byte) bool {
	if t == nil || len(value) > MaxAllow || len(value) == 0 {
		return false
	}
	l := &t.allow
	if r.Family <= rule.Secret {
		_, is := l.begins(value)
		return is
	}
	if len(l.folded) == 0 && len(l.globs) == 0 && len(l.nets) == 0 {
		return false
	}
	var space, other [MaxAllow]byte
	low := lower(space[:0], value)
	if _, ok := l.folded[string(low)]; ok {
		return true
	}
	if d, ok := digits(other[:0], value); ok {
		if _, ok := l.digits[string(d)]; ok {
			return true
		}
	}
	for _, g := range l.globs {
		if glob(g, low) {
			return true
		}
	}
	if r.Type == "IP_ADDRESS" && len(l.nets) > 0 {
		return l.has(value)
	}
	if r.Type == "IBAN" {
		_, ok := l.folded[string(unspaced(other[:0], low))]
		return ok
	}
	return false
}

// has tells whether an address, with or without a prefix length behind it, lies in one of the networks.
func (l *list) has(value []byte) bool {
	if len(value) > 64 || bytes.IndexByte(value, '%') >= 0 {
		return false
	}
	if i := bytes.IndexByte(value, '/'); i >= 0 {
		value = value[:i]
	}
	a, err := netip.ParseAddr(unsafe.String(unsafe.SliceData(value), len(value))) // without a zone it keeps nothing of the text, but in its error
	if err != nil {
		return false
	}
	a = a.Unmap()
	return slices.ContainsFunc(l.nets, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Begins tells whether a value that begins with these bytes may yet be one of an open rule that is never masked, and whether it is one as it
// stands. While may is true the value must be held; once it is false it stays false. It does not allocate.
func (t *Table) Begins(value []byte) (may, is bool) {
	if t == nil || len(t.allow.exact) == 0 {
		return false, false
	}
	return t.allow.begins(value)
}

func (l *list) begins(value []byte) (may, is bool) {
	i, is := slices.BinarySearchFunc(l.exact, value, func(e string, v []byte) int { return compare(e, v) })
	return is || i < len(l.exact) && len(l.exact[i]) >= len(value) && l.exact[i][:len(value)] == string(value), is
}

// compare is strings.Compare without a copy.
func compare(a string, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return len(a) - len(b)
}

func lower(dst, s []byte) []byte {
	for _, c := range s {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func unspaced(dst, s []byte) []byte {
	for _, c := range s {
		if c != ' ' {
			dst = append(dst, c)
		}
	}
	return dst
}

// digits are those of a number with its usual separators; ok is false if there is anything else.
func digits(dst, s []byte) (_ []byte, ok bool) {
	for _, c := range s {
		switch {
		case '0' <= c && c <= '9':
			dst = append(dst, c)
		case bytes.IndexByte([]byte(" -.()+/"), c) < 0:
			return dst, false
		}
	}
	return dst, len(dst) > 0
}
