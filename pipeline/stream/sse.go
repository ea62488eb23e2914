// SPDX-License-Identifier: Apache-2.0

// Package stream cuts byte streams into the messages that they carry, without sockets: bytes go in as they come,
// whole messages come out, each with the very bytes that made it up, so that what is not changed can be sent on as
// it was.
package stream

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// DefaultEventLimit is the largest event, in bytes, that a splitter takes unless told otherwise.
const DefaultEventLimit = 4 << 20

// ErrEventTooLarge is returned by Next for an event beyond the limit. The splitter is of no use after it.
var ErrEventTooLarge = errors.New("event stream: event exceeds the limit")

// Event is one event of a server-sent event stream. Its slices point into the splitter and are valid until the
// following call of Write or End.
type Event struct {
	Raw  []byte // all bytes, from the first line to the blank line that ends the event, line ends included
	Name []byte // value of the last event field; nil if there was none
	Data []byte // values of the data fields, joined by LF
	// At is the offset of Data in Raw, or -1 if Data was put together from several data fields: then it is a copy.
	At int
	// HasData tells an event from comments and blank lines, which a client does not dispatch.
	HasData bool
	// Partial marks what stood after the last blank line when the stream ended. A client that follows the standard drops
	// it; some do not.
	Partial bool
	// Odd marks an event with a line that is not data here, and that other readers may take for lines of data: it has a control
	// character or a line end of Unicode in it, is not UTF-8, or names its field in another way.
	Odd bool
}

// Splitter cuts a stream into events: *SSE, *NDJSON.
type Splitter interface {
	Write(p []byte)             // takes the next bytes; they are copied
	End()                       // no more bytes follow
	Next() (Event, bool, error) // the next whole event, or false if more bytes are needed
}

// SSE splits an event stream (WHATWG HTML, 9.2.6 "Interpreting an event stream"). Events do not depend on how the
// bytes are split over calls of Write. A byte order mark at the start is part of the first event's Raw. An event that
// ends in a lone CR is complete only with the next byte or at the end, because an LF would still belong to it.
type SSE struct {
	limit   int
	buf     []byte
	start   int // first byte of the event being read
	line    int // first byte of the line being read
	scan    int // bytes before it hold no line end
	begun   bool
	ended   bool
	err     error
	name    span
	hasName bool
	data    span // single data field
	fields  int  // how many data fields
	odd     bool // of the event being read
	joined  []byte
}

type span struct{ from, to int }

// NewSSE returns a splitter that refuses events of more than limit bytes; 0 means DefaultEventLimit.
func NewSSE(limit int) *SSE {
	if limit <= 0 {
		limit = DefaultEventLimit
	}
	return &SSE{limit: limit}
}

// Write takes the next bytes of the stream; they are copied. Drain Next before writing more.
func (s *SSE) Write(p []byte) {
	if s.start > 0 {
		n := copy(s.buf, s.buf[s.start:])
		s.buf = s.buf[:n]
		s.shift(s.start)
	}
	s.buf = append(s.buf, p...)
}

func (s *SSE) shift(by int) {
	s.start -= by
	s.line -= by
	s.scan -= by
	s.name.from, s.name.to = s.name.from-by, s.name.to-by
	s.data.from, s.data.to = s.data.from-by, s.data.to-by
}

// End says that no more bytes follow. Next then yields the rest, if any, as a partial event.
func (s *SSE) End() { s.ended = true }

// Buffered is the number of bytes that no event was made of yet.
func (s *SSE) Buffered() int { return len(s.buf) - s.start }

// Next returns the next whole event, or false if more bytes are needed (or, after End, if there are none).
func (s *SSE) Next() (Event, bool, error) {
	if s.err != nil {
		return Event{}, false, s.err
	}
	for {
		end, next, ok := s.lineEnd()
		if !ok {
			break
		}
		if next-s.start > s.limit {
			return Event{}, false, s.tooLarge()
		}
		from := s.line
		s.line, s.scan = next, next
		if !s.begun {
			s.begun = true
			if bytes.HasPrefix(s.buf[from:end], bom) {
				from += len(bom)
			}
		}
		if from == end {
			return s.emit(next, false), true, nil
		}
		s.field(from, end)
	}
	if s.Buffered() > s.limit {
		return Event{}, false, s.tooLarge()
	}
	if s.ended && s.Buffered() > 0 {
		from := s.line
		if !s.begun {
			s.begun = true
			if bytes.HasPrefix(s.buf[from:], bom) {
				from += len(bom)
			}
		}
		if from < len(s.buf) {
			s.field(from, len(s.buf))
		}
		s.line, s.scan = len(s.buf), len(s.buf)
		return s.emit(len(s.buf), true), true, nil
	}
	return Event{}, false, nil
}

