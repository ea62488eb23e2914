// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"encoding/binary"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
)

// Bounds of what is kept of connections to name servers.
const (
	maxStreams  = 256
	maxBuffered = 1<<16 + 2 // one message and its length
	maxAsked    = 64        // questions of one connection that wait for their answer
	streamIdle  = 30 * time.Second
)

type streamKey struct{ netns, socket uint64 }

// stream is one connection to a name server: messages with their length before them (RFC 1035, section 4.2.2).
type stream struct {
	out, in half
	asked   map[uint16]message
	last    time.Time
	broken  bool
}

type half struct {
	begun bool
	next  uint32
	buf   []byte
}

// piece takes a piece of a connection. Pieces come in the order in which they passed; one that is missing ends the attempt.
func (a *Audit) piece(c *agent.DNSCopy) {
	key := streamKey{c.NetNS, c.Socket}
	s := a.streams[key]
	if s == nil {
		if c.Kind != agent.DNSOut {
			return // begun before we looked
		}
		if len(a.streams) >= maxStreams {
			a.expire()
		}
		if len(a.streams) >= maxStreams {
			a.n.Broken++
			return
		}
		s = &stream{asked: map[uint16]message{}}
		a.streams[key] = s
	}
	s.last = time.Now()
	if s.broken {
		return
	}
	h := &s.out
	if c.Kind == agent.DNSIn {
		h = &s.in
	}
	if !h.add(c.Seq, c.Data) {
		s.broken = true
		a.n.Broken++
		return
	}
	for {
		raw, ok := h.message()
		if !ok {
			return
		}
		m, err := read(raw)
		if err != nil {
			continue // whom it concerned is not known
		}
		a.said(c, s, &m)
	}
}

// said learns from an answer to a question about an endpoint that was seen on the same connection.
func (a *Audit) said(c *agent.DNSCopy, s *stream, m *message) {
	if c.Kind == agent.DNSOut {
		if !m.response && a.hosts[m.name] && len(s.asked) < maxAsked {
			s.asked[m.id] = *m
		}
		return
	}
	q, ok := s.asked[m.id]
	if !m.response || !ok || q.name != m.name || q.kind != m.kind {
		return
	}
	delete(s.asked, m.id)
	a.n.TCP++
	if m.failed {
		return
	}
	for _, f := range m.found {
		a.add(c.NetNS, f, m.name)
	}
	a.reportOffers(c.NetNS, m)
}

// expire forgets connections on which nothing was said for a while: their end is not seen.
func (a *Audit) expire() {
	for k, s := range a.streams {
		if time.Since(s.last) > streamIdle {
			delete(a.streams, k)
		}
	}
}

// add appends a piece; what was there already is left out. It is false if something is missing or too much is waiting.
func (h *half) add(seq uint32, b []byte) bool {
	if !h.begun {
		h.begun, h.next = true, seq
	}
	ahead := int32(seq - h.next)
	if ahead > 0 {
		return false
	}
	if old := int(-int64(ahead)); old > 0 {
		if old >= len(b) {
			return true
		}
		b = b[old:]
	}
	if len(h.buf)+len(b) > maxBuffered {
		return false
	}
	h.buf = append(h.buf, b...)
	h.next += uint32(len(b))
	return true
}

// message takes the next whole message.
func (h *half) message() ([]byte, bool) {
	if len(h.buf) < 2 {
		return nil, false
	}
	n := 2 + int(binary.BigEndian.Uint16(h.buf))
	if len(h.buf) < n {
		return nil, false
	}
	m := h.buf[2:n:n]
	h.buf = h.buf[n:]
	return m, true
}
