// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/kernel/learn"
)

// resolver is where the tests' name server listens: a loopback address, as that of a stub resolver.
const resolver = "127.0.0.53:53"

// answerer makes the answer to a question: its records, or what else it changes.
type answerer func(q layers.DNSQuestion, r *layers.DNS)

// serveDNS answers questions over UDP until the test ends.
func serveDNS(t testing.TB, at string, answer answerer) {
	t.Helper()
	pc, err := net.ListenPacket("udp", at)
	must(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { pc.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			if r := answerTo(b[:n], answer); r != nil {
				pc.WriteTo(r, from)
			}
		}
	}()
}

// serveDNSOverTCP answers one question of each connection.
func serveDNSOverTCP(t *testing.T, at string, answer answerer) {
	t.Helper()
	ln := listen(t, netip.MustParseAddrPort(at))
	done := make(chan struct{})
	t.Cleanup(func() { ln.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			b := make([]byte, 4096)
			if n, err := c.Read(b); err == nil && n > 2 {
				if r := answerTo(b[2:n], answer); r != nil {
					c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(r))), r...))
				}
			}
			c.Close()
		}
	}()
}

func answerTo(query []byte, answer answerer) []byte {
	var q layers.DNS
	if q.DecodeFromBytes(query, gopacket.NilDecodeFeedback) != nil || len(q.Questions) != 1 {
		return nil
	}
	r := layers.DNS{ID: q.ID, QR: true, RA: true, QDCount: 1, Questions: q.Questions}
	answer(q.Questions[0], &r)
	r.ANCount = uint16(len(r.Answers))
	out := gopacket.NewSerializeBuffer()
	if err := r.SerializeTo(out, gopacket.SerializeOptions{FixLengths: true}); err != nil {
		return nil
	}
	return out.Bytes()
}

func addressRecord(name string, a netip.Addr) layers.DNSResourceRecord {
	r := layers.DNSResourceRecord{Name: []byte(name), Type: layers.DNSTypeA, Class: layers.DNSClassIN, TTL: 300, IP: a.AsSlice()}
	if a.Is6() {
		r.Type = layers.DNSTypeAAAA
	}
	return r
}

func chain(names ...string) (out []layers.DNSResourceRecord) {
	for i := range len(names) - 1 {
		out = append(out, layers.DNSResourceRecord{Name: []byte(names[i]), Type: layers.DNSTypeCNAME, Class: layers.DNSClassIN, TTL: 300, CNAME: []byte(names[i+1])})
	}
	return out
}

// byDestination makes a world whose processes no scope selects, and that knows one endpoint.
func byDestination(t testing.TB, endpoints ...learn.Endpoint) *world {
	t.Helper()
	w := newWorld(t, enforced)
	must(t, w.k.SetCgroup(w.sub("app"), 0))
	must(t, w.k.SetDefault(agent.ModeDiscover, false))
	if endpoints == nil {
		endpoints = []learn.Endpoint{{Host: "api.openai.test", Port: originPort, TLS: true}}
	}
	must(t, w.k.Learner().SetEndpoints(endpoints))
	return w
}

// resolve asks for a name as a program would. How: "connected" or "sendto", and the name as it is to be written.
func (p *process) resolve(how, name, kind string) reply {
	p.t.Helper()
	return p.do("resolve", how, resolver, name, kind)
}

func (w *world) counts() map[string]uint64 {
	w.t.Helper()
	n, err := w.k.Learner().Counts()
	must(w.t, err)
	return n
}

