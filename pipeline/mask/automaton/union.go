// SPDX-License-Identifier: Apache-2.0

package automaton

import (
	"encoding/binary"
	"fmt"
	"regexp/syntax"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sallyport-dev/sallyport/pipeline/mask/rule"
)

// Pattern is one rule of a Union.
type Pattern struct {
	Re    *syntax.Regexp
	Left  rule.Class // bytes that must not stand before a match, unless they belong to a JSON escape
	Bound int        // the longest match
	Open  bool       // told apart in OpenHold
}

// An entry of a table is the row of the next state and what kind of state that is. 0 is a transition that is not known yet.
const (
	Quiet = 1 << 31 // the state is known, and no match ends here
	Idle  = 1 << 30 // no match is going on
	Row   = Idle - 1
)

// Union is the automaton of many patterns.
type Union struct {
	Class [256]uint8 // the column of a byte

	nodes  []node
	starts [][]int32 // of each pattern, what its first byte is read by
	shift  uint
	reps   []byte   // a byte of each column
	groups [][]bool // which patterns may start behind the bytes of a group; group 0: all
	group  [256]uint8
	max    int // states of a table

	table atomic.Pointer[Table]

	mu    sync.Mutex // of all below, and of what a Table says is under it
	marks []uint32
	mark  uint32
	first map[int][]int32 // by group and column: what patterns that start there get to
	built int             // states worked out, in all tables
}

// State is what is known of a row.
type State struct {
	// Hold is how many bytes at most a match that is still going on has behind it; OpenHold is the same for open rules alone.
	Hold, OpenHold int
	Accepts        []uint16 // patterns of which a match may end here
	Only           int      // the pattern that all matches that are going on are of, or -1

	threads []int32
	group   uint8 // which patterns may start behind it
	escape  uint8 // how far an escape is: see Escape
	mode    uint8
}

// A state is of the text as it goes on, or of matches that begin at one place: at it, or behind it.
const (
	running uint8 = iota
	atPlace
	behindPlace
)

// Table holds the states that are known. It is read by many and written under the lock of its Union.
type Table struct {
	u      *Union
	Next   []uint32 // read atomically; index: row | column
	states []State
	ids    map[string]uint32
	n      int
	start  uint32
	places [256]uint32
}

