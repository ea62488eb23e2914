// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"math"
)

// Span is a range of a head's bytes, half open.
type Span struct{ Start, End int }

// Of returns the bytes of the span.
func (s Span) Of(raw []byte) []byte { return raw[s.Start:s.End] }

// Field is one field line.
type Field struct {
	Line  Span // CRLF included
	Name  Span
	Value Span // without the white space around it
	// Hidden is for whoever shows the fields to others: AppendRequest keeps hidden fields in their places.
	Hidden bool
}

// Head is what was found in the bytes of a head. All positions count from its first byte, so that the bytes may move.
// A Head can be used again; its memory is kept.
type Head struct {
	Size   int // bytes of the head, the blank line included
	Start  int // bytes of the start line, CRLF included
	Method Span
	Target Span
	Status int
	Reason Span
	Minor  int // the x of HTTP/1.x
	Fields []Field

	Host      int   // index among Fields, -1 if there is none
	Length    int64 // Content-Length, -1 if there is none
	Chunked   bool
	Close     bool // the sender closes after this message
	Upgrade   bool // the sender wants to change the protocol
	Continue  bool // Expect: 100-continue
	reply     bool
	seenTE    bool
	keepAlive bool
}

// End looks for the blank line that ends a head. b begins with the head; everything before from was looked at before.
// It returns the size of the head, or 0 if more bytes are needed. Lines that end in a bare LF are refused as soon as
// they are seen, for no head would end otherwise.
func End(b []byte, from int) (int, error) {
	from = max(0, from-3)
	if i := bytes.Index(b[from:], []byte("\r\n\r\n")); i >= 0 {
		return from + i + 4, nil
	}
	for at := from; ; at++ {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return 0, nil
		}
		at += i
		if at == 0 || b[at-1] != '\r' || at == 1 {
			return 0, ErrLine
		}
	}
}

func (h *Head) reset() {
	if h.Fields == nil {
		h.Fields = make([]Field, 0, 12)
	}
	*h = Head{Fields: h.Fields[:0], Host: -1, Length: -1}
}

// line finds the end of the line that starts at at.
func line(raw []byte, at int) (end, next int, err error) {
	i := bytes.IndexByte(raw[at:], '\n')
	if i < 1 || raw[at+i-1] != '\r' {
		return 0, 0, ErrLine
	}
	return at + i - 1, at + i + 1, nil
}

// Request reads the head of a request. raw is the whole head, as End found it.
func (h *Head) Request(raw []byte) error {
	h.reset()
	end, next, err := line(raw, 0)
	if err != nil {
		return err
	}
	h.Start = next
	first := raw[:end]
	sp1 := bytes.IndexByte(first, ' ')
	sp2 := bytes.LastIndexByte(first, ' ')
	if sp1 < 1 || sp2 <= sp1+1 {
		return ErrStart
	}
	h.Method, h.Target = Span{0, sp1}, Span{sp1 + 1, sp2}
	if err := h.version(first[sp2+1:]); err != nil {
		return err
	}
	method, target := h.Method.Of(raw), h.Target.Of(raw)
	if !all(method, isToken) || !all(target, isTarget) {
		return ErrStart
	}
	switch {
	case string(method) == "CONNECT", len(method) > 32:
		return ErrMethod
	case target[0] == '/', string(target) == "*" && string(method) == "OPTIONS":
	case !absolute(target):
		return ErrStart
	}
	if err := h.fields(raw, next); err != nil {
		return err
	}
	if h.Host < 0 && h.Minor == 1 {
		return ErrHost
	}
	return h.framing()
}

// absolute tells whether a target is an http or https URI with an authority that is nothing but host and port, and in which
// nothing is encoded: two readers might decode it to two names.
func absolute(target []byte) bool {
	_, ok := Authority(target)
	return ok
}

// Authority returns the authority of a target in absolute form (RFC 9112 section 3.2.2), and whether it is one.
func Authority(target []byte) (string, bool) {
	i := bytes.Index(target, []byte("://"))
	if i < 0 || !fold(target[:i], "http") && !fold(target[:i], "https") {
		return "", false
	}
	rest := target[i+3:]
	if j := bytes.IndexAny(rest, "/?"); j >= 0 {
		rest = rest[:j]
	}
	if len(rest) == 0 || !all(rest, isAuthority) {
		return "", false
	}
	return string(rest), true
}

// Reply reads the head of a reply. raw is the whole head, as End found it.
func (h *Head) Reply(raw []byte) error {
	h.reset()
	h.reply = true
	end, next, err := line(raw, 0)
	if err != nil {
		return err
	}
	h.Start = next
	first := raw[:end]
	if len(first) < 12 || first[8] != ' ' {
		return ErrStart
	}
	if err := h.version(first[:8]); err != nil {
		return err
	}
	for _, c := range first[9:12] {
		if c < '0' || c > '9' {
			return ErrStart
		}
		h.Status = h.Status*10 + int(c-'0')
	}
	if h.Status < 100 || len(first) > 12 && first[12] != ' ' {
		return ErrStart
	}
	h.Reason = Span{min(13, end), end}
	if !all(h.Reason.Of(raw), isValue) {
		return ErrStart
	}
	if err := h.fields(raw, next); err != nil {
		return err
	}
	return h.framing()
}