// TestDNS: what a program is told about an endpoint is known when it connects.
func TestDNS(t *testing.T) {
	to := func(a string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(a), originPort) }
	for _, c := range []struct {
		name      string
		how, kind string
		ask       string
		answer    answerer
		connect   string // kind of connect
		to        netip.AddrPort
		want      string
	}{
		{"A", "connected", "A", "api.openai.test", func(q layers.DNSQuestion, r *layers.DNS) {
			r.Answers = append(r.Answers, addressRecord("api.openai.test", origin4.Addr()))
		}, "v4", origin4, "PROXY"},
		{"unconnected socket", "sendto", "A", "api.openai.test", func(q layers.DNSQuestion, r *layers.DNS) {
			r.Answers = append(r.Answers, addressRecord("api.openai.test", origin4.Addr()))
		}, "v4", origin4, "PROXY"},
		{"AAAA", "connected", "AAAA", "api.openai.test", func(q layers.DNSQuestion, r *layers.DNS) {
			r.Answers = append(r.Answers, addressRecord("api.openai.test", origin6.Addr()))
		}, "v6", origin6, "PROXY"},
		{"mapped connect", "connected", "A", "api.openai.test", func(q layers.DNSQuestion, r *layers.DNS) {
			r.Answers = append(r.Answers, addressRecord("api.openai.test", origin4.Addr()))
		}, "mapped", origin4, "PROXY"},
		{"mixed case", "connected", "A", "aPI.OPenai.tEST", func(q layers.DNSQuestion, r *layers.DNS) {
			r.Answers = append(r.Answers, addressRecord("aPI.OPenai.tEST", origin4.Addr()))
		}, "v4", origin4, "PROXY"},
		{"a chain of names", "connected", "A", "api.openai.test", func(q layers.DNSQuestion, r *layers.DNS) {
			r.Answers = append(chain("api.openai.test", "a.cdn.test", "b.cdn.test", "c.cdn.test"), addressRecord("c.cdn.test", to("127.0.0.9").Addr()), addressRecord("c.cdn.test", origin4.Addr()))
		}, "v4", origin4, "PROXY"},
		{"another name", "connected", "A", "www.openai.test", func(q layers.DNSQuestion, r *layers.DNS) {
			r.Answers = append(r.Answers, addressRecord("www.openai.test", origin4.Addr()))
		}, "v4", origin4, "ORIGIN"},
		{"a longer name", "connected", "A", "x.api.openai.test", func(q layers.DNSQuestion, r *layers.DNS) {
			r.Answers = append(r.Answers, addressRecord("x.api.openai.test", origin4.Addr()))
		}, "v4", origin4, "ORIGIN"},
		{"an answer with another identifier", "connected", "A", "api.openai.test", func(q layers.DNSQuestion, r *layers.DNS) {
			r.ID++
			r.Answers = append(r.Answers, addressRecord("api.openai.test", origin4.Addr()))
		}, "v4", origin4, "ORIGIN"},
		{"an answer to another question", "connected", "A", "www.openai.test", func(q layers.DNSQuestion, r *layers.DNS) {
			r.Questions = []layers.DNSQuestion{{Name: []byte("api.openai.test"), Type: q.Type, Class: q.Class}}
			r.Answers = append(r.Answers, addressRecord("api.openai.test", origin4.Addr()))
		}, "v4", origin4, "ORIGIN"},
		{"an answer of another type", "connected", "AAAA", "api.openai.test", func(q layers.DNSQuestion, r *layers.DNS) {
			r.Questions = []layers.DNSQuestion{{Name: q.Name, Type: layers.DNSTypeA, Class: q.Class}}
			r.Answers = append(r.Answers, addressRecord("api.openai.test", origin4.Addr()))
		}, "v4", origin4, "ORIGIN"},
		{"no such name", "connected", "A", "api.openai.test", func(q layers.DNSQuestion, r *layers.DNS) {
			r.ResponseCode = layers.DNSResponseCodeNXDomain
			r.Answers = append(r.Answers, addressRecord("api.openai.test", origin4.Addr()))
		}, "v4", origin4, "ORIGIN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := byDestination(t)
			serveDNS(t, resolver, c.answer)
			p := w.spawn("app")
			if got := p.connect(c.connect, c.to); got != "ORIGIN" {
				t.Fatalf("before anything was asked: %s", got)
			}
			if r := p.resolve(c.how, c.ask, c.kind); r.Error != "" {
				t.Fatal(r.Error)
			}
			if got := p.connect(c.connect, c.to); got != c.want {
				t.Errorf("got %s, want %s; counted %v", got, c.want, w.counts())
			}
			if conns := w.taken(); c.want == "PROXY" && (len(conns) != 1 || conns[0].Scope != agent.ScopeDefault || conns[0].Orig != c.to) {
				t.Errorf("the proxy saw %+v", conns)
			}
			if at := w.k.Learner().At(w.netns, c.to.Addr()); (len(at) == 1 && at[0] == "api.openai.test") != (c.want == "PROXY") {
				t.Errorf("the address is known as %v", at)
			}
		})
	}
}

// TestDNSTiming: each connection goes to an address that was not known before the answer that names it.
func TestDNSTiming(t *testing.T) {
	n := 300
	if s := os.Getenv("SALLYPORT_DNS_CONNECTS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		must(t, err)
	}
	w := byDestination(t)
	var next atomic.Uint32
	serveDNS(t, resolver, func(q layers.DNSQuestion, r *layers.DNS) {
		i := next.Add(1)
		a := netip.AddrFrom4([4]byte{127, 20, byte(i >> 8), byte(i)})
		r.Answers = append(chain(string(q.Name), "edge.cdn.test"), addressRecord("edge.cdn.test", a))
	})
	r := w.spawn("app").do("resolvemany", resolver, "api.openai.test", strconv.Itoa(originPort), strconv.Itoa(n))
	t.Logf("%v; counted %v", r.Count, w.counts())
	if r.Error != "" || r.Count["PROXY"] != n {
		t.Errorf("of %d connections: %v %s", n, r.Count, r.Error)
	}
}

