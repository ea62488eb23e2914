// SPDX-License-Identifier: Apache-2.0

package stream

import "bytes"

// NDJSON splits a stream of lines, each of which is a JSON value (newline-delimited JSON). Only LF ends a line; one CR before
// it belongs to the line end. A blank line is an event without data. The last line counts without its LF too, as readers
// of lines take it: it is a partial event. Events do not depend on how the bytes are split over calls of Write.
type NDJSON struct {
	limit int
	buf   []byte
	start int // first byte of the line being read
	scan  int // bytes before it hold no line end
	ended bool
	err   error
}

// NewNDJSON returns a splitter that refuses lines of more than limit bytes; 0 means DefaultEventLimit.
func NewNDJSON(limit int) *NDJSON {
	if limit <= 0 {
		limit = DefaultEventLimit
	}
	return &NDJSON{limit: limit}
}

// Write takes the next bytes of the stream; they are copied. Drain Next before writing more.
func (s *NDJSON) Write(p []byte) {
	if s.start > 0 {
		n := copy(s.buf, s.buf[s.start:])
		s.buf = s.buf[:n]
		s.scan -= s.start
		s.start = 0
	}
	s.buf = append(s.buf, p...)
}

// End says that no more bytes follow. Next then yields the rest, if any, as a partial event.
func (s *NDJSON) End() { s.ended = true }

// Buffered is the number of bytes that no event was made of yet.
func (s *NDJSON) Buffered() int { return len(s.buf) - s.start }

// Next returns the next whole line, or false if more bytes are needed (or, after End, if there are none).
func (s *NDJSON) Next() (Event, bool, error) {
	if s.err != nil {
		return Event{}, false, s.err
	}
	next, partial := 0, false
	switch lf := bytes.IndexByte(s.buf[s.scan:], '\n'); {
	case lf >= 0:
		next = s.scan + lf + 1
	case s.Buffered() > s.limit:
		return s.tooLarge()
	case s.ended && s.Buffered() > 0:
		next, partial = len(s.buf), true
	default:
		s.scan = len(s.buf)
		return Event{}, false, nil
	}
	if next-s.start > s.limit {
		return s.tooLarge()
	}
	raw := s.buf[s.start:next:next]
	data := raw
	if !partial {
		data = bytes.TrimSuffix(data[:len(data)-1], []byte("\r"))
	}
	e := Event{Raw: raw, At: -1, Partial: partial}
	if len(bytes.Trim(data, " \t\r")) > 0 {
		e.Data, e.At, e.HasData = data, 0, true
	}
	s.start, s.scan = next, next
	return e, true, nil
}

func (s *NDJSON) tooLarge() (Event, bool, error) {
	s.err = tooLarge(s.limit)
	return Event{}, false, s.err
}

// AppendLine appends data and LF. data must be JSON without line ends.
func AppendLine(dst, data []byte) []byte {
	return append(append(dst, data...), '\n')
}
