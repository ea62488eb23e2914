// SPDX-License-Identifier: Apache-2.0

// Package cover proves that no connection went past us: it holds what the kernel counted, each connection as it set out
// (bpf/cover.bpf.c), against what the proxy took and what the other programs said of the rest. What nobody can explain is a gap.
package cover

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// Maps are those of the programs. Told is nil if the kernel refused the program that counts.
type Maps struct{ Cover, Told, Conns *ebpf.Map }

// Workload names a row: the cgroup of the processes, and their scope. Cgroup 0 stands for all that found no room of their own.
type Workload struct {
	Cgroup uint64
	Scope  uint32 // index, agent.ScopeDefault or agent.ScopePending
}

// Row is what became of the connections of a workload since Begin.
type Row struct {
	Workload
	Redirected uint64 // set out for the proxy
	Taken      uint64 // the proxy took them: each is on record
	Withdrawn  uint64 // closed before that by the program, or for want of a record by us: nothing passed
	Waiting    uint64 // not yet accepted
	Bypassed   uint64 // direct, by break glass
	Opened     uint64 // direct, there was no agent
	Direct     uint64 // direct, and nobody decided it
	Lost       uint64 // set out for the proxy, and never seen again
	Last       *Direct
}

// Unexplained is how many connections nobody can explain.
func (r *Row) Unexplained() uint64 { return r.Direct + r.Lost }

// Direct is the latest connection that nobody decided.
type Direct struct {
	To   netip.AddrPort
	PID  uint32
	UID  uint32
	Comm string
}

// News is what has happened since it was last told.
type News struct {
	Workload
	Direct, Lost, Opened, Bypassed uint64
	Last                           *Direct
}

// Report is a look at all rows.
type Report struct {
	Rows []Row
	News []News
}

// A connection counts as lost if it is missing at every look of a while, and at least at so many: for a moment, one that changes hands
// is in nobody's count.
const (
	Settle = 5 * time.Second
	looks  = 3
)

// Proof may be used by several goroutines.
type Proof struct {
	m Maps

	count sync.Mutex // guards taken: who takes a connection does not wait for a look
	taken map[Workload]uint64

	mu     sync.Mutex
	base   map[Workload]bpf.CoverCoverRow  // where the rows stood at Begin, less what waited then
	since  map[Workload]bpf.CoverCoverTold // what earlier agents had told
	told   map[Workload]bpf.CoverCoverTold
	gave   map[Workload]uint64 // lost ones that were told
	lost   map[Workload]uint64
	low    map[Workload]uint64 // least that was missing in this while
	looked int
	start  time.Time
	keys   []bpf.CoverCoverKey // room to read into
	values []bpf.CoverCoverRow
}

// New takes the maps; it closes none of them.
func New(m Maps) *Proof {
	return &Proof{m: m, taken: map[Workload]uint64{}, base: map[Workload]bpf.CoverCoverRow{}, since: map[Workload]bpf.CoverCoverTold{},
		told: map[Workload]bpf.CoverCoverTold{}, gave: map[Workload]uint64{}, lost: map[Workload]uint64{}, low: map[Workload]uint64{}}
}

// Begin says that from now on all connections are taken by us. Call it before the first is, and after another agent accepted its last.
// succeeds says that there was one just now: of what waits, it may take some yet.
func (p *Proof) Begin(succeeds bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m.Told == nil {
		return nil
	}
	for slot := range uint32(agent.MaxScopes + 2) {
		key := bpf.CoverCoverKey{Slot: slot}
		if err := p.m.Cover.Update(key, bpf.CoverCoverRow{}, ebpf.UpdateNoExist); err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return fmt.Errorf("making room for what finds none of its own: %w", err)
		}
	}
	if err := p.readTold(); err != nil {
		return err
	}
	// What waits will be taken by us. A connection that comes between the two looks would be counted wrongly.
	for range 100 {
		rows, err := p.rows()
		if err != nil {
			return err
		}
		waiting, err := p.waiting()
		if err != nil {
			return err
		}
		again, err := p.rows()
		if err != nil {
			return err
		}
		if !sameRedirected(rows, again) {
			continue
		}
		if succeeds {
			waiting = nil // better to count one too many as taken than to raise an alarm over it
		}
		for w, n := range fold(rows, waiting) {
			r := rows[w]
			r.Redirected -= min(n, r.Redirected)
			rows[w] = r
		}
		p.base = rows
		return nil
	}
	return errors.New("connections come too fast to begin counting")
}

