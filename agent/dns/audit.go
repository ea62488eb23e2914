// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
)

// Book is where learned addresses stand (agent/kernel/learn).
type Book interface {
	// At tells the endpoints' hosts at an address.
	At(netns uint64, a netip.Addr) []string
	// Learn adds an address.
	Learn(netns uint64, a netip.Addr, host string, ttl time.Duration) error
}

// Finding is something that an operator should know. Told is called with each once in an hour, per name and kind.
type Finding struct {
	Kind   Kind
	Name   string // of the endpoint
	NetNS  uint64
	Detail string
	Count  int64 // how often since it was last told
}

// Kind is a kind of finding.
type Kind string

// The kinds.
const (
	Mismatch Kind = "mismatch" // the kernel learned something else than the answer says
	OffersH3 Kind = "h3"       // an HTTPS record offers HTTP/3, which goes past the proxy
	OffersEC Kind = "ech"      // an HTTPS record offers to encrypt the name
	Unread   Kind = "unread"   // an answer about an endpoint could not be read
)

// Counts is what was done since the start.
type Counts struct {
	Answers    uint64 // over UDP, looked at again
	TCP        uint64 // answers over TCP to questions about endpoints
	Mismatches uint64
	Added      uint64 // addresses that user space added
	NoRoom     uint64 // that it could not add
	Unread     uint64 // answers that could not be read
	Broken     uint64 // TCP connections that could not be followed
	ECH, H3    uint64 // HTTPS records that offer them
}

// Options are what an audit needs.
type Options struct {
	Book  Book
	Hosts []string      // of endpoints
	Tell  func(Finding) // must not block
}

// Audit looks at copies, which come one after the other; Counts may be asked for at any time.
type Audit struct {
	o     Options
	hosts map[string]bool

	mu      sync.Mutex
	n       Counts
	told    map[toldKey]*toldAt
	streams map[streamKey]*stream
}

type toldKey struct {
	kind Kind
	name string
}
type toldAt struct {
	last  time.Time
	count int64
}

// tellEvery is how often one finding is told.
const tellEvery = time.Hour

// New makes an audit.
func New(o Options) *Audit {
	a := &Audit{o: o, hosts: map[string]bool{}, told: map[toldKey]*toldAt{}, streams: map[streamKey]*stream{}}
	for _, h := range o.Hosts {
		a.hosts[strings.ToLower(strings.TrimSuffix(h, "."))] = true
	}
	return a
}

// Counts tells what was done.
func (a *Audit) Counts() Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

// See looks at one copy.
func (a *Audit) See(c agent.DNSCopy) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch c.Kind {
	case agent.DNSAnswer:
		a.n.Answers++
		if c.Size > len(c.Data) {
			a.unread(c.NetNS, c.Name, fmt.Errorf("%d bytes are more than are copied", c.Size))
			return
		}
		m, err := read(c.Data)
		if err != nil {
			a.unread(c.NetNS, c.Name, err)
			return
		}
		a.compare(&c, &m)
		a.reportOffers(c.NetNS, &m)
	case agent.DNSIn, agent.DNSOut:
		a.piece(&c)
	}
}

func (a *Audit) unread(netns uint64, name string, err error) {
	a.n.Unread++
	a.tell(Finding{Kind: Unread, Name: name, NetNS: netns, Detail: err.Error()})
}

// maxRecords is MAX_RECORDS of dns.bpf.c: how many records of one answer the kernel looks at.
const maxRecords = 64

// compare holds what the kernel learned against what the answer says, and adds what is missing.
func (a *Audit) compare(c *agent.DNSCopy, m *message) {
	if m.failed || m.truncated {
		return
	}
	wrong := ""
	if m.name != c.Name {
		wrong = "it took the answer for one about " + c.Name
	} else if c.Learned != m.records && m.records < maxRecords {
		wrong = fmt.Sprintf("it learned %d of %d addresses", c.Learned, m.records)
	} else if len(m.found) != m.records {
		wrong = fmt.Sprintf("%d of %d addresses belong to other names", m.records-len(m.found), m.records)
	}
	for _, f := range m.found {
		if !slices.Contains(a.o.Book.At(c.NetNS, f.Addr), m.name) {
			wrong = fmt.Sprintf("it did not learn %s", f.Addr)
			a.add(c.NetNS, f, m.name)
		}
	}
	if wrong != "" {
		a.n.Mismatches++
		a.tell(Finding{Kind: Mismatch, Name: m.name, NetNS: c.NetNS, Detail: wrong})
	}
}

// add lets the kernel know an address that it did not learn by itself.
func (a *Audit) add(netns uint64, f address, name string) {
	if !a.hosts[name] {
		return
	}
	if err := a.o.Book.Learn(netns, f.Addr, name, f.ttl); err != nil {
		a.n.NoRoom++
		return
	}
	a.n.Added++
}

func (a *Audit) reportOffers(netns uint64, m *message) {
	for _, h := range m.offers.hints { // clients connect to them without a further question
		a.add(netns, h, m.name)
	}
	if m.offers.ech {
		a.n.ECH++
		a.tell(Finding{Kind: OffersEC, Name: m.name, NetNS: netns, Detail: "an HTTPS record offers to encrypt the name of the server (ECH)"})
	}
	if m.offers.h3 {
		a.n.H3++
		a.tell(Finding{Kind: OffersH3, Name: m.name, NetNS: netns, Detail: "an HTTPS record offers HTTP/3, whose datagrams go past the proxy where they are not refused"})
	}
}

// tell passes a finding on, unless the same was told within the hour: then it is counted.
func (a *Audit) tell(f Finding) {
	if a.o.Tell == nil {
		return
	}
	k := toldKey{f.Kind, f.Name}
	t := a.told[k]
	if t == nil {
		if len(a.told) >= 4096 { // names are those of endpoints, but for mismatches
			return
		}
		t = &toldAt{}
		a.told[k] = t
	}
	t.count++
	if now := time.Now(); t.last.IsZero() || now.Sub(t.last) >= tellEvery {
		f.Count = t.count
		t.last, t.count = now, 0
		a.o.Tell(f)
	}
}
