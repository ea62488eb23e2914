// SPDX-License-Identifier: Apache-2.0

// Package hello reads the ClientHello at the front of a byte stream (RFC 8446 section 4.1.2) without a socket: which
// name the client asks for, which protocols it offers, whether it hides a name (ECH). It decides nothing; crypto/tls
// reads the same bytes again and has the last word.
package hello

import (
	"strings"
)

// MaxSize bounds the handshake message, in bytes. The largest hellos in use, with post-quantum key shares and many
// tickets, stay below 4 KiB.
const MaxSize = 16 << 10

// Error is why bytes are no ClientHello.
type Error string

func (e Error) Error() string { return "client hello: " + string(e) }

// The errors of Parse.
const (
	ErrMore      Error = "more bytes are needed"
	ErrNotTLS    Error = "the bytes do not begin a TLS handshake"
	ErrTooLarge  Error = "it is larger than 16 KiB"
	ErrMalformed Error = "it is malformed"
)

// Info is what a ClientHello says. Nothing in it refers to the bytes that were parsed.
type Info struct {
	ServerName string   // in lower case; "" if the client sent none
	ALPN       []string // in the client's order
	ECH        bool     // an encrypted_client_hello extension is there, a real or a greased one (RFC 9849)
}

const (
	recordHandshake = 22
	typeClientHello = 1
	maxRecord       = 1 << 14

	extServerName = 0
	extALPN       = 16
	extECH        = 0xfe0d
)

// Parse reads the ClientHello that begins b, in as many records as it takes. It returns ErrMore while b is a proper
// beginning of one, ErrNotTLS if its first bytes are no handshake record, and ErrTooLarge or ErrMalformed for the
// rest. b may hold more than the hello.
func Parse(b []byte) (Info, error) {
	msg, err := message(b)
	if err != nil {
		return Info{}, err
	}
	return body(msg)
}

// message puts the first handshake message together from the records at the front of b.
func message(b []byte) ([]byte, error) {
	var msg []byte // a view of b while there is one record, a copy if there are more
	for first := true; ; first = false {
		// What is there of the header must fit, so that another protocol is told apart by its first byte.
		if len(b) > 0 && b[0] != recordHandshake || len(b) > 1 && b[1] != 3 || len(b) > 2 && b[2] > 4 {
			if first {
				return nil, ErrNotTLS
			}
			return nil, ErrMalformed
		}
		if len(b) < 5 {
			return nil, ErrMore
		}
		n := int(b[3])<<8 | int(b[4])
		if n == 0 || n > maxRecord {
			if first {
				return nil, ErrNotTLS
			}
			return nil, ErrMalformed
		}
		part := b[5:]
		whole := len(part) >= n
		if whole {
			part = part[:n]
		}
		if first {
			msg = part[:len(part):len(part)]
		} else {
			msg = append(msg, part...)
		}
		if len(msg) > 0 && msg[0] != typeClientHello {
			return nil, ErrNotTLS
		}
		if len(msg) >= 4 {
			size := int(msg[1])<<16 | int(msg[2])<<8 | int(msg[3])
			if size > MaxSize {
				return nil, ErrTooLarge
			}
			if len(msg) >= 4+size {
				if len(msg) > 4+size && whole {
					return nil, ErrMalformed // nothing else may follow in the record of a ClientHello
				}
				return msg[4 : 4+size], nil
			}
		}
		if !whole {
			return nil, ErrMore
		}
		b = b[5+n:]
	}
}

// reader takes vectors off the front of a message.
type reader []byte

// take returns the next n bytes.
func (r *reader) take(n int) (reader, bool) {
	if n > len(*r) {
		return nil, false
	}
	out := (*r)[:n]
	*r = (*r)[n:]
	return out, true
}

// vector returns the next vector, whose length is written in size bytes (1 or 2).
func (r *reader) vector(size int) (reader, bool) {
	l, ok := r.take(size)
	if !ok {
		return nil, false
	}
	n := int(l[0])
	if size == 2 {
		n = n<<8 | int(l[1])
	}
	return r.take(n)
}

// body reads the fields of a ClientHello.
func body(msg []byte) (Info, error) {
	r := reader(msg)
	var info Info
	if _, ok := r.take(2 + 32); !ok { // version, random
		return info, ErrMalformed
	}
	if id, ok := r.vector(1); !ok || len(id) > 32 {
		return info, ErrMalformed
	}
	if suites, ok := r.vector(2); !ok || len(suites)%2 != 0 {
		return info, ErrMalformed
	}
	if _, ok := r.vector(1); !ok { // compression methods
		return info, ErrMalformed
	}
	if len(r) == 0 {
		return info, nil // TLS 1.2 without extensions
	}
	exts, ok := r.vector(2)
	if !ok || len(r) != 0 {
		return info, ErrMalformed
	}
	var seen [8]uint16
	extra := map[uint16]bool(nil)
	for n := 0; len(exts) > 0; n++ {
		t, ok := exts.take(2)
		if !ok {
			return info, ErrMalformed
		}
		kind := uint16(t[0])<<8 | uint16(t[1])
		data, ok := exts.vector(2)
		if !ok {
			return info, ErrMalformed
		}
		// No type may come twice (RFC 8446 section 4.2), or two readers might see two names.
		if n < len(seen) {
			for _, k := range seen[:n] {
				if k == kind {
					return info, ErrMalformed
				}
			}
			seen[n] = kind
		} else {
			if extra == nil {
				extra = make(map[uint16]bool, 16)
				for _, k := range seen {
					extra[k] = true
				}
			}
			if extra[kind] {
				return info, ErrMalformed
			}
			extra[kind] = true
		}
		switch kind {
		case extServerName:
			ok = serverName(data, &info)
		case extALPN:
			ok = protocols(data, &info)
		case extECH:
			info.ECH = true
		}
		if !ok {
			return info, ErrMalformed
		}
	}
	return info, nil
}

// serverName reads RFC 6066 section 3. One host name, no other types: none were ever defined.
func serverName(data reader, info *Info) bool {
	list, ok := data.vector(2)
	if !ok || len(data) != 0 || len(list) == 0 {
		return false
	}
	kind, ok := list.take(1)
	if !ok || kind[0] != 0 {
		return false
	}
	name, ok := list.vector(2)
	if !ok || len(list) != 0 || len(name) == 0 || len(name) > 253 || name[len(name)-1] == '.' {
		return false
	}
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_':
		default:
			return false
		}
	}
	info.ServerName = strings.ToLower(string(name))
	return true
}

// protocols reads RFC 7301 section 3.1.
func protocols(data reader, info *Info) bool {
	list, ok := data.vector(2)
	if !ok || len(data) != 0 || len(list) == 0 {
		return false
	}
	for len(list) > 0 {
		p, ok := list.vector(1)
		if !ok || len(p) == 0 {
			return false
		}
		info.ALPN = append(info.ALPN, string(p))
	}
	return true
}