func sameRedirected(a, b map[Workload]bpf.CoverCoverRow) bool {
	for w, r := range b {
		if o := a[w]; o.Redirected != r.Redirected || o.Withdrawn != r.Withdrawn {
			return false
		}
	}
	return true
}

// Took notes a connection that the proxy took.
func (p *Proof) Took(c agent.Conn) {
	p.count.Lock()
	p.taken[Workload{c.Proc.CgroupID, c.Scope}]++
	p.count.Unlock()
}

// Check looks at all rows. It wants to be called every second or so.
func (p *Proof) Check(now time.Time) (out Report, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m.Told == nil {
		return out, nil
	}
	// In this order, what moves on meanwhile is rather missing than there twice: that passes.
	taken := p.took()
	rows, err := p.rows()
	if err != nil {
		return out, err
	}
	taken = fold(rows, taken)
	var waiting map[Workload]uint64
	for w, r := range rows {
		base := p.base[w]
		if waiting == nil && r.Redirected-base.Redirected > taken[w]+r.Withdrawn-base.Withdrawn+r.Unpublished-base.Unpublished {
			if waiting, err = p.waiting(); err != nil { // a large map, which is not looked at for nothing
				return out, err
			}
			waiting = fold(rows, waiting)
		}
	}
	p.looked++
	if p.start.IsZero() {
		p.start = now
	}
	over := p.looked >= looks && now.Sub(p.start) >= Settle
	for w, r := range rows {
		base, since, told := p.base[w], p.since[w], p.told[w]
		row := Row{Workload: w, Redirected: r.Redirected - base.Redirected, Taken: taken[w], Waiting: waiting[w],
			Withdrawn: r.Withdrawn - base.Withdrawn + r.Unpublished - base.Unpublished,
			Bypassed:  r.Bypassed - since.Bypassed, Opened: r.Opened - since.Opened, Direct: r.Direct - since.Direct}
		missing := uint64(0)
		if seen := row.Taken + row.Withdrawn + row.Waiting; row.Redirected > seen {
			missing = row.Redirected - seen
		}
		if low, ok := p.low[w]; !ok && p.looked == 1 || ok && missing < low {
			p.low[w] = missing
		}
		if over {
			p.lost[w] = max(p.lost[w], p.low[w])
		}
		row.Lost = p.lost[w]
		if row.Direct > 0 {
			row.Last = last(&r)
		}
		if row != (Row{Workload: w}) {
			out.Rows = append(out.Rows, row)
		}
		n := News{Workload: w, Direct: r.Direct - told.Direct, Opened: r.Opened - told.Opened, Bypassed: r.Bypassed - told.Bypassed, Lost: row.Lost - p.gave[w], Last: row.Last}
		if n.Direct+n.Lost+n.Opened+n.Bypassed > 0 {
			out.News = append(out.News, n)
		}
	}
	if over {
		clear(p.low)
		p.looked, p.start = 0, time.Time{}
	}
	slices.SortFunc(out.Rows, func(a, b Row) int { return a.compare(b.Workload) })
	slices.SortFunc(out.News, func(a, b News) int { return a.compare(b.Workload) })
	return out, nil
}

func (w Workload) compare(o Workload) int {
	return cmp.Or(cmp.Compare(w.Scope, o.Scope), cmp.Compare(w.Cgroup, o.Cgroup))
}

func (p *Proof) took() map[Workload]uint64 {
	p.count.Lock()
	defer p.count.Unlock()
	return maps.Clone(p.taken)
}

// Told says that news are on record. What is not told before a crash is told again.
func (p *Proof) Told(n News) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.told[n.Workload]
	t.Direct += n.Direct
	t.Opened += n.Opened
	t.Bypassed += n.Bypassed
	p.told[n.Workload] = t
	p.gave[n.Workload] += n.Lost
	if err := p.m.Told.Put(keyOf(n.Workload), t); err != nil {
		return fmt.Errorf("noting what is on record: %w", err)
	}
	return nil
}

