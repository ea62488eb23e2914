// SPDX-License-Identifier: Apache-2.0

// Package learn is the user-space side of bpf/dns.bpf.c: it tells the programs which names are endpoints, and reads which
// addresses they learned for them from the answers of DNS. What is learned is kept per network namespace, for as long as
// the answer said, within bounds; the maps are pinned and outlive the daemon.
package learn

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/bpf"
)

// Bounds of bpf/include/learn.h.
const (
	maxNames  = 256
	maxLabels = 31 // of a name that the program can read
	ttlLeast  = 60 * time.Second
	ttlMost   = time.Hour
)

// What the value of a captured port says (PORT_* of learn.h).
const (
	portCaptured = 1
	portNamed    = 2
	portLiteral  = 4
)

// Maps are those of the programs. Hosts, Learning and Answers are nil if the kernel refused the DNS programs: then only addresses
// from the configuration are known.
type Maps struct{ Ports, Targets, Learned, Crowded, Hosts, Learning, Answers *ebpf.Map }

// Learner may be used by several goroutines.
type Learner struct {
	m Maps

	mu    sync.Mutex
	names [maxNames]string // "" = free
}

// New takes the maps; it closes none of them.
func New(m Maps) *Learner { return &Learner{m: m} }

// Endpoint is where a provider is reached.
type Endpoint struct {
	Host string // name or address
	Port uint16 // a captured one
	TLS  bool
}

// SetEndpoints replaces the names and addresses that count as endpoints. Names that stay keep their number, and what was learned for
// them; of the others all is forgotten before a number is given again.
func (l *Learner) SetEndpoints(endpoints []Endpoint) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	wanted := map[string]bool{}
	for _, e := range endpoints {
		wanted[hostKey(e.Host)] = true
	}
	if len(wanted) > maxNames {
		return fmt.Errorf("%d hosts of endpoints, the kernel programs hold %d: leave some out", len(wanted), maxNames)
	}
	if err := l.recall(wanted); err != nil {
		return err
	}
	targets := map[uint16]bpf.RedirectTarget{}
	flags := map[uint16]uint8{}
	for _, e := range endpoints {
		n, err := l.number(hostKey(e.Host))
		if err != nil {
			return err
		}
		t := targets[e.Port]
		t.Names[n/64] |= 1 << (n % 64)
		if e.TLS {
			t.Secure[n/64] |= 1 << (n % 64)
		}
		targets[e.Port] = t
		if _, err := netip.ParseAddr(e.Host); err == nil {
			flags[e.Port] |= portLiteral
		} else {
			flags[e.Port] |= portNamed
		}
	}
	for port, t := range targets {
		if err := l.m.Targets.Put(port, t); err != nil {
			return fmt.Errorf("naming the endpoints at port %d: %w", port, err)
		}
	}
	return errors.Join(l.flagPorts(flags), drop(l.m.Targets, func(p uint16, _ *bpf.RedirectTarget) bool { _, keep := targets[p]; return !keep }))
}

// recall brings the numbers of names in line with the programs' and forgets what is not wanted any more.
func (l *Learner) recall(wanted map[string]bool) error {
	l.names = [maxNames]string{}
	var gone place
	if l.m.Hosts != nil {
		var key bpf.DnsNameKey
		var n uint32
		var remove []bpf.DnsNameKey
		for it := l.m.Hosts.Iterate(); ; {
			if !it.Next(&key, &n) {
				if err := it.Err(); err != nil {
					return fmt.Errorf("reading the names of endpoints: %w", err)
				}
				break
			}
			if host := fromWire(&key); wanted[host] && n < maxNames {
				l.names[n] = host
			} else {
				remove = append(remove, key)
			}
		}
		for _, key := range remove {
			if err := l.m.Hosts.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return fmt.Errorf("forgetting a name of an endpoint: %w", err)
			}
		}
	}
	for n, host := range l.names { // literals are in no map of names, and get a number anew
		if host == "" {
			gone[n/64] |= 1 << (n % 64)
		}
	}
	return l.edit(func(_ *bpf.DnsLearnedKey, v *bpf.DnsPlace) bool {
		for i := range v.Names {
			v.Names[i] &^= gone[i]
		}
		return place(v.Names) == place{}
	})
}

