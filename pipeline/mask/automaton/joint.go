// SPDX-License-Identifier: Apache-2.0

package automaton

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Parts is how many unions a Joint runs.
const Parts = 3

// fewJoint is how many states a JointTable has at first.
const fewJoint = 256

// Joint runs several unions as one, so that each byte is looked up once. Its states are those combinations of theirs that texts have led to. There may be
// more of these than can be kept, which is why the unions are not one: what is not kept is put together again.
type Joint struct {
	Class [256]uint8 // the column of a byte

	unions  [Parts]*Union
	columns uint32
	max     int // states of a table
	table   atomic.Pointer[JointTable]
	mu      sync.Mutex // taken before that of a Union
}

// JointState is what is known of a row: the states of the parts.
type JointState struct {
	Part [Parts]*State
	rows [Parts]uint32
}

// JointTable holds the states that are known. It is read by many and written under the lock of its Joint.
type JointTable struct {
	j      *Joint
	Next   []uint32 // read atomically; index: row + column; entries are as those of a Table
	states []JointState
	ids    map[[Parts]uint32]uint32
	tables [Parts]*Table // that the rows of the parts are of
	n      int
	start  uint32
}

// NewJoint makes a Joint that keeps at most max states.
func NewJoint(unions [Parts]*Union, max int) *Joint {
	j := &Joint{unions: unions, max: max}
	columns := map[[Parts]uint8]uint8{}
	for c := range 256 {
		var of [Parts]uint8
		for k, u := range unions {
			of[k] = u.Class[c]
		}
		k, ok := columns[of]
		if !ok {
			k = uint8(len(columns))
			columns[of] = k
		}
		j.Class[c] = k
	}
	j.columns = uint32(len(columns))
	var tables [Parts]*Table
	for k, u := range unions {
		tables[k], _ = u.Table()
	}
	j.renew(tables)
	return j
}

// renew puts an empty table over those of the unions into use, unless one is.
func (j *Joint) renew(tables [Parts]*Table) *JointTable {
	if t := j.table.Load(); t != nil && t.tables == tables {
		return t
	}
	return j.fresh(tables)
}

func (j *Joint) fresh(tables [Parts]*Table) *JointTable {
	n := min(fewJoint, j.max)
	t := &JointTable{j: j, tables: tables, Next: make([]uint32, (n+1)*int(j.columns)), states: make([]JointState, n+1), ids: map[[Parts]uint32]uint32{}}
	var rows [Parts]uint32
	for k, u := range tables {
		rows[k] = u.Start()
	}
	t.start, _ = t.intern(rows)
	j.table.Store(t)
	return t
}

// larger puts a table with more room into use, or an empty one if there must be no more.
func (j *Joint) larger(t *JointTable) *JointTable {
	n := 2 * (len(t.states) - 1)
	if n > j.max {
		return j.fresh(t.tables)
	}
	to := &JointTable{j: j, tables: t.tables, Next: make([]uint32, (n+1)*int(j.columns)), states: make([]JointState, n+1), ids: maps.Clone(t.ids), n: t.n, start: t.start}
	copy(to.Next, t.Next)
	copy(to.states, t.states)
	j.table.Store(to)
	return to
}

// Table is the table in use.
func (j *Joint) Table() *JointTable { return j.table.Load() }

// Current tells whether the table is the one in use.
func (t *JointTable) Current() bool { return t.j.table.Load() == t }

// Start is the row of a text that begins.
func (t *JointTable) Start() uint32 { return t.start }

// State tells what is known of a row.
func (t *JointTable) State(row uint32) *JointState { return &t.states[row/t.j.columns] }

// Part is the table of a part.
func (t *JointTable) Part(k int) *Table { return t.tables[k] }

// Move brings a row into the table in use.
func (t *JointTable) Move(row uint32) (*JointTable, uint32) {
	j := t.j
	j.mu.Lock()
	defer j.mu.Unlock()
	rows, tables := t.State(row).rows, t.tables
	for k := range tables {
		if !tables[k].Current() {
			tables[k], rows[k] = tables[k].Move(rows[k])
		}
	}
	return j.renew(tables).add(rows)
}

// Step works out a transition that is not known yet. It goes on in the table that it returns.
func (t *JointTable) Step(row uint32, c byte) (*JointTable, uint32) {
	j := t.j
	j.mu.Lock()
	defer j.mu.Unlock()
	at := row + uint32(j.Class[c])
	if e := t.Next[at]; e != 0 {
		return t, e // another was faster
	}
	rows, tables := t.State(row).rows, t.tables
	for k := range tables {
		e := atomic.LoadUint32(&tables[k].Next[rows[k]|uint32(j.unions[k].Class[c])])
		if e == 0 {
			tables[k], e = tables[k].Step(rows[k], c)
		}
		rows[k] = e & Row
	}
	to := t
	if tables != t.tables {
		to = j.renew(tables)
	}
	to, next := to.add(rows)
	e := to.entry(next)
	if to == t {
		atomic.StoreUint32(&t.Next[at], e)
	}
	return to, e
}

// add finds or adds a state, here or in a table that it puts into use. Under the lock.
func (t *JointTable) add(rows [Parts]uint32) (*JointTable, uint32) {
	row, ok := t.intern(rows)
	if !ok {
		if in := t.j.table.Load(); in != t && in.tables == t.tables {
			t = in
			row, ok = t.intern(rows)
		}
	}
	if !ok {
		t = t.j.larger(t)
		row, _ = t.intern(rows)
	}
	return t, row
}

// intern finds or adds a state; it cannot if the table is full.
func (t *JointTable) intern(rows [Parts]uint32) (uint32, bool) {
	if row, ok := t.ids[rows]; ok {
		return row, true
	}
	if t.n+1 == len(t.states) {
		return 0, false
	}
	t.n++ // row 0 is nobody's, so that no entry of a known state is 0
	row := uint32(t.n) * t.j.columns
	s := &t.states[t.n]
	s.rows = rows
	for k := range rows {
		s.Part[k] = t.tables[k].State(rows[k])
	}
	t.ids[rows] = row
	return row, true
}

func (t *JointTable) entry(row uint32) uint32 {
	quiet, idle := true, true
	for _, s := range t.State(row).Part {
		quiet, idle = quiet && len(s.Accepts) == 0, idle && s.IsIdle()
	}
	switch {
	case idle:
		return row | Quiet | Idle
	case quiet:
		return row | Quiet
	}
	return row
}