var bom = []byte("\xef\xbb\xbf")

func (s *SSE) tooLarge() error {
	s.err = tooLarge(s.limit)
	return s.err
}

func tooLarge(limit int) error { return fmt.Errorf("%w of %d bytes", ErrEventTooLarge, limit) }

// lineEnd finds the end of the current line and the start of the next one.
func (s *SSE) lineEnd() (end, next int, ok bool) {
	rest := s.buf[s.scan:]
	lf := bytes.IndexByte(rest, '\n')
	head := rest
	if lf >= 0 {
		head = rest[:lf]
	}
	if cr := bytes.IndexByte(head, '\r'); cr >= 0 {
		end = s.scan + cr
		switch {
		case end+1 < len(s.buf) && s.buf[end+1] == '\n':
			return end, end + 2, true
		case end+1 < len(s.buf) || s.ended:
			return end, end + 1, true
		}
		s.scan = end // the next byte decides
		return 0, 0, false
	}
	if lf >= 0 {
		return s.scan + lf, s.scan + lf + 1, true
	}
	s.scan = len(s.buf)
	return 0, 0, false
}

func (s *SSE) field(from, end int) {
	line := s.buf[from:end]
	colon := bytes.IndexByte(line, ':')
	name, value := line, end
	if colon >= 0 {
		name, value = line[:colon], from+colon+1
		if value < end && s.buf[value] == ' ' {
			value++
		}
	}
	if string(name) != "data" && !s.odd {
		s.odd = odd(line, name)
	}
	switch string(name) {
	case "data":
		s.fields++
		switch s.fields {
		case 1:
			s.data = span{value, end}
		case 2:
			s.joined = append(s.joined[:0], s.buf[s.data.from:s.data.to]...)
			fallthrough
		default:
			s.joined = append(s.joined, '\n')
			s.joined = append(s.joined, s.buf[value:end]...)
		}
	case "event":
		s.name, s.hasName = span{value, end}, true
	}
}

func (s *SSE) emit(next int, partial bool) Event {
	e := Event{Raw: s.buf[s.start:next:next], At: -1, HasData: s.fields > 0, Partial: partial, Odd: s.odd}
	if s.hasName {
		e.Name = s.buf[s.name.from:s.name.to]
	}
	switch {
	case s.fields == 1:
		e.Data, e.At = s.buf[s.data.from:s.data.to], s.data.from-s.start
	case s.fields > 1:
		e.Data = s.joined
	}
	s.start, s.fields, s.hasName, s.odd = next, 0, false, false
	return e
}

// odd tells whether a line that is not data may be, or hold, a line of data to others. Some readers end lines as Unicode does, and
// trim them.
func odd(line, name []byte) bool {
	for _, c := range line {
		if c < ' ' && c != '\t' {
			return true
		}
	}
	return !utf8.Valid(line) || bytes.ContainsAny(line, "\u0085\u2028\u2029") ||
		bytes.EqualFold(bytes.TrimSpace(bytes.Trim(name, "\uFEFF")), []byte("data"))
}

// AppendEvent appends an event with that name ("" for none) and data to dst. LF, CR and CRLF in data become data
// fields of their own, so that no data can begin another field; name must be one line.
func AppendEvent(dst []byte, name string, data []byte) []byte {
	if name != "" {
		dst = append(dst, "event: "...)
		dst = append(dst, name...)
		dst = append(dst, '\n')
	}
	for {
		i := bytes.IndexAny(data, "\r\n")
		line := data
		if i >= 0 {
			line = data[:i]
		}
		dst = append(dst, "data: "...)
		dst = append(dst, line...)
		dst = append(dst, '\n')
		if i < 0 {
			break
		}
		if data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n' {
			i++
		}
		data = data[i+1:]
	}
	return append(dst, '\n')
}