type place [maxNames / 64]uint64

func (p *place) has(n int) bool { return p[n/64]>>(n%64)&1 != 0 }

// number finds a host's number, or gives it one and tells the programs.
func (l *Learner) number(host string) (uint32, error) {
	if n := slices.Index(l.names[:], host); n >= 0 {
		return uint32(n), nil
	}
	n := slices.Index(l.names[:], "") // there is one: the number of hosts was checked
	if addr, err := netip.ParseAddr(host); err == nil {
		v := bpf.DnsPlace{Until: ^uint64(0)}
		v.Names[n/64] = 1 << (n % 64)
		if err := l.m.Learned.Put(keyOf(0, addr), v); err != nil {
			return 0, fmt.Errorf("naming the endpoint %s: %w", host, err)
		}
	} else {
		key, err := toWire(host)
		if err != nil {
			return 0, err
		}
		if l.m.Hosts != nil {
			if err := l.m.Hosts.Put(key, uint32(n)); err != nil {
				return 0, fmt.Errorf("naming the endpoint %s: %w", host, err)
			}
		}
	}
	l.names[n] = host
	return uint32(n), nil
}

// flagPorts says at which captured ports there are endpoints.
func (l *Learner) flagPorts(flags map[uint16]uint8) error {
	var port uint16
	var old uint8
	change := map[uint16]uint8{}
	it := l.m.Ports.Iterate()
	for it.Next(&port, &old) {
		change[port] = portCaptured | flags[port]
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("reading the captured ports: %w", err)
	}
	for port := range flags {
		if change[port] == 0 {
			return fmt.Errorf("an endpoint is at port %d, which is not captured: add it to capture.ports", port)
		}
	}
	for port, v := range change {
		if err := l.m.Ports.Put(port, v); err != nil {
			return fmt.Errorf("naming the endpoints at port %d: %w", port, err)
		}
	}
	return nil
}

func keyOf(netns uint64, a netip.Addr) (k bpf.DnsLearnedKey) {
	k.Netns, k.Family = netns, unix.AF_INET6
	a = a.Unmap()
	if a.Is4() {
		k.Family = unix.AF_INET
	}
	copy(k.Addr[:], a.AsSlice())
	return k
}

func addrOf(k *bpf.DnsLearnedKey) netip.Addr {
	if k.Family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(k.Addr[:4]))
	}
	return netip.AddrFrom16(k.Addr)
}

// At tells the hosts of endpoints that live at an address, as far as is known in a network namespace.
func (l *Learner) At(netns uint64, a netip.Addr) (hosts []string) {
	now := boottime()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ns := range []uint64{netns, 0} {
		var v bpf.DnsPlace
		if err := l.m.Learned.Lookup(keyOf(ns, a), &v); err != nil || v.Until < now {
			continue
		}
		p := place(v.Names)
		for n, host := range l.names {
			if host != "" && p.has(n) {
				hosts = append(hosts, host)
			}
		}
	}
	return hosts
}

// Addresses lists the addresses that were learned for a host in a network namespace, the latest first. It reads the whole map.
func (l *Learner) Addresses(netns uint64, host string) (out []netip.Addr) {
	l.mu.Lock()
	n := slices.Index(l.names[:], hostKey(host))
	l.mu.Unlock()
	if n < 0 {
		return nil
	}
	type found struct {
		a     netip.Addr
		until uint64
	}
	var all []found
	now := boottime()
	var k bpf.DnsLearnedKey
	var v bpf.DnsPlace
	for it := l.m.Learned.Iterate(); it.Next(&k, &v); {
		if p := place(v.Names); k.Netns == netns && v.Until >= now && p.has(n) {
			all = append(all, found{addrOf(&k), v.Until})
		}
	}
	slices.SortFunc(all, func(a, b found) int {
		if a.until != b.until {
			return int(min(max(int64(b.until-a.until), -1), 1))
		}
		return a.a.Compare(b.a)
	})
	for _, f := range all {
		out = append(out, f.a)
	}
	return out
}

