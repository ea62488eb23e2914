// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// message is what matters of one query or answer.
type message struct {
	id        uint16
	response  bool
	truncated bool
	failed    bool   // the server says that there is no answer
	name      string // in lower case, without its last dot
	kind      uint16
	records   int       // addresses in the answer section
	found     []address // those that the name leads to, over aliases
	offers    offers
}

type address struct {
	netip.Addr
	ttl time.Duration
}

// offers are what an HTTPS record says that a client may do.
type offers struct {
	ech, h3 bool
	hints   []address
}

const (
	typeHTTPS = 65 // RFC 9460
	classIN   = 1
)

// read parses one message. The parser is not ours: if it breaks, that is an error like others.
func read(b []byte) (m message, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the DNS parser broke: %v", p)
		}
	}()
	var d layers.DNS
	if err := d.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
		return m, err
	}
	if len(d.Questions) != 1 {
		return m, errors.New("not one question")
	}
	q := d.Questions[0]
	m = message{id: d.ID, response: d.QR, truncated: d.TC, failed: d.ResponseCode != 0, name: canonical(q.Name), kind: uint16(q.Type)}
	if q.Class != classIN {
		return m, errors.New("another class")
	}
	leads := map[string]bool{m.name: true}
	for changed := true; changed; { // aliases may stand in any order; each round follows at least one
		changed = false
		for i := range d.Answers {
			r := &d.Answers[i]
			if r.Type == layers.DNSTypeCNAME && r.Class == classIN && leads[canonical(r.Name)] && !leads[canonical(r.CNAME)] {
				leads[canonical(r.CNAME)], changed = true, true
			}
		}
	}
	for i := range d.Answers {
		r := &d.Answers[i]
		if r.Class != classIN {
			continue
		}
		ttl := time.Duration(r.TTL) * time.Second
		switch {
		case r.Type == layers.DNSTypeA && len(r.Data) == 4, r.Type == layers.DNSTypeAAAA && len(r.Data) == 16:
			m.records++
			if a, ok := netip.AddrFromSlice(r.Data); ok && leads[canonical(r.Name)] {
				m.found = append(m.found, address{a.Unmap(), ttl})
			}
		case uint16(r.Type) == typeHTTPS && leads[canonical(r.Name)]:
			if err := m.offers.add(r.Data, ttl); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}

func canonical(name []byte) string { return strings.ToLower(strings.TrimSuffix(string(name), ".")) }

// Keys of service parameters (RFC 9460, section 14.3.2).
const (
	keyALPN     = 1
	keyIPv4Hint = 4
	keyECH      = 5
	keyIPv6Hint = 6
)

var errRecord = errors.New("an HTTPS record that ends early")

// add reads the data of an HTTPS record: a priority, a target name, parameters. An alias (priority 0) has none.
func (o *offers) add(b []byte, ttl time.Duration) error {
	if len(b) < 3 {
		return errRecord
	}
	b = b[2:]
	for len(b) > 0 && b[0] != 0 { // the target is not compressed
		n := 1 + int(b[0])
		if n > 64 || n > len(b) {
			return errRecord
		}
		b = b[n:]
	}
	if len(b) == 0 {
		return errRecord
	}
	for b = b[1:]; len(b) > 0; {
		if len(b) < 4 {
			return errRecord
		}
		key, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if b = b[4:]; n > len(b) {
			return errRecord
		}
		value := b[:n]
		b = b[n:]
		size := 0
		switch key {
		case keyECH:
			o.ech = true
		case keyALPN:
			for len(value) > 0 {
				n := 1 + int(value[0])
				if n > len(value) {
					return errRecord
				}
				if p := string(value[1:n]); p == "h3" || strings.HasPrefix(p, "h3-") {
					o.h3 = true
				}
				value = value[n:]
			}
		case keyIPv4Hint:
			size = 4
		case keyIPv6Hint:
			size = 16
		}
		for ; size > 0 && len(value) >= size; value = value[size:] {
			a, _ := netip.AddrFromSlice(value[:size]) // of the right size
			o.hints = append(o.hints, address{a.Unmap(), ttl})
		}
	}
	return nil
}
