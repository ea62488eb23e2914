// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/dns"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/kernel/learn"
)

// datagram sends one datagram of the named kind.
func datagram(kind string, a netip.AddrPort) reply {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()})
	if a.Addr().Is4() && !strings.HasSuffix(kind, "mapped") {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
	if err != nil {
		return reply{Error: errno(err)}
	}
	defer unix.Close(fd)
	what, _, _ := strings.Cut(kind, " ")
	switch what {
	case "connect":
		if err = unix.Connect(fd, sa); err == nil {
			_, err = unix.Write(fd, []byte("hello"))
		}
	case "sendto":
		err = unix.Sendto(fd, []byte("hello"), 0, sa)
	case "sendmsg":
		err = unix.Sendmsg(fd, []byte("hello"), nil, sa, 0)
	case "uring":
		raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: a.Port()<<8 | a.Port()>>8, Addr: a.Addr().As4()}
		err = uringSend(fd, raw, []byte("hello"))
	}
	if err != nil {
		return reply{Error: errno(err)}
	}
	return reply{Said: "sent"}
}

func (p *process) datagram(kind string, a netip.AddrPort) string {
	p.t.Helper()
	r := p.do("datagram", kind, a.String())
	return r.Said + r.Error
}

// received counts the datagrams that arrive at an address.
func received(t *testing.T, a netip.AddrPort) func() int {
	t.Helper()
	pc, err := net.ListenPacket("udp", a.String())
	must(t, err)
	var mu sync.Mutex
	n := 0
	done := make(chan struct{})
	t.Cleanup(func() { pc.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 100)
		for {
			if _, _, err := pc.ReadFrom(b); err != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
		}
	}()
	return func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// TestQUIC: datagrams to an endpoint's address and port are refused in every way to send them, where TLS is opened; nothing else is.
func TestQUIC(t *testing.T) {
	observed := enforced
	observed.Mode, observed.Closed = agent.ModeObserve, false
	discovered := observed
	discovered.Mode = agent.ModeDiscover
	w := newWorld(t, enforced, observed, discovered)
	must(t, w.k.SetDefault(agent.ModeDiscover, false))
	for i, name := range []string{"enforced", "observed", "discovered"} {
		must(t, w.k.SetCgroup(w.sub(name), 1<<i))
	}
	must(t, w.k.SetCgroup(w.sub("other"), 0))
	const plain, literal = 18496, 18495
	must(t, w.k.SetPorts([]uint16{originPort, plain, literal}))
	l := w.k.Learner()
	must(t, l.SetEndpoints([]learn.Endpoint{{Host: "api.openai.test", Port: originPort, TLS: true}, {Host: "plain.test", Port: plain},
		{Host: "127.0.0.7", Port: literal, TLS: true}}))
	for _, a := range []netip.Addr{origin4.Addr(), origin6.Addr()} {
		must(t, l.Learn(w.netns, a, "api.openai.test", 0))
	}
	must(t, l.Learn(w.netns, origin4.Addr(), "plain.test", 0))
	at := func(a string, port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(a), port) }
	arrived := received(t, origin4)
	all := []string{"enforced", "observed", "discovered", "other"}
	refused := []string{"enforced", "observed"}
	procs := map[string]*process{}
	for _, name := range all {
		procs[name] = w.spawn(name)
	}
	for _, c := range []struct {
		kind string
		to   netip.AddrPort
		who  []string
		want string
	}{
		{"connect", origin4, refused, "EPERM"},
		{"connect mapped", origin4, refused, "EPERM"},
		{"connect", origin6, refused, "EPERM"},
		{"sendto", origin4, refused, "EPERM"},
		{"sendto mapped", origin4, refused, "EPERM"},
		{"sendto", origin6, refused, "EPERM"},
		{"sendmsg", origin4, refused, "EPERM"},
		{"uring", origin4, refused, "EPERM"},
		{"sendto", at("127.0.0.7", literal), refused, "EPERM"},
		{"sendto", at("127.0.0.7", originPort), all, "sent"}, // an address at another port
		{"sendto", at("127.0.0.9", originPort), all, "sent"}, // not an endpoint's
		{"sendto", at("127.0.0.2", plain), all, "sent"},      // nobody speaks QUIC where there is no TLS
		{"sendto", at("127.0.0.2", 53), all, "sent"},
		{"sendto", at("127.0.0.2", 4433), all, "sent"},
		{"uring", at("127.0.0.9", originPort), all, "sent"},
		{"sendto", origin4, []string{"discovered", "other"}, "sent"},
	} {
		for _, who := range c.who {
			if got := procs[who].datagram(c.kind, c.to); got != c.want {
				t.Errorf("%s to %s by %s: got %s, want %s", c.kind, c.to, who, got, c.want)
			}
		}
	}
	// A connect to port 0 chooses an address, and sends nothing: getaddrinfo sorts its answers by it.
	if got := procs["enforced"].do("datagram", "connect", at("127.0.0.2", 0).String()); got.Error == "EPERM" {
		t.Error("a choice of addresses is refused")
	}
	for i, want := range []uint64{9, 9, 0} {
		if q, err := w.k.QUIC(uint32(i)); err != nil || q.Refused != want {
			t.Errorf("%s: counted %+v, %v, want %d", all[i], q, err, want)
		}
	}
	for end := time.Now().Add(10 * time.Second); arrived() < 2 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if n := arrived(); n != 2 {
		t.Errorf("%d datagrams arrived, want those of discovered and other", n)
	}
	// Break glass lets them go, and by destination nobody is spared where the default mode opens TLS.
	must(t, kernel.Bypass(w.pins, 0, time.Minute))
	if got := procs["enforced"].datagram("sendto", origin4); got != "sent" {
		t.Errorf("bypassed: %s", got)
	}
	if q, err := w.k.QUIC(0); err != nil || q.Bypassed != 1 {
		t.Errorf("counted %+v, %v", q, err)
	}
	must(t, w.k.SetDefault(agent.ModeEnforce, true))
	if got := procs["other"].datagram("sendto", origin4); got != "EPERM" {
		t.Errorf("by destination: %s", got)
	}
}

