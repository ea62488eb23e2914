// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// beside looks at the lines of an event that are no data: comments, IDs. No model writes them, but they are released as they come. A
// line in which something is to be masked is left out; of the name of an event clients make something, so then it ends there.
func (m *events) beside(e *event) error {
	if e.hasData && e.at >= 0 && e.at <= len("data: ") && len(e.raw)-len(e.data) <= len("data: \r\n\r\n") {
		return nil // nothing but data
	}
	for from := 0; from < len(e.raw); {
		end, next := lineEnd(e.raw, from)
		line := e.raw[from:end]
		if e.hasData && (e.at >= from && e.at <= end || bytes.HasPrefix(line, []byte("data:"))) || len(line) < llm.MinText || plainName(line) {
			from = next
			continue
		}
		_, found, err := m.x.maskWhole(pipeline.CarrierMetadata, nil, line)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			from = next
			continue
		}
		if bytes.HasPrefix(line, []byte("event")) {
			return llm.NotInspected("the name of an event holds what is to be masked")
		}
		m.x.out.Masks = append(m.x.out.Masks, found...)
		e.raw = append(e.raw[:from], e.raw[next:]...)
		if e.at > from {
			e.at -= next - from
		}
		if e.at >= 0 && e.hasData {
			e.data = e.raw[e.at : e.at+len(e.data)]
		}
	}
	return nil
}

// lineEnd finds where the line at from ends, and where the next one begins.
func lineEnd(b []byte, from int) (end, next int) {
	i := bytes.IndexAny(b[from:], "\r\n")
	if i < 0 {
		return len(b), len(b)
	}
	end = from + i
	if b[end] == '\r' && end+1 < len(b) && b[end+1] == '\n' {
		return end, end + 2
	}
	return end, end + 1
}

// plainName tells whether a line is the name of an event, and a plain word.
func plainName(line []byte) bool {
	name, ok := bytes.CutPrefix(line, []byte("event: "))
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c == '_' || c == '.')
	}
	return ok
}
