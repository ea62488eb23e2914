// SPDX-License-Identifier: Apache-2.0

package automaton

import (
	"math/rand/v2"
	"regexp/syntax"
	"slices"
	"testing"
)

// TestJointIsItsParts: a Joint says of each byte what its unions say, however few states any of them may keep.
func TestJointIsItsParts(t *testing.T) {
	union := func(max int, patterns ...string) *Union {
		var list []Pattern
		for _, p := range patterns {
			re, err := syntax.Parse(p, syntax.Perl)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, Pattern{Re: re, Bound: 20})
		}
		u, err := NewUnion(list, max)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	for _, c := range []struct {
		name         string
		parts, joint int
	}{{"all kept", 4096, 8192}, {"few combinations", 4096, 7}, {"few states", 9, 8192}, {"few of both", 9, 7}, {"one", 4096, 2}} {
		t.Run(c.name, func(t *testing.T) {
			unions := func(max int) [Parts]*Union {
				return [Parts]*Union{union(max, "abc", "cab"), union(max, "[0-9]{2,8}-[0-9]", "[0-9]a"), union(max, "[a-c]{3,9}@", "c[0-9]{1,3}b")}
			}
			plain, j := unions(4096), NewJoint(unions(c.parts), c.joint)
			var tables [Parts]*Table
			var rows [Parts]uint32
			for k, u := range plain {
				tables[k], rows[k] = u.Table()
			}
			jt := j.Table()
			row := jt.Start()
			rnd := rand.New(rand.NewPCG(1, 2))
			for i := range 20000 {
				b := "abc019-@\\n"[rnd.IntN(10)]
				if rnd.IntN(9) == 0 && !jt.Current() {
					jt, row = jt.Move(row)
				}
				e := jt.Next[row+uint32(j.Class[b])]
				if e == 0 {
					jt, e = jt.Step(row, b)
				}
				row = e & Row
				quiet, idle := true, true
				for k, u := range plain {
					x := tables[k].Next[rows[k]|uint32(u.Class[b])]
					if x == 0 {
						tables[k], x = tables[k].Step(rows[k], b)
					}
					rows[k] = x & Row
					want, got := tables[k].State(rows[k]), jt.State(row).Part[k]
					if !slices.Equal(want.Accepts, got.Accepts) || want.Hold != got.Hold || want.Only != got.Only || want.IsIdle() != got.IsIdle() {
						t.Fatalf("byte %d, part %d: %+v, want %+v", i, k, got, want)
					}
					quiet, idle = quiet && len(want.Accepts) == 0, idle && want.IsIdle()
				}
				if quiet != (e&Quiet != 0) || idle != (e&Idle != 0) {
					t.Fatalf("byte %d: quiet %v, idle %v, want %v and %v", i, e&Quiet != 0, e&Idle != 0, quiet, idle)
				}
			}
		})
	}
}
