// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/agent/proxy/http1"
)

// credentialField tells whether a field carries a credential, and whether it is one of the kind that changes by itself.
func credentialField(name []byte) (is, cookie bool) {
	switch len(name) {
	case 6:
		cookie = bytes.EqualFold(name, []byte("cookie"))
		return cookie, cookie
	case 7:
		return bytes.EqualFold(name, []byte("api-key")), false
	case 9:
		return bytes.EqualFold(name, []byte("x-api-key")), false
	case 13:
		return bytes.EqualFold(name, []byte("authorization")), false
	case 14:
		return bytes.EqualFold(name, []byte("x-goog-api-key")), false
	case 19:
		return bytes.EqualFold(name, []byte("proxy-authorization")), false
	case 20:
		return bytes.EqualFold(name, []byte("x-amz-security-token")), false
	}
	return false, false
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

// fingerprinter makes keyed fingerprints.
type fingerprinter struct{ key []byte }

// secrets is what was cut from one head. Fields stay in the connection's buffer and are not copied.
type secrets struct {
	target []string // the parameters whose values were cut from the query, in order
	print  string
}

// cut hides the credential fields of a head and takes the credentials out of its target, whose parameters keep their
// names.
func (f *fingerprinter) cut(h *http1.Head, raw []byte) (target string, s secrets) {
	var mac hash.Hash
	add := func(name string, value []byte) {
		if mac == nil {
			mac = hmac.New(sha256.New, f.key)
		}
		mac.Write([]byte(strings.ToLower(name) + "\x00"))
		mac.Write(stable(value))
		mac.Write([]byte{0})
	}
	cookies := false
	for i := range h.Fields {
		is, cookie := credentialField(h.Fields[i].Name.Of(raw))
		if !is {
			continue
		}
		h.Fields[i].Hidden = true
		if cookie {
			cookies = true
			continue
		}
		add(string(h.Fields[i].Name.Of(raw)), h.Fields[i].Value.Of(raw))
	}
	target = string(h.Target.Of(raw))
	if strings.IndexByte(target, '?') >= 0 {
		target, s.target = blank(target)
		for _, v := range s.target {
			add("?", []byte(v))
		}
	}
	if mac == nil && cookies { // a cookie counts only if there is nothing else: providers change theirs at will
		for i := range h.Fields {
			if h.Fields[i].Hidden {
				add("cookie", h.Fields[i].Value.Of(raw))
			}
		}
	}
	if mac != nil {
		s.print = hex.EncodeToString(mac.Sum(nil)[:16])
	}
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