// TestDNSAudit: copies of answers arrive and agree with what was learned; what came over TCP is learned from them.
func TestDNSAudit(t *testing.T) {
	w := byDestination(t)
	answer := func(q layers.DNSQuestion, r *layers.DNS) {
		r.Answers = append(chain(string(q.Name), "edge.cdn.test"), addressRecord("edge.cdn.test", origin4.Addr()))
		for i := range 200 { // larger than one copy
			r.Answers = append(r.Answers, addressRecord("edge.cdn.test", netip.AddrFrom4([4]byte{127, 21, 0, byte(i)})))
		}
	}
	small := func(q layers.DNSQuestion, r *layers.DNS) {
		r.Answers = append(chain(string(q.Name), "edge.cdn.test"), addressRecord("edge.cdn.test", netip.MustParseAddr("127.0.0.8")))
	}
	serveDNS(t, resolver, small)
	serveDNSOverTCP(t, resolver, answer)
	audit := dns.New(dns.Options{Book: w.k.Learner(), Hosts: []string{"api.openai.test"}, Tell: func(f dns.Finding) { t.Errorf("found %+v", f) }})
	ctx, stop := context.WithCancel(context.Background())
	var reader sync.WaitGroup
	reader.Go(func() {
		if err := w.k.Learner().Listen(ctx, audit.See); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); reader.Wait() })
	p := w.spawn("app")
	if r := p.resolve("connected", "api.openai.test", "A"); r.Error != "" {
		t.Fatal(r.Error)
	}
	if r := p.resolve("tcp", "api.openai.test", "A"); r.Error != "" {
		t.Fatal(r.Error)
	}
	for end := time.Now().Add(20 * time.Second); audit.Counts().TCP == 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if n := audit.Counts(); n.Answers != 1 || n.TCP != 1 || n.Added != 201 || n.Broken != 0 {
		t.Errorf("counted %+v, the kernel %v", n, w.counts())
	}
	if got := p.connect("v4", origin4); got != "PROXY" {
		t.Errorf("an address that came over TCP: %s", got)
	}
	if a := w.k.Learner().Addresses(w.netns, "api.openai.test"); len(a) != 202 {
		t.Errorf("%d addresses of the endpoint are known", len(a))
	}
}