// readTold reads what earlier agents have put on record.
func (p *Proof) readTold() error {
	var k bpf.CoverCoverKey
	var t bpf.CoverCoverTold
	it := p.m.Told.Iterate()
	for it.Next(&k, &t) {
		p.told[workloadOf(&k)] = t
	}
	p.since = maps.Clone(p.told)
	if err := it.Err(); err != nil {
		return fmt.Errorf("reading what is on record: %w", err)
	}
	return nil
}

// Prune forgets the rows of cgroups that are gone, if all of them is explained and told.
func (p *Proof) Prune(gone func(cgroup uint64) bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m.Told == nil {
		return nil
	}
	taken := p.took()
	waiting, err := p.waiting()
	if err != nil {
		return err
	}
	rows, err := p.rows()
	if err != nil {
		return err
	}
	for w, r := range rows {
		base, told := p.base[w], p.told[w]
		settled := r.Redirected-base.Redirected == taken[w]+r.Withdrawn-base.Withdrawn+r.Unpublished-base.Unpublished
		if w.Cgroup == 0 || !settled || waiting[w] > 0 || p.lost[w] > 0 || told != (bpf.CoverCoverTold{Bypassed: r.Bypassed, Opened: r.Opened, Direct: r.Direct}) || !gone(w.Cgroup) {
			continue
		}
		if err := errors.Join(drop(p.m.Cover, w), drop(p.m.Told, w)); err != nil {
			return fmt.Errorf("forgetting a cgroup that is gone: %w", err)
		}
		p.count.Lock()
		delete(p.taken, w)
		p.count.Unlock()
		delete(p.base, w)
		delete(p.since, w)
		delete(p.told, w)
		delete(p.low, w)
	}
	return nil
}

func drop(m *ebpf.Map, w Workload) error {
	if err := m.Delete(keyOf(w)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// rows reads what the kernel counted, many at a time: it is done once a second.
func (p *Proof) rows() (map[Workload]bpf.CoverCoverRow, error) {
	if p.keys == nil {
		p.keys, p.values = make([]bpf.CoverCoverKey, 256), make([]bpf.CoverCoverRow, 256)
	}
	out := map[Workload]bpf.CoverCoverRow{}
	var cursor ebpf.MapBatchCursor
	for {
		n, err := p.m.Cover.BatchLookup(&cursor, p.keys, p.values, nil)
		for i := range n {
			out[workloadOf(&p.keys[i])] = p.values[i]
		}
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the counted connections: %w", err)
		}
	}
}

// waiting counts the records that nobody has taken yet.
func (p *Proof) waiting() (map[Workload]uint64, error) {
	out := map[Workload]uint64{}
	var k bpf.RedirectFlowKey
	var c bpf.RedirectConn
	it := p.m.Conns.Iterate()
	for it.Next(&k, &c) {
		out[Workload{c.Cgroup, c.Scope}]++
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("reading the records that wait: %w", err)
	}
	return out, nil
}

// fold puts the numbers of workloads without a row to the row where the kernel counted them.
func fold(rows map[Workload]bpf.CoverCoverRow, in map[Workload]uint64) map[Workload]uint64 {
	out := map[Workload]uint64{}
	for w, n := range in {
		out[rowOf(rows, w)] += n
	}
	return out
}

func rowOf(rows map[Workload]bpf.CoverCoverRow, w Workload) Workload {
	if _, ok := rows[w]; !ok {
		w.Cgroup = 0
	}
	return w
}

func last(r *bpf.CoverCoverRow) *Direct {
	a := netip.AddrFrom16(r.Addr)
	if r.Family == unix.AF_INET {
		a = netip.AddrFrom4([4]byte(r.Addr[:4]))
	}
	d := &Direct{To: netip.AddrPortFrom(a, uint16(r.Port)), PID: r.Tgid, UID: r.Uid}
	for _, c := range r.Comm {
		if c == 0 {
			break
		}
		d.Comm += string(rune(byte(c)))
	}
	return d
}
