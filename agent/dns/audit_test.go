// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/sallyport-dev/sallyport/agent"
)

const (
	host  = "api.openai.test"
	netns = 7
)

// book remembers addresses as the kernel's maps do.
type book struct {
	known map[netip.Addr][]string
	full  bool
}

func (b *book) At(ns uint64, a netip.Addr) []string {
	if ns != netns {
		return nil
	}
	return b.known[a]
}

func (b *book) Learn(_ uint64, a netip.Addr, host string, _ time.Duration) error {
	if b.full {
		return errors.New("full")
	}
	b.known[a] = append(b.known[a], host)
	return nil
}

func newAudit(known ...string) (*Audit, *book, *[]Finding) {
	b := &book{known: map[netip.Addr][]string{}}
	for _, a := range known {
		b.known[netip.MustParseAddr(a)] = []string{host}
	}
	var told []Finding
	return New(Options{Book: b, Hosts: []string{"API.OpenAI.test"}, Tell: func(f Finding) { told = append(told, f) }}), b, &told
}

// record is one of an answer; data is an address, or another name.
func record(name, data string) layers.DNSResourceRecord {
	r := layers.DNSResourceRecord{Name: []byte(name), Class: layers.DNSClassIN, TTL: 60}
	a, err := netip.ParseAddr(data)
	switch {
	case err != nil:
		r.Type, r.CNAME = layers.DNSTypeCNAME, []byte(data)
	case a.Is4():
		r.Type, r.IP = layers.DNSTypeA, a.AsSlice()
	default:
		r.Type, r.IP = layers.DNSTypeAAAA, a.AsSlice()
	}
	return r
}