// TestDNSElsewhere: what one network namespace learned says nothing about another.
func TestDNSElsewhere(t *testing.T) {
	w := byDestination(t)
	must(t, w.k.Learner().Learn(w.netns+1000, origin4.Addr(), "api.openai.test", 0))
	p := w.spawn("app")
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("learned in another namespace: %s", got)
	}
	must(t, w.k.Learner().Learn(w.netns, origin4.Addr(), "api.openai.test", 0))
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("learned in this namespace: %s", got)
	}
}

// TestDestinationNeedsPort: an endpoint's address at another port is another destination.
func TestDestinationNeedsPort(t *testing.T) {
	w := byDestination(t)
	const other = 18497
	must(t, w.k.SetPorts([]uint16{originPort, other}))
	l := w.k.Learner()
	must(t, l.SetEndpoints([]learn.Endpoint{{Host: "api.openai.test", Port: other, TLS: true}}))
	must(t, l.Learn(w.netns, origin4.Addr(), "api.openai.test", 0))
	p := w.spawn("app")
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("the address at a port that is no endpoint's: %s", got)
	}
	if got := p.connect("v4", netip.AddrPortFrom(origin4.Addr(), other)); got != "PROXY" {
		t.Errorf("at its port: %s", got)
	}
	if err := l.SetEndpoints([]learn.Endpoint{{Host: "api.openai.test", Port: 1}}); err == nil {
		t.Error("an endpoint at a port that is not captured is accepted")
	}
}

// TestDNSChange: a name that is no endpoint any more is forgotten with its addresses, and its number tells nothing of the next.
func TestDNSChange(t *testing.T) {
	w := byDestination(t)
	l := w.k.Learner()
	must(t, l.Learn(w.netns, origin4.Addr(), "api.openai.test", 0))
	must(t, l.SetEndpoints([]learn.Endpoint{{Host: "api.mistral.test", Port: originPort, TLS: true}}))
	p := w.spawn("app")
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("the address of a former endpoint: %s", got)
	}
	must(t, l.SetEndpoints([]learn.Endpoint{{Host: "api.mistral.test", Port: originPort, TLS: true}, {Host: "127.0.0.2", Port: originPort}}))
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("an address from the configuration: %s", got)
	}
	must(t, w.k.SetDefault(agent.ModeOff, false))
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("with the default mode off: %s", got)
	}
}

// TestDNSFull: what finds no room is counted; programs go on as they would without us.
func TestDNSFull(t *testing.T) {
	w := byDestination(t)
	l := w.k.Learner()
	for i := 0; ; i++ {
		if err := l.Learn(w.netns, netip.AddrFrom4([4]byte{127, 30 + byte(i>>16), byte(i >> 8), byte(i)}), "api.openai.test", 0); err != nil {
			break
		}
		if i > 100_000 {
			t.Fatal("there is no bound")
		}
	}
	serveDNS(t, resolver, func(q layers.DNSQuestion, r *layers.DNS) {
		r.Answers = append(r.Answers, addressRecord(string(q.Name), origin4.Addr()))
	})
	p := w.spawn("app")
	if r := p.resolve("connected", "api.openai.test", "A"); r.Error != "" || !strings.Contains(r.Said, origin4.Addr().String()) {
		t.Errorf("the answer did not arrive: %+v", r)
	}
	if n := w.counts(); n["full"] != 1 {
		t.Errorf("counted %v", n)
	}
	if got := p.connect("v4", origin4); got != "ORIGIN" {
		t.Errorf("where the default mode fails open: %s", got)
	}
	must(t, w.k.SetDefault(agent.ModeEnforce, true))
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("where it fails closed, the proxy decides: %s", got)
	}
	must(t, w.k.SetDefault(agent.ModeDiscover, false))
	// Another name server's answers, and other datagrams, are untouched by all of this.
	if r := p.resolve("connected", "www.example.test", "A"); r.Error != "" {
		t.Error(r.Error)
	}
}

// TestDNSLoad: an upgrade keeps what was learned.
func TestDNSLoad(t *testing.T) {
	w := byDestination(t)
	must(t, w.k.Learner().Learn(w.netns, origin4.Addr(), "api.openai.test", 0))
	k := w.load(2)
	defer k.Close()
	must(t, k.Learner().SetEndpoints([]learn.Endpoint{{Host: "aaa.test", Port: originPort}, {Host: "api.openai.test", Port: originPort, TLS: true}}))
	if at := k.Learner().At(w.netns, origin4.Addr()); fmt.Sprint(at) != "[api.openai.test]" {
		t.Errorf("known as %v", at)
	}
	must(t, k.Attach())
	if got := w.spawn("app").connect("v4", origin4); got != "PROXY" {
		t.Error(got)
	}
}
