// SPDX-License-Identifier: Apache-2.0

package automaton

import (
	"encoding/binary"
	"errors"
	"regexp/syntax"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// exactStates is how many states of one pattern are kept.
const exactStates = 4096

// Exact is the automaton of one pattern, anchored at its start. It may be used by any number of goroutines.
type Exact struct {
	prog   *syntax.Prog
	ascii  [utf8.RuneSelf]uint8 // symbols of bytes
	bounds []rune               // ranges outside of ASCII begin here ...
	syms   []uint8              // ... and have these symbols
	reps   []rune               // a rune of each symbol
	start  *ExactState

	mu    sync.Mutex
	ids   map[string]*ExactState
	marks []uint32
	mark  uint32
}

// ExactState is a state of an Exact.
type ExactState struct {
	next   []atomic.Pointer[ExactState]
	insts  []uint32
	Accept bool // what was read is a match
	Dead   bool // and nothing that follows makes it one
}

// NewExact compiles a pattern.
func NewExact(re *syntax.Regexp) (*Exact, error) {
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return nil, err
	}
	x := &Exact{prog: prog, marks: make([]uint32, len(prog.Inst)), ids: map[string]*ExactState{}}
	if err := x.compileSymbols(); err != nil {
		return nil, err
	}
	x.mark++
	x.start = x.intern(x.reach(uint32(prog.Start), nil))
	return x, nil
}

// compileSymbols gives a symbol to all runes that the pattern does not tell apart.
func (x *Exact) compileSymbols() error {
	cuts := map[rune]bool{0: true, utf8.RuneSelf: true}
	var distinct []*syntax.Inst
	seen := map[string]bool{}
	for i := range x.prog.Inst {
		in := &x.prog.Inst[i]
		var ranges []rune
		switch in.Op {
		case syntax.InstRune, syntax.InstRune1:
			ranges = in.Rune
			if len(ranges) == 1 {
				ranges = orbit(in.Rune[0], syntax.Flags(in.Arg))
			}
		case syntax.InstRuneAnyNotNL:
			ranges = []rune{0, '\n' - 1, '\n' + 1, utf8.MaxRune}
		case syntax.InstRuneAny:
			ranges = []rune{0, utf8.MaxRune}
		default:
			continue
		}
		if key := string(ranges); !seen[key] || slices.ContainsFunc(ranges, func(r rune) bool { return !utf8.ValidRune(r) }) {
			seen[key] = true
			distinct = append(distinct, in)
		}
		for k := 0; k+1 < len(ranges); k += 2 {
			cuts[ranges[k]], cuts[ranges[k+1]+1] = true, true
		}
	}
	sorted := make([]rune, 0, len(cuts))
	for c := range cuts {
		if c <= utf8.MaxRune {
			sorted = append(sorted, c)
		}
	}
	slices.Sort(sorted)
	known := map[string]uint8{}
	for i, lo := range sorted {
		sig := make([]byte, len(distinct))
		for k, in := range distinct {
			if in.MatchRune(lo) {
				sig[k] = 1
			}
		}
		sym, ok := known[string(sig)]
		if !ok {
			if len(x.reps) == 256 {
				return errors.New("the pattern tells more than 256 kinds of characters apart")
			}
			sym = uint8(len(x.reps))
			known[string(sig)] = sym
			x.reps = append(x.reps, lo)
		}
		if lo >= utf8.RuneSelf {
			x.bounds, x.syms = append(x.bounds, lo), append(x.syms, sym)
			continue
		}
		end := rune(utf8.RuneSelf)
		if i+1 < len(sorted) {
			end = min(end, sorted[i+1])
		}
		for c := lo; c < end; c++ {
			x.ascii[c] = sym
		}
	}
	return nil
}

// Start is the state before anything is read.
func (x *Exact) Start() *ExactState { return x.start }

// BeginsWith tells whether a match may begin with one of the bytes from lo to hi, which are ASCII.
func (x *Exact) BeginsWith(lo, hi byte) bool {
	for c := lo; c <= hi; c++ {
		if s, _ := x.Next(x.start, []byte{c}); !s.Dead {
			return true
		}
	}
	return false
}

// Next reads the rune at the start of b, which must not be empty, and tells its length.
func (x *Exact) Next(s *ExactState, b []byte) (*ExactState, int) {
	sym, n := uint8(0), 1
	if c := b[0]; c < utf8.RuneSelf {
		sym = x.ascii[c]
	} else {
		var r rune
		r, n = utf8.DecodeRune(b)
		sym = x.syms[sort.Search(len(x.bounds), func(i int) bool { return x.bounds[i] > r })-1]
	}
	if t := s.next[sym].Load(); t != nil {
		return t, n
	}
	return x.step(s, sym), n
}

// Longest is the length of the longest match at the start of b, 0 if there is none.
func (x *Exact) Longest(b []byte) (match int) {
	s := x.start
	for at := 0; at < len(b); {
		t, n := x.Next(s, b[at:])
		if at += n; t.Dead {
			return match
		}
		if t.Accept {
			match = at
		}
		s = t
	}
	return match
}

func (x *Exact) step(s *ExactState, sym uint8) *ExactState {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mark++
	var set []uint32
	for _, i := range s.insts {
		if in := &x.prog.Inst[i]; in.Op != syntax.InstMatch && in.MatchRune(x.reps[sym]) {
			set = x.reach(in.Out, set)
		}
	}
	slices.Sort(set)
	t := x.intern(set)
	s.next[sym].Store(t)
	return t
}

func (x *Exact) reach(i uint32, set []uint32) []uint32 {
	if x.marks[i] == x.mark {
		return set
	}
	x.marks[i] = x.mark
	switch in := &x.prog.Inst[i]; in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		return x.reach(in.Arg, x.reach(in.Out, set))
	case syntax.InstCapture, syntax.InstNop:
		return x.reach(in.Out, set)
	case syntax.InstFail, syntax.InstEmptyWidth:
		return set
	}
	return append(set, i)
}

func (x *Exact) intern(set []uint32) *ExactState {
	key := make([]byte, 0, 4*len(set))
	for _, i := range set {
		key = binary.LittleEndian.AppendUint32(key, i)
	}
	if s := x.ids[string(key)]; s != nil {
		return s
	}
	if len(x.ids) >= exactStates { // begin anew; whoever is in an old state goes on from there
		clear(x.ids)
		if x.start != nil {
			x.start.forget()
		}
	}
	s := &ExactState{next: make([]atomic.Pointer[ExactState], len(x.reps)), insts: set, Dead: len(set) == 0}
	for _, i := range set {
		s.Accept = s.Accept || x.prog.Inst[i].Op == syntax.InstMatch
	}
	x.ids[string(key)] = s
	return s
}

// forget lets go of the states behind one.
func (s *ExactState) forget() {
	for i := range s.next {
		s.next[i].Store(nil)
	}
}