func pack(t testing.TB, d *layers.DNS) []byte {
	t.Helper()
	out := gopacket.NewSerializeBuffer()
	if err := d.SerializeTo(out, gopacket.SerializeOptions{FixLengths: true}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func answer(t testing.TB, id uint16, records ...layers.DNSResourceRecord) []byte {
	return pack(t, &layers.DNS{ID: id, QR: true, QDCount: 1, ANCount: uint16(len(records)), Answers: records,
		Questions: []layers.DNSQuestion{{Name: []byte(host), Type: layers.DNSTypeA, Class: layers.DNSClassIN}}})
}

func query(t testing.TB, id uint16, name string) []byte {
	return pack(t, &layers.DNS{ID: id, RD: true, QDCount: 1, Questions: []layers.DNSQuestion{{Name: []byte(name), Type: layers.DNSTypeA, Class: layers.DNSClassIN}}})
}

// service is an answer with an HTTPS record, whose data gopacket cannot write.
func service(t testing.TB, data []byte) []byte {
	b := pack(t, &layers.DNS{ID: 1, QR: true, QDCount: 1, Questions: []layers.DNSQuestion{{Name: []byte(host), Type: typeHTTPS, Class: layers.DNSClassIN}}})
	binary.BigEndian.PutUint16(b[6:], 1)
	b = append(b, 0xc0, 12, 0, typeHTTPS, 0, 1, 0, 0, 0, 60)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

func param(key uint16, value string) string {
	return string(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, key), uint16(len(value)))) + value
}

// TestAudit compares answers with what the kernel says that it learned.
func TestAudit(t *testing.T) {
	const modern = "\x00\x01\x00"
	for _, c := range []struct {
		name    string
		known   []string
		learned int
		data    []byte
		cut     int
		want    Counts
		kinds   []Kind
		after   []string // addresses that are known then
	}{
		{name: "as it should be", known: []string{"192.0.2.1", "2001:db8::1"}, learned: 2, want: Counts{Answers: 1}, after: []string{"192.0.2.1", "2001:db8::1"},
			data: answer(t, 1, record(host, "a.test"), record("a.test", "b.test"), record("b.test", "192.0.2.1"), record("B.test", "2001:db8::1"))},
		{name: "aliases in another order", known: []string{"192.0.2.1"}, learned: 1, want: Counts{Answers: 1}, after: []string{"192.0.2.1"},
			data: answer(t, 1, record("b.test", "192.0.2.1"), record("a.test", "b.test"), record(host, "a.test"))},
		{name: "one is missing", known: []string{"192.0.2.1"}, learned: 1, want: Counts{Answers: 1, Mismatches: 1, Added: 1}, kinds: []Kind{Mismatch}, after: []string{"192.0.2.1", "192.0.2.2"},
			data: answer(t, 1, record(host, "192.0.2.1"), record(host, "192.0.2.2"))},
		{name: "one of another name", known: []string{"192.0.2.1", "192.0.2.2"}, learned: 2, want: Counts{Answers: 1, Mismatches: 1}, kinds: []Kind{Mismatch}, after: []string{"192.0.2.1", "192.0.2.2"},
			data: answer(t, 1, record(host, "192.0.2.1"), record("x.test", "192.0.2.2"))},
		{name: "aliases in a circle", learned: 0, want: Counts{Answers: 1}, data: answer(t, 1, record(host, "a.test"), record("a.test", host))},
		{name: "not readable", want: Counts{Answers: 1, Unread: 1}, kinds: []Kind{Unread}, data: []byte{1, 2, 3}},
		{name: "longer than a copy", want: Counts{Answers: 1, Unread: 1}, kinds: []Kind{Unread}, data: answer(t, 1), cut: 1},
		{name: "ECH and HTTP/3", want: Counts{Answers: 1, ECH: 1, H3: 1}, kinds: []Kind{OffersEC, OffersH3},
			data: service(t, []byte(modern+param(keyALPN, "\x02h2\x02h3")+param(keyECH, "key")))},
		{name: "hints are learned", want: Counts{Answers: 1, Added: 3}, after: []string{"192.0.2.5", "192.0.2.6", "2001:db8::5"},
			data: service(t, []byte(modern+param(keyALPN, "\x02h2")+param(keyIPv4Hint, "\xc0\x00\x02\x05\xc0\x00\x02\x06")+param(keyIPv6Hint, string(netip.MustParseAddr("2001:db8::5").AsSlice()))))},
		{name: "an alias without parameters", want: Counts{Answers: 1}, data: service(t, []byte("\x00\x00\x04cdnx\x00"))},
		{name: "a record that ends early", want: Counts{Answers: 1, Unread: 1}, kinds: []Kind{Unread}, data: service(t, []byte(modern+"\x00\x05\x00\x09x"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b, told := newAudit(c.known...)
			a.See(agent.DNSCopy{Kind: agent.DNSAnswer, NetNS: netns, Name: host, Learned: c.learned, Size: len(c.data) + c.cut, Data: c.data})
			if diff := cmp.Diff(c.want, a.Counts()); diff != "" {
				t.Error(diff)
			}
			var kinds []Kind
			for _, f := range *told {
				kinds = append(kinds, f.Kind)
			}
			if !slices.Equal(kinds, c.kinds) {
				t.Errorf("told %+v", *told)
			}
			var after []string
			for a := range b.known {
				after = append(after, a.String())
			}
			slices.Sort(after)
			if !slices.Equal(after, c.after) {
				t.Errorf("known are %v, want %v", after, c.after)
			}
		})
	}
}

// TestToldOnce: the same finding is told once an hour, with its number.
func TestToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, told := newAudit()
		for range 3 {
			a.See(agent.DNSCopy{Kind: agent.DNSAnswer, NetNS: netns, Name: host, Size: 3, Data: []byte{1, 2, 3}})
		}
		time.Sleep(tellEvery)
		a.See(agent.DNSCopy{Kind: agent.DNSAnswer, NetNS: netns, Name: host, Size: 3, Data: []byte{1, 2, 3}})
		if len(*told) != 2 || (*told)[0].Count != 1 || (*told)[1].Count != 3 {
			t.Errorf("told %+v", *told)
		}
	})
}

