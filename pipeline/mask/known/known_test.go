// SPDX-License-Identifier: Apache-2.0

package known

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestKey: whatever may change what is masked changes the key, and nothing runs into its neighbour.
func TestKey(t *testing.T) {
	base := Text{Caller: []string{"spiffe://a", "ann"}, Roles: []string{"r", "s"}, Carrier: "prompt", Before: []byte(`"key": `), Text: []byte(strings.Repeat("word ", 40))}
	s := New(8)
	again := base
	if s.Key(&base) != s.Key(&again) {
		t.Fatal("the same text has two keys")
	}
	if s.Key(&base) == New(8).Key(&base) {
		t.Error("two sets have the same keys: whoever knows one could ask another")
	}
	change := map[string]func(*Text){
		"caller":               func(x *Text) { x.Caller = []string{"spiffe://a", "bob"} },
		"caller cut elsewhere": func(x *Text) { x.Caller = []string{"spiffe://aa", "nn"} },
		"caller into roles":    func(x *Text) { x.Caller, x.Roles = []string{"spiffe://a"}, []string{"ann", "r", "s"} },
		"no roles":             func(x *Text) { x.Roles = nil },
		"order of roles":       func(x *Text) { x.Roles = []string{"s", "r"} },
		"carrier":              func(x *Text) { x.Carrier = "args" },
		"sent":                 func(x *Text) { x.Sent = true },
		"nothing before":       func(x *Text) { x.Before = nil },
		"before into text":     func(x *Text) { x.Text = append(bytes.Clone(x.Before), x.Text...); x.Before = nil },
		"longer":               func(x *Text) { x.Text = append(bytes.Clone(x.Text), 'x') },
		"shorter":              func(x *Text) { x.Text = x.Text[:len(x.Text)-1] },
	}
	seen := map[Key]string{s.Key(&base): "base"}
	for name, do := range change {
		x := base
		do(&x)
		k := s.Key(&x)
		if other, ok := seen[k]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[k] = name
	}
}

// TestSet: a set forgets, and not what is asked for.
func TestSet(t *testing.T) {
	s := New(10)
	key := func(n int) Key { return s.Key(&Text{Text: fmt.Append(nil, n)}) }
	if s.Has(key(0)) {
		t.Fatal("known before it was added")
	}
	for n := range 100 {
		s.Add(key(n))
		if !s.Has(key(n)) || !s.Has(key(0)) {
			t.Fatalf("%d: forgotten at once, or though it is asked for", n)
		}
		if len(s.young)+len(s.old) > 20 {
			t.Fatalf("%d are remembered", len(s.young)+len(s.old))
		}
	}
	if s.Has(key(50)) {
		t.Error("nothing is forgotten")
	}
}

func TestAtOnce(t *testing.T) {
	s := New(100)
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for n := range 1000 {
				k := s.Key(&Text{Carrier: "prompt", Text: fmt.Append(nil, g, n)})
				if s.Has(k) {
					t.Errorf("%d %d was known", g, n)
				}
				s.Add(k)
			}
		})
	}
	all.Wait()
}

func BenchmarkKey(b *testing.B) {
	s := New(1 << 15)
	for _, size := range []int{64, 1 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			x := Text{Caller: []string{"spiffe://example.org/unit/a", "ann"}, Roles: []string{"user"}, Carrier: "prompt", Text: make([]byte, size)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				s.Add(s.Key(&x))
			}
		})
	}
}