// NewUnion compiles patterns into an automaton that keeps at most max states.
func NewUnion(patterns []Pattern, max int) (*Union, error) {
	u := &Union{max: max, first: map[int][]int32{}}
	b := &builder{}
	var entries []int32
	for i, p := range patterns {
		b.open, b.of = p.Open, int32(i)
		end := b.add(p.Bound)
		b.nodes[end].rule = int32(i)
		e, err := b.build(p.Re, 0, end)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	u.nodes = b.nodes
	u.marks = make([]uint32, len(u.nodes))
	for _, e := range entries {
		u.mark++
		u.starts = append(u.starts, u.reach(e, nil))
	}
	u.compileGroups(patterns)
	u.compileClasses()
	if len(u.groups) > 256 || len(u.reps) > 256 {
		return nil, fmt.Errorf("rules tell apart %d kinds of bytes and %d kinds of bytes before them; at most 256 of each are possible", len(u.reps), len(u.groups))
	}
	for 1<<u.shift < len(u.reps) {
		u.shift++
	}
	u.table.Store(u.newTable())
	return u, nil
}

// compileGroups sorts bytes by the patterns that may start behind them.
func (u *Union) compileGroups(patterns []Pattern) {
	all := make([]bool, len(patterns))
	for i := range all {
		all[i] = true
	}
	u.groups = [][]bool{all}
	for c := range 256 {
		may := make([]bool, len(patterns))
		for i := range patterns {
			may[i] = !patterns[i].Left.Has(byte(c))
		}
		g := slices.IndexFunc(u.groups, func(x []bool) bool { return slices.Equal(x, may) })
		if g < 0 {
			g = len(u.groups)
			u.groups = append(u.groups, may)
		}
		u.group[c] = uint8(g)
	}
}

// compileClasses gives a column to all bytes that no pattern tells apart.
func (u *Union) compileClasses() {
	type span struct{ lo, hi byte }
	spans := map[span]bool{{'0', '9'}: true, {'a', 'f'}: true, {'A', 'F'}: true, {'a', 'z'}: true, {'A', 'Z'}: true, {0x80, 0xbf}: true}
	for _, c := range []byte(`\"/bfnrtux%25[;` + "\x1b") {
		spans[span{c, c}] = true
	}
	for _, n := range u.nodes {
		for _, e := range n.edges {
			spans[span{e.lo, e.hi}] = true
		}
	}
	sigs := make([][]byte, 256)
	for c := range 256 {
		sigs[c] = append(sigs[c], u.group[c])
	}
	id := uint16(0)
	for s := range spans { // the order does not matter: bytes get the same signature or they do not
		id++
		for c := int(s.lo); c <= int(s.hi); c++ {
			sigs[c] = binary.LittleEndian.AppendUint16(sigs[c], id)
		}
	}
	columns := map[string]uint8{}
	for c, s := range sigs {
		k, ok := columns[string(s)]
		if !ok {
			k = uint8(len(u.reps))
			columns[string(s)] = k
			u.reps = append(u.reps, byte(c))
		}
		u.Class[c] = k
	}
}

func (u *Union) newTable() *Table {
	t := &Table{u: u, Next: make([]uint32, (u.max+1)<<u.shift), states: make([]State, u.max+1), ids: map[string]uint32{}}
	t.start, _ = t.intern(nil, 0, 0, running)
	return t
}

// Table is the table in use, and the row of a text that begins.
func (u *Union) Table() (*Table, uint32) {
	t := u.table.Load()
	return t, t.start
}

// Current tells whether the table is the one in use.
func (t *Table) Current() bool { return t.u.table.Load() == t }

// Start is the row of a text that begins.
func (t *Table) Start() uint32 { return t.start }

// Place is the row of matches that begin behind the byte before, or where any may begin. What follows it is read with Next and Step; the row is idle
// when none of them is going on any more.
func (t *Table) Place(before byte, any bool) (*Table, uint32) {
	group := t.u.group[before]
	if any {
		group = 0
	}
	if row := atomic.LoadUint32(&t.places[group]); row != 0 {
		return t, row
	}
	t.u.mu.Lock()
	defer t.u.mu.Unlock()
	row, ok := t.intern(nil, group, 0, atPlace)
	if !ok {
		to := t.u.newTable()
		t.u.table.Store(to)
		t = to
		row, _ = t.intern(nil, group, 0, atPlace)
	}
	atomic.StoreUint32(&t.places[group], row)
	return t, row
}

// Vain tells whether it is known that no match begins with c behind the byte before.
func (t *Table) Vain(before, c byte) bool {
	row := atomic.LoadUint32(&t.places[t.u.group[before]])
	return atomic.LoadUint32(&t.Next[row|uint32(t.u.Class[c])])&Idle != 0
}

// State tells what is known of a row.
func (t *Table) State(row uint32) *State { return &t.states[row>>t.u.shift] }

// IsIdle tells whether no match is going on.
func (s *State) IsIdle() bool { return len(s.threads) == 0 }

// Move brings a row into the table in use.
func (t *Table) Move(row uint32) (*Table, uint32) {
	u := t.u
	u.mu.Lock()
	defer u.mu.Unlock()
	to := u.table.Load()
	s := t.State(row)
	if r, ok := to.intern(s.threads, s.group, s.escape, s.mode); ok {
		return to, r
	}
	to = u.newTable()
	u.table.Store(to)
	r, _ := to.intern(s.threads, s.group, s.escape, s.mode)
	return to, r
}

// Step works out a transition that is not known yet. It goes on in the table that it returns.
func (t *Table) Step(row uint32, c byte) (*Table, uint32) {
	u := t.u
	u.mu.Lock()
	defer u.mu.Unlock()
	s := t.State(row)
	if e := atomic.LoadUint32(&t.Next[row|uint32(u.Class[c])]); e != 0 {
		return t, e // another was faster
	}
	k := u.Class[c]
	rep := u.reps[k]
	esc, marked, inner := Escape(s.escape, rep)
	var firsts []int32
	if !inner && s.mode != behindPlace && rep&0xC0 != 0x80 {
		firsts = u.firsts(s.group, k)
	}
	threads := u.step(s.threads, firsts, rep)
	group, mode := u.group[rep], running
	if marked {
		group = 0
	}
	if s.mode != running {
		group, esc, mode = 0, 0, behindPlace
	}
	next, ok := t.intern(threads, group, esc, mode)
	if ok {
		e := t.entry(next)
		atomic.StoreUint32(&t.Next[row|uint32(k)], e)
		return t, e
	}
	to := u.table.Load()
	if next, ok = to.intern(threads, group, esc, mode); !ok {
		to = u.newTable()
		u.table.Store(to)
		next, _ = to.intern(threads, group, esc, mode)
	}
	return to, to.entry(next)
}

func (t *Table) entry(row uint32) uint32 {
	switch s := t.State(row); {
	case s.IsIdle():
		return row | Quiet | Idle
	case len(s.Accepts) == 0:
		return row | Quiet
	}
	return row
}

// firsts is where patterns get that start behind a byte of a group with a byte of a column.
func (u *Union) firsts(group, column uint8) []int32 {
	key := int(group)<<8 | int(column)
	out, ok := u.first[key]
	if !ok {
		var from []int32
		for i, s := range u.starts {
			if u.groups[group][i] {
				from = append(from, s...)
			}
		}
		out = u.step(from, nil, u.reps[column])
		u.first[key] = out
	}
	return out
}

// intern finds or adds a state; it cannot if the table is full. Under the lock.
func (t *Table) intern(threads []int32, group, esc, mode uint8) (uint32, bool) {
	key := make([]byte, 0, 4*len(threads)+3)
	key = append(key, group, esc, mode)
	for _, n := range threads {
		key = binary.LittleEndian.AppendUint32(key, uint32(n))
	}
	if row, ok := t.ids[string(key)]; ok {
		return row, true
	}
	if t.n == t.u.max {
		return 0, false
	}
	t.n++ // row 0 is nobody's, so that no entry of a known state is 0
	t.u.built++
	row := uint32(t.n) << t.u.shift
	s := State{threads: threads, group: group, escape: esc, mode: mode, Only: -1}
	for i, n := range threads {
		d := &t.u.nodes[n]
		switch {
		case i == 0:
			s.Only = int(d.of)
		case s.Only != int(d.of):
			s.Only = -1
		}
		s.Hold = max(s.Hold, int(d.prefix))
		if d.open {
			s.OpenHold = max(s.OpenHold, int(d.prefix))
		}
		if d.rule >= 0 {
			s.Accepts = append(s.Accepts, uint16(d.rule))
		}
	}
	t.states[t.n] = s
	t.ids[string(key)] = row
	return row, true
}

// Sizes tells how large the automaton is: states in the table, columns, and states worked out since it was made.
func (u *Union) Sizes() (states, columns, built int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.table.Load().n, len(u.reps), u.built
}