func (h *Head) version(b []byte) error {
	switch string(b) {
	case "HTTP/1.1":
		h.Minor = 1
	case "HTTP/1.0":
		h.Minor = 0
	default:
		return ErrVersion
	}
	return nil
}

func (h *Head) fields(raw []byte, at int) error {
	for {
		end, next, err := line(raw, at)
		if err != nil {
			return err
		}
		if end == at {
			h.Size = next
			if next != len(raw) {
				return ErrLine
			}
			return nil
		}
		if raw[at] == ' ' || raw[at] == '\t' {
			return ErrFold
		}
		colon := bytes.IndexByte(raw[at:end], ':')
		if colon < 1 {
			return ErrField
		}
		f := Field{Line: Span{at, next}, Name: Span{at, at + colon}}
		f.Value.Start, f.Value.End = trim(raw, at+colon+1, end)
		name, value := f.Name.Of(raw), f.Value.Of(raw)
		if !all(name, isToken) || !all(raw[at+colon+1:end], isValue) {
			return ErrField
		}
		if len(h.Fields) == MaxFields {
			return ErrTooLarge
		}
		if err := h.known(name, value); err != nil {
			return err
		}
		h.Fields = append(h.Fields, f)
		at = next
	}
}

// known notes the fields that say how the message is framed and what happens to the connection.
func (h *Head) known(name, value []byte) error {
	switch len(name) {
	case 4:
		if fold(name, "host") && !h.reply {
			if h.Host >= 0 || len(value) == 0 {
				return ErrHost
			}
			h.Host = len(h.Fields)
		}
	case 6:
		if fold(name, "expect") && !h.reply {
			if !fold(value, "100-continue") {
				return ErrExpectation
			}
			h.Continue = h.Minor == 1
		}
	case 7:
		switch {
		case fold(name, "upgrade"):
			h.Upgrade = true
		case fold(name, "trailer"):
			for len(value) > 0 {
				item, rest, _ := bytes.Cut(value, []byte{','})
				s, e := trim(item, 0, len(item))
				if value = rest; framingField(item[s:e]) {
					return ErrTrailer
				}
			}
		}
	case 10:
		if fold(name, "connection") {
			h.connection(value)
		}
	case 14:
		if fold(name, "content-length") {
			n, ok := decimal(value)
			if !ok || h.Length >= 0 {
				return ErrLength
			}
			h.Length = n
		}
	case 17:
		if fold(name, "transfer-encoding") {
			if h.seenTE || !fold(value, "chunked") {
				return ErrCoding
			}
			h.seenTE, h.Chunked = true, true
		}
	}
	return nil
}

// framingField tells whether a field must not stand, or be announced, after the body: a reader that merged it into the head
// would frame or route another message than it read (RFC 9110 section 6.5.1).
func framingField(name []byte) bool {
	return fold(name, "content-length") || fold(name, "transfer-encoding") || fold(name, "trailer") || fold(name, "host")
}

func (h *Head) connection(value []byte) {
	for len(value) > 0 {
		item, rest, _ := bytes.Cut(value, []byte{','})
		value = rest
		s, e := trim(item, 0, len(item))
		switch item = item[s:e]; {
		case fold(item, "close"):
			h.Close = true
		case fold(item, "keep-alive"):
			h.keepAlive = true
		}
	}
}

// framing checks what the fields say together (RFC 9112 section 6).
func (h *Head) framing() error {
	if h.Chunked && h.Length >= 0 {
		return ErrAmbiguous
	}
	if h.Minor == 0 {
		if h.Chunked {
			return ErrCoding
		}
		h.Close = h.Close || !h.keepAlive
	}
	return nil
}

// decimal reads 1*DIGIT below 2^63.
func decimal(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 19 {
		return 0, false
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' || n > (math.MaxInt64-int64(c-'0'))/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// Framing is how the end of a body is found.
type Framing uint8

// The framings (RFC 9112 section 6.3).
const (
	NoBody Framing = iota
	Counted
	InChunks
	UntilClose
)

// RequestBody tells how the body of a request ends.
func (h *Head) RequestBody() (Framing, int64) {
	switch {
	case h.Chunked:
		return InChunks, -1
	case h.Length > 0:
		return Counted, h.Length
	}
	return NoBody, 0
}

// ReplyBody tells how the body of the reply to a request of this method ends.
func (h *Head) ReplyBody(method string) (Framing, int64) {
	switch {
	case method == "HEAD", h.Status < 200, h.Status == 204, h.Status == 304, h.Length == 0:
		return NoBody, 0
	case h.Chunked:
		return InChunks, -1
	case h.Length > 0:
		return Counted, h.Length
	}
	return UntilClose, -1
}