func framed(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

// TestTCP: answers over TCP are put together and learned, if they were asked for on the same connection.
func TestTCP(t *testing.T) {
	type piece struct {
		in   bool
		seq  uint32
		data []byte
	}
	ask, reply := framed(query(t, 9, host)), framed(answer(t, 9, record(host, "192.0.2.1")))
	const begin = 0xfffffff0 // numbers wrap
	out := piece{false, 5, ask}
	for _, c := range []struct {
		name   string
		pieces []piece
		want   Counts
	}{
		{"in one piece", []piece{out, {true, begin, reply}}, Counts{TCP: 1, Added: 1}},
		{"byte by byte", func() []piece {
			all := []piece{out}
			for i := range reply {
				all = append(all, piece{true, begin + uint32(i), reply[i : i+1]})
			}
			return all
		}(), Counts{TCP: 1, Added: 1}},
		{"sent again", []piece{out, out, {true, begin, reply[:9]}, {true, begin, reply[:20]}, {true, begin + 4, reply[4:]}}, Counts{TCP: 1, Added: 1}},
		{"a piece is missing", []piece{out, {true, begin, reply[:9]}, {true, begin + 10, reply[10:]}}, Counts{Broken: 1}},
		{"not asked", []piece{{false, 5, framed(query(t, 8, host))}, {true, begin, reply}}, Counts{}},
		{"asked for something else", []piece{{false, 5, framed(query(t, 9, "www.test"))}, {true, begin, reply}}, Counts{}},
		{"begun before us", []piece{{true, begin, reply}}, Counts{}},
		{"twice", []piece{out, {true, begin, reply}, {true, begin + uint32(len(reply)), reply}}, Counts{TCP: 1, Added: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b, _ := newAudit()
			for _, p := range c.pieces {
				kind := agent.DNSOut
				if p.in {
					kind = agent.DNSIn
				}
				a.See(agent.DNSCopy{Kind: kind, NetNS: netns, Socket: 3, Seq: p.seq, Size: len(p.data), Data: p.data})
			}
			if diff := cmp.Diff(c.want, a.Counts()); diff != "" {
				t.Error(diff)
			}
			if len(b.known) != int(c.want.Added) {
				t.Errorf("known are %v", b.known)
			}
		})
	}
}

// TestTCPBounds: who opens many connections to name servers, or says much on one, cannot fill the memory.
func TestTCPBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _, _ := newAudit()
		see := func(socket uint64, data string) {
			a.See(agent.DNSCopy{Kind: agent.DNSOut, NetNS: netns, Socket: socket, Size: len(data), Data: []byte(data)})
		}
		for i := range uint64(maxStreams + 10) {
			see(i, "\xff")
		}
		if len(a.streams) != maxStreams || a.Counts().Broken != 10 {
			t.Errorf("%d are kept; %+v", len(a.streams), a.Counts())
		}
		time.Sleep(2 * streamIdle)
		see(maxStreams+50, "x")
		if len(a.streams) != 1 {
			t.Errorf("%d are kept after a while", len(a.streams))
		}
		h := half{}
		n := uint32(0)
		for h.add(n, []byte(strings.Repeat("x", 1000))) {
			if n += 1000; n > 1<<20 {
				t.Fatal("one connection may be as long as it likes")
			}
		}
	})
}

// FuzzSee: no bytes break the audit, and what it learns is what the answer says.
func FuzzSee(f *testing.F) {
	f.Add(uint8(1), answer(f, 1, record(host, "a.test"), record("a.test", "192.0.2.1")))
	f.Add(uint8(1), service(f, []byte("\x00\x01\x00"+param(keyALPN, "\x02h3")+param(keyIPv4Hint, "\xc0\x00\x02\x05"))))
	f.Add(uint8(2), framed(answer(f, 9, record(host, "192.0.2.1"))))
	f.Add(uint8(3), framed(query(f, 9, host)))
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		a, b, _ := newAudit()
		for i := range 3 {
			a.See(agent.DNSCopy{Kind: agent.DNSKind(kind), NetNS: netns, Name: host, Seq: uint32(i * len(data)), Size: len(data), Data: data})
		}
		for at := range b.known {
			if raw := at.AsSlice(); !strings.Contains(string(data), string(raw)) {
				t.Fatal(fmt.Errorf("%s is nowhere in the answer", at))
			}
		}
	})
}
