// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/proxy/http1"
)

// credentialFields carry credentials.
var credentialFields = [...]string{"authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization", "x-amz-security-token"}

// credentialField returns the name of a field that carries a credential in lower case, "" for others.
func credentialField(name []byte) string {
	for _, f := range credentialFields {
		if len(f) == len(name) && strings.EqualFold(f, string(name)) {
			return f
		}
	}
	return ""
}

// credentialKey tells the same of a query parameter, by its name as it stands in the query.
func credentialKey(name string) bool {
	if strings.ContainsAny(name, "%+") {
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
	}
	switch strings.ToLower(name) {
	case "key", "api_key", "api-key", "apikey", "access_token", "x-amz-credential", "x-amz-signature", "x-amz-security-token":
		return true
	}
	return false
}

// fingerprinter makes the keyed fingerprints of one connection. It keeps the last credential, which its application is
// likely to send again.
type fingerprinter struct {
	key   []byte
	last  []byte
	print string
	next  []byte // scratch
}

// end forgets the credential.
func (f *fingerprinter) end() {
	clear(f.last[:cap(f.last)])
	clear(f.next[:cap(f.next)])
}

func (f *fingerprinter) add(name string, value []byte) {
	f.next = append(f.next, name...)
	f.next = append(f.next, 0)
	f.next = append(f.next, stable(value)...)
	f.next = append(f.next, 0)
}

// sum is the fingerprint of what was added; "" of nothing.
func (f *fingerprinter) sum() string {
	if len(f.next) == 0 {
		return ""
	}
	if !bytes.Equal(f.next, f.last) {
		mac := hmac.New(sha256.New, f.key)
		mac.Write(f.next)
		f.print = hex.EncodeToString(mac.Sum(nil)[:16])
		f.last, f.next = f.next, f.last
	}
	return f.print
}

// secrets is what was cut from one head. Fields stay in the connection's buffer and are not copied.
type secrets struct {
	target []string // the parameters whose values were cut from the query, in order
	print  string
}

// cut hides the credential fields of a head and takes the credentials out of its target, whose parameters keep their
// names.
func (f *fingerprinter) cut(h *http1.Head, raw []byte) (target string, s secrets) {
	f.next = f.next[:0]
	cookies := false
	for i := range h.Fields {
		name := credentialField(h.Fields[i].Name.Of(raw))
		if name == "" {
			continue
		}
		h.Fields[i].Hidden = true
		if name == "cookie" {
			cookies = true
			continue
		}
		f.add(name, h.Fields[i].Value.Of(raw))
	}
	target = string(h.Target.Of(raw))
	if strings.IndexByte(target, '?') >= 0 {
		target, s.target = blank(target)
		for _, v := range s.target {
			f.add("?", []byte(v))
		}
	}
	if len(f.next) == 0 && cookies { // a cookie counts only if there is nothing else: providers change theirs at will
		for i := range h.Fields {
			if h.Fields[i].Hidden {
				f.add("cookie", h.Fields[i].Value.Of(raw))
			}
		}
	}
	s.print = f.sum()
	return target, s
}

// stable is the part of a credential that stays from one request to the next: of an AWS signature, the access key.
func stable(value []byte) []byte {
	if !bytes.HasPrefix(value, []byte("AWS4-")) {
		return value
	}
	i := bytes.Index(value, []byte("Credential="))
	if i < 0 {
		return value
	}
	id, _, _ := bytes.Cut(value[i:], []byte{'/'})
	return id
}

// blank takes the values of credential parameters out of a query.
func blank(target string) (string, []string) {
	path, query, _ := strings.Cut(target, "?")
	var cut []string
	parts := strings.Split(query, "&")
	for i, p := range parts {
		name, _, has := strings.Cut(p, "=")
		if has && credentialKey(name) {
			cut = append(cut, p)
			parts[i] = name + "="
		}
	}
	if cut == nil {
		return target, nil
	}
	return path + "?" + strings.Join(parts, "&"), cut
}

// unblank puts the values back, each to its name. A parameter that was taken out stays out.
func unblank(target string, cut []string) string {
	path, query, has := strings.Cut(target, "?")
	if !has || len(cut) == 0 {
		return target
	}
	parts := strings.Split(query, "&")
	left := slices.Clone(cut)
	for i, p := range parts {
		if !strings.HasSuffix(p, "=") {
			continue
		}
		if j := slices.IndexFunc(left, func(c string) bool { return strings.HasPrefix(c, p) }); j >= 0 {
			parts[i] = left[j]
			left = slices.Delete(left, j, j+1)
		}
	}
	return path + "?" + strings.Join(parts, "&")
}