// Learn adds an address that the programs in the kernel could not see: the answer came over TCP, or was too large. ErrFull
// says that there is no room.
func (l *Learner) Learn(netns uint64, a netip.Addr, host string, ttl time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := slices.Index(l.names[:], hostKey(host))
	if n < 0 || netns == 0 {
		return nil // no endpoint any more
	}
	now := boottime()
	v := bpf.DnsPlace{Since: now}
	key := keyOf(netns, a)
	err := l.m.Learned.Lookup(key, &v)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("reading a learned address: %w", err)
	}
	v.Names[n/64] |= 1 << (n % 64)
	v.Until = max(v.Until, now+uint64(min(max(ttl, ttlLeast), ttlMost)))
	if err := l.m.Learned.Put(key, v); err != nil {
		if errors.Is(err, unix.E2BIG) {
			return errors.Join(ErrFull, l.m.Crowded.Put(uint32(0), now))
		}
		return fmt.Errorf("learning an address: %w", err)
	}
	return nil
}

// ErrFull says that the map of learned addresses is full.
var ErrFull = errors.New("no room for another learned address")

// Sweep deletes what is out of date.
func (l *Learner) Sweep() error {
	now := boottime()
	return l.edit(func(_ *bpf.DnsLearnedKey, v *bpf.DnsPlace) bool { return v.Until < now })
}

// edit changes or deletes entries. The programs may write an entry at the same time: what they add just then may be lost, and
// comes again with the next answer; so only what changes is written.
func (l *Learner) edit(remove func(*bpf.DnsLearnedKey, *bpf.DnsPlace) bool) error {
	var k bpf.DnsLearnedKey
	var v bpf.DnsPlace
	var gone []bpf.DnsLearnedKey
	changed := map[bpf.DnsLearnedKey]bpf.DnsPlace{}
	it := l.m.Learned.Iterate()
	for it.Next(&k, &v) {
		before := v.Names
		if remove(&k, &v) {
			gone = append(gone, k)
		} else if v.Names != before {
			changed[k] = v
		}
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) { // it changes meanwhile: what was missed comes next time
		return fmt.Errorf("reading the learned addresses: %w", err)
	}
	for _, k := range gone {
		if err := l.m.Learned.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forgetting a learned address: %w", err)
		}
	}
	for k, v := range changed {
		if err := l.m.Learned.Update(k, v, ebpf.UpdateExist); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("changing a learned address: %w", err)
		}
	}
	return nil
}

// Count is the number of learned addresses, those of the configuration included.
func (l *Learner) Count() (n int, err error) {
	var k bpf.DnsLearnedKey
	var v bpf.DnsPlace
	it := l.m.Learned.Iterate()
	for it.Next(&k, &v) {
		n++
	}
	return n, it.Err()
}

// drop deletes the entries that are not wanted.
func drop[K comparable, V any](m *ebpf.Map, unwanted func(K, *V) bool) error {
	var k K
	var v V
	var gone []K
	it := m.Iterate()
	for it.Next(&k, &v) {
		if unwanted(k, &v) {
			gone = append(gone, k)
		}
	}
	err := it.Err()
	for _, k := range gone {
		if derr := m.Delete(k); derr != nil && !errors.Is(derr, ebpf.ErrKeyNotExist) {
			err = errors.Join(err, derr)
		}
	}
	return err
}

func boottime() uint64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil { // it cannot fail for this clock
		return 0
	}
	return uint64(now.Nano())
}
