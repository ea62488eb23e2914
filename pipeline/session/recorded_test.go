// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// record tells of what an exchange is recorded with: the request, with words of it masked.
func (w *world) record(m *pipeline.Meta, c *pipeline.Call, masked string) (int, bool) {
	steps := slices.Clone(c.Steps)
	for i := range steps {
		if masked != "" {
			steps[i].Text = strings.ReplaceAll(steps[i].Text, masked, "[X]")
		}
	}
	return w.s.Recorded(m, steps)
}

// What an exchange leaves to its parent is what the parent's record has word for word, and nothing else.
func TestRecorded(t *testing.T) {
	offer := func(c *pipeline.Call, text string) *pipeline.Call {
		c.Steps = append([]pipeline.Step{{Kind: pipeline.StepToolOffer, Name: "t", Text: text}}, c.Steps...)
		return c
	}
	type want struct {
		repeats int
		frame   bool
	}
	first, second := chat("!be kind", "one"), chat("!be kind", "one", "hello", "two")
	for name, c := range map[string]struct {
		between   func(*world, *pipeline.Meta)
		change    func(*pipeline.Meta) // of the second turn, before it is recorded
		first     *pipeline.Call
		second    *pipeline.Call
		masked    string // in the second record only
		maskFirst string // in both
		want      want
	}{
		"next turn":             {first: first, second: second, want: want{1, true}},
		"masked in both":        {first: first, second: second, maskFirst: "one", want: want{1, true}},
		"masked otherwise now":  {first: first, second: second, masked: "one", want: want{0, true}},
		"other instructions":    {first: first, second: chat("!be cruel", "one", "hello", "two"), want: want{1, false}},
		"no instructions":       {first: chat("one"), second: chat("one", "hello", "two"), want: want{1, false}},
		"same tools":            {first: offer(chat("one"), "x"), second: offer(chat("one", "hello", "two"), "x"), want: want{1, true}},
		"tool described anew":   {first: offer(chat("one"), "x"), second: offer(chat("one", "hello", "two"), "y"), want: want{1, false}},
		"a retry":               {first: first, second: first, want: want{1, true}},
		"another conversation":  {first: first, second: chat("!be kind", "other", "hello", "two")},
		"the parent was erased": {first: first, second: second, between: func(w *world, m *pipeline.Meta) { w.s.Forget([]string{"ses_other", m.Session}) }},
		"another was erased":    {first: first, second: second, between: func(w *world, _ *pipeline.Meta) { w.s.Forget([]string{"ses_other"}) }, want: want{1, true}},
		"the agent restarted":   {first: first, second: second, between: func(w *world, _ *pipeline.Meta) { w.restart() }},
		"it was not recorded":   {first: first, second: second, between: func(w *world, m *pipeline.Meta) { w.s.Recorded(m, nil) }},
		"a day has passed":      {first: first, second: second, between: func(*world, *pipeline.Meta) { time.Sleep(leans) }},
		"of another person":     {first: first, second: second, change: func(m *pipeline.Meta) { m.Principal.User = "eve" }},
		"of another session":    {first: first, second: second, change: func(m *pipeline.Meta) { m.Session = "ses_other" }},
		"of another parent":     {first: first, second: second, change: func(m *pipeline.Meta) { m.Parent = "exc_other" }},
		"of more than there is": {first: first, second: second, change: func(m *pipeline.Meta) { m.Shared = 9 }, want: want{0, true}},
		"of less than it said":  {first: chat("one", "hello", "two"), second: chat("one", "hello", "two", "x", "y"), change: func(m *pipeline.Meta) { m.Shared = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				m := w.ask(proc(1), c.first, "hello", "")
				if n, frame := w.record(m, c.first, c.maskFirst); n != 0 || frame {
					t.Errorf("the first leaves %d messages to nobody, %v", n, frame)
				}
				if c.between != nil {
					c.between(w, m)
				}
				m = w.ask(proc(1), c.second, "x", "")
				if c.change != nil {
					c.change(m)
				}
				if n, frame := w.record(m, c.second, c.masked+c.maskFirst); (want{n, frame}) != c.want {
					t.Errorf("got %d %v, want %+v", n, frame, c.want)
				}
			})
		})
	}
}

// A conversation that goes on for days is whole once a day, and memory is bounded.
func TestRecordedForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, s: New(Options{Key: []byte("key"), Max: 80})}
		said := []string{"one"}
		whole, last := 0, time.Time{}
		for i := range 200 {
			c := chat(said...)
			m := w.ask(proc(1), c, "hello", "")
			n, _ := w.record(m, c, "")
			switch {
			case n == 0:
				if whole++; i > 0 && time.Since(last) < leans {
					t.Errorf("turn %d is whole again after %v", i, time.Since(last))
				}
				last = time.Now()
			case n != len(said)-2:
				t.Errorf("turn %d leaves %d of %d messages", i, n, len(said))
			case time.Since(last) >= leans:
				t.Errorf("turn %d leans on what is %v old", i, time.Since(last))
			}
			said = append(said, "hello", "and then?")
			time.Sleep(20 * time.Minute)
		}
		if whole != 3 {
			t.Errorf("%d turns are whole", whole)
		}
		if n := len(w.s.records.of); n > 10 || n != w.s.records.order.Len() {
			t.Errorf("%d records are kept", n)
		}
	})
}

func BenchmarkRecorded(b *testing.B) {
	w := newWorld(b)
	c := chat(strings.Repeat("a message of some length ", 40_000), "hello", "and then?")
	m := w.ask(proc(1), c, "hello", "")
	b.SetBytes(int64(len(c.Steps[0].Text)))
	b.ReportAllocs()
	for b.Loop() {
		w.s.Recorded(m, c.Steps)
	}
}
