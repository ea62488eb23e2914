// SPDX-License-Identifier: Apache-2.0

// Package http1 reads and edits HTTP/1.1 messages (RFC 9112) without a socket. A head is scanned in place and its bytes
// are kept: what nobody changes goes out byte for byte, and an edit is spliced into the bytes around it.
//
// It is strict, because two readers that disagree about where a message ends can be made to see two different
// requests. Refused are: line ends other than CRLF, folded lines, white space before a colon, control bytes, several
// Host or Content-Length fields or both framings at once, transfer codings other than chunked, chunk sizes that are
// not plain hexadecimal numbers. The fuzz targets hold this against net/http: whatever is accepted here, net/http reads
// in the same way.
package http1

// Error is why a message is refused. It holds nothing of the message.
type Error string

func (e Error) Error() string { return "http/1.1: " + string(e) }

// The errors of this package.
const (
	ErrTooLarge    Error = "the head is too large"
	ErrLine        Error = "a line does not end in CRLF"
	ErrStart       Error = "malformed request or status line"
	ErrVersion     Error = "neither HTTP/1.1 nor HTTP/1.0"
	ErrMethod      Error = "method not supported"
	ErrField       Error = "malformed field"
	ErrFold        Error = "folded field"
	ErrHost        Error = "Host is missing or there are several"
	ErrLength      Error = "malformed or repeated Content-Length"
	ErrCoding      Error = "transfer coding other than a single chunked"
	ErrAmbiguous   Error = "both Content-Length and Transfer-Encoding"
	ErrExpectation Error = "unknown expectation"
	ErrChunk       Error = "malformed chunk"
	ErrTrailer     Error = "malformed or too large trailer section"
)

// MaxFields bounds the number of fields in a head.
const MaxFields = 256

// class tells what a byte may be used for.
type class uint8

const (
	isToken     class = 1 << iota // RFC 9110 section 5.6.2
	isValue                       // in a field value: HTAB, SP, VCHAR, obs-text
	isAuthority                   // in the host and port of a target, as they are in use
	isTarget                      // in a request target: VCHAR but # (a fragment is never sent) and \ " < >
)

var classes = makeClasses()

func makeClasses() (t [256]class) {
	for c := range 256 {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			t[c] |= isToken | isAuthority
		}
		if c == '\t' || c >= ' ' && c != 0x7f {
			t[c] |= isValue
		}
		if c > ' ' && c < 0x7f && c != '#' && c != '\\' && c != '"' && c != '<' && c != '>' {
			t[c] |= isTarget
		}
	}
	for _, c := range "-._:[]" {
		t[c] |= isAuthority
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] |= isToken
	}
	return t
}

func all(b []byte, k class) bool {
	for _, c := range b {
		if classes[c]&k == 0 {
			return false
		}
	}
	return true
}

// fold compares an ASCII name with one in lower case.
func fold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// trim cuts optional white space (SP, HTAB) at both ends.
func trim(b []byte, start, end int) (int, int) {
	for start < end && (b[start] == ' ' || b[start] == '\t') {
		start++
	}
	for start < end && (b[end-1] == ' ' || b[end-1] == '\t') {
		end--
	}
	return start, end
}
