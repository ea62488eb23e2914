// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// world assigns exchanges and keeps what the journal would.
type world struct {
	t   testing.TB
	s   *Sessions
	n   int
	log []pipeline.Record
}

func newWorld(t testing.TB) *world { return &world{t: t, s: New(Options{Key: []byte("key")})} }

// restart makes a new agent that has read the journal.
func (w *world) restart() {
	w.s = New(Options{Key: []byte("key")})
	for i := range w.log {
		w.s.Observe(&w.log[i])
	}
}

// proc is a process outside containers and units.
func proc(pid uint32) pipeline.Workload { return pipeline.Workload{PID: pid, Start: 100, UID: 7} }

// chat is a request with messages, the first of which are instructions if they begin with "!".
func chat(messages ...string) *pipeline.Call {
	c := &pipeline.Call{Operation: pipeline.OpChat}
	n := 0
	for _, m := range messages {
		st := pipeline.Step{Kind: pipeline.StepPrompt, Text: m, Index: n}
		if rest, ok := strings.CutPrefix(m, "!"); ok {
			st.Text, st.Index = rest, -1
		} else {
			n++
		}
		c.Steps = append(c.Steps, st)
	}
	return c
}

func (w *world) ask(wl pipeline.Workload, c *pipeline.Call, answer, reply string) *pipeline.Meta {
	w.n++
	m := &pipeline.Meta{Exchange: fmt.Sprintf("exc_%d", w.n), Workload: wl, Principal: pipeline.Principal{SPIFFEID: "spiffe://x/y"}}
	w.s.Assign(m, c)
	in := &pipeline.Intent{Workload: wl, Principal: m.Principal, Call: pipeline.Call{Operation: c.Operation, Thread: c.Thread, Previous: c.Previous},
		Parent: m.Parent, Chain: m.Chain, Opening: m.Opening}
	out := &pipeline.Outcome{Text: answer, ResponseID: reply}
	w.s.Answered(m, c, out, pipeline.Usage{})
	w.log = append(w.log, pipeline.Record{Kind: pipeline.KindIntent, Time: time.Now(), Session: m.Session, Exchange: m.Exchange, Body: in},
		pipeline.Record{Kind: pipeline.KindOutcome, Time: time.Now(), Session: m.Session, Exchange: m.Exchange, Body: out})
	return m
}

// TestSessions runs conversations, each also with a restart of the agent before its last exchange.
func TestSessions(t *testing.T) {
	type exchange struct {
		wait          time.Duration
		who           pipeline.Workload
		call          *pipeline.Call
		answer, reply string
		session       int // number of the session
		parent        int // number of the exchange, from 1
	}
	pod := func(pid uint32) pipeline.Workload {
		return pipeline.Workload{PID: pid, Start: 1, Container: "c", Cgroup: "/pods/c"}
	}
	previous := func(id string) *pipeline.Call {
		return &pipeline.Call{Operation: pipeline.OpChat, Previous: id, Steps: chat("and?").Steps}
	}
	thread := func(id string, messages ...string) *pipeline.Call {
		c := chat(messages...)
		c.Thread = id
		return c
	}
	embed := &pipeline.Call{Operation: pipeline.OpEmbeddings}
	other := proc(2)
	other.UID = 8
	for _, c := range []struct {
		name string
		xs   []exchange
	}{
		{"turns of one conversation", []exchange{
			{0, proc(1), chat("!be", "a"), "A", "", 1, 0},
			{0, proc(1), chat("!be", "a", "A", "b"), "B", "", 1, 1},
			{2 * time.Hour, proc(1), chat("!be", "a", "A", "b", "B", "c"), "C", "", 1, 2},
		}},
		{"two conversations of a server take turns", []exchange{
			{0, proc(1), chat("!be", "a"), "A", "", 1, 0},
			{0, proc(1), chat("!be", "x"), "X", "", 2, 0},
			{0, proc(1), chat("!be", "a", "A", "b"), "B", "", 1, 1},
			{0, proc(1), chat("!be", "x", "X", "y"), "Y", "", 2, 2},
		}},
		{"conversations that begin alike are told apart by their answers", []exchange{
			{0, proc(1), chat("hello"), "hi, Ann", "", 1, 0},
			{5 * time.Minute, proc(1), chat("hello"), "hi, Bob", "", 2, 0},
			{0, proc(1), chat("hello", "hi, Ann", "b"), "", "", 1, 1},
			{0, proc(1), chat("hello", "hi, Bob", "b"), "", "", 2, 2},
		}},
		{"and belong to none of them if no answer tells", []exchange{
			{0, proc(1), chat("hello"), "", "", 1, 0},
			{5 * time.Minute, proc(1), chat("hello"), "", "", 2, 0},
			{0, proc(1), chat("hello", "which?", "b"), "", "", 2, 0},
		}},
		{"a retry", []exchange{
			{0, proc(1), chat("a"), "", "", 1, 0},
			{time.Minute, proc(1), chat("a"), "A", "", 1, 1},
		}},
		{"the same program run twice", []exchange{
			{0, proc(1), chat("a"), "A", "", 1, 0},
			{time.Minute, proc(2), chat("a"), "A", "", 2, 0},
			{0, proc(2), chat("a", "A", "b"), "B", "", 2, 2},
		}},
		{"steps of one run with other instructions", []exchange{
			{0, proc(1), chat("!route", "a"), "math", "", 1, 0},
			{0, proc(1), chat("!answer", "a"), "A", "", 1, 0},
			{0, proc(1), embed, "", "", 1, 0},
		}},
		{"one chain over many inputs", []exchange{
			{0, proc(1), chat("!sum up", "a"), "A", "", 1, 0},
			{0, proc(1), chat("!sum up", "b"), "B", "", 2, 0},
			{0, proc(1), embed, "", "", 2, 0},
		}},
		{"a process that is idle for long", []exchange{
			{0, proc(1), embed, "", "", 1, 0},
			{29 * time.Minute, proc(1), embed, "", "", 1, 0},
			{30 * time.Minute, proc(1), embed, "", "", 2, 0},
		}},
		{"workers of one container", []exchange{
			{0, pod(1), chat("a"), "A", "", 1, 0},
			{0, pod(2), chat("a", "A", "b"), "B", "", 1, 1},
		}},
		{"processes outside one are strangers", []exchange{
			{0, proc(1), chat("a"), "A", "", 1, 0},
			{0, proc(2), chat("a", "A", "b"), "B", "", 2, 0},
		}},
		{"a reply that is kept at the provider", []exchange{
			{0, proc(1), chat("a"), "A", "resp_1", 1, 0},
			{time.Hour, proc(2), previous("resp_1"), "B", "resp_2", 1, 1},
			{0, proc(2), previous("resp_2"), "C", "", 1, 2},
			{0, proc(2), previous("resp_9"), "C", "", 2, 0},
		}},
		{"another principal does not get into it", []exchange{
			{0, proc(1), chat("a"), "A", "resp_1", 1, 0},
			{0, other, previous("resp_1"), "B", "", 2, 0},
		}},
		{"a conversation that is kept at the provider", []exchange{
			{0, proc(1), thread("conv_1", "a"), "A", "", 1, 0},
			{0, proc(1), thread("conv_2", "a"), "A", "", 2, 0},
			{time.Hour, proc(3), thread("conv_1", "b"), "B", "", 1, 1},
		}},
		{"unknown processes are strangers", []exchange{
			{0, proc(0), chat("a"), "A", "", 1, 0},
			{0, proc(0), chat("a"), "A", "", 2, 0},
			{0, proc(0), chat("a", "A", "b"), "A", "", 3, 0},
		}},
	} {
		for _, again := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				ids := map[int]string{}
				for i, x := range c.xs {
					time.Sleep(x.wait + time.Millisecond)
					if again && i == len(c.xs)-1 {
						w.restart()
					}
					m := w.ask(x.who, x.call, x.answer, x.reply)
					if ids[x.session] == "" {
						for k, id := range ids {
							if id == m.Session {
								t.Errorf("%s: exchange %d is in session %d, not in a new one (restarted: %v)", c.name, i+1, k, again)
							}
						}
						ids[x.session] = m.Session
					}
					if m.Session != ids[x.session] {
						t.Errorf("%s: exchange %d is not in session %d (restarted: %v)", c.name, i+1, x.session, again)
					}
					want := ""
					if x.parent > 0 {
						want = fmt.Sprintf("exc_%d", x.parent)
					}
					if m.Parent != want {
						t.Errorf("%s: exchange %d goes on from %q, want %q (restarted: %v)", c.name, i+1, m.Parent, want, again)
					}
				}
			})
		}
	}
}

// TestStrangers: who is unknown does not get into a conversation at a provider by naming it, unless it is of the same workload.
func TestStrangers(t *testing.T) {
	s := New(Options{Key: []byte("key")})
	ask := func(p pipeline.Principal, w pipeline.Workload, n int) string {
		m := &pipeline.Meta{Exchange: fmt.Sprint("exc_", n), Workload: w, Principal: p}
		s.Assign(m, &pipeline.Call{Operation: pipeline.OpChat, Thread: "conv_1"})
		return m.Session
	}
	unit := func(pid uint32, name string) pipeline.Workload {
		return pipeline.Workload{PID: pid, Start: 1, UID: 7, Unit: name, Cgroup: "/system.slice/" + name}
	}
	nobody, ann := pipeline.Principal{}, pipeline.Principal{User: "ann"}
	first := ask(nobody, unit(1, "a.service"), 1)
	if got := ask(nobody, unit(2, "a.service"), 2); got != first {
		t.Error("another process of the same unit has another session")
	}
	if got := ask(nobody, unit(3, "b.service"), 3); got == first {
		t.Error("another unit got into the session")
	}
	if got := ask(nobody, proc(4), 4); got == first {
		t.Error("another process got into the session")
	}
	if got := ask(ann, unit(5, "a.service"), 5); got == first {
		t.Error("somebody who is known got into the session of nobody")
	}
}

func TestIDs(t *testing.T) {
	w := newWorld(t)
	m := w.ask(proc(1), chat("a"), "", "")
	if raw, ok := strings.CutPrefix(m.Session, "ses_"); !ok || uuid.MustParse(raw).Version() != 7 {
		t.Errorf("ID %q", m.Session)
	}
	m = &pipeline.Meta{Session: "ses_given", Workload: proc(1)}
	if w.s.Assign(m, nil); m.Session != "ses_given" {
		t.Errorf("session %q", m.Session)
	}
}

// TestMarksNeedTheKey: who reads the journal cannot test a guess of a message against its marks.
func TestMarksNeedTheKey(t *testing.T) {
	a, b := New(Options{Key: []byte("one")}), New(Options{Key: []byte("two")})
	m, n := &pipeline.Meta{Workload: proc(1)}, &pipeline.Meta{Workload: proc(1)}
	a.Assign(m, chat("!be", "a"))
	b.Assign(n, chat("!be", "a"))
	if m.Chain == n.Chain || m.Opening == n.Opening || m.Chain == 0 || m.Opening == 0 {
		t.Errorf("marks %x %x and %x %x", m.Chain, m.Opening, n.Chain, n.Opening)
	}
}

// TestSystemBehindMessages: clients that write their instructions behind the messages have turns too.
func TestSystemBehindMessages(t *testing.T) {
	w := newWorld(t)
	late := func(messages ...string) *pipeline.Call {
		c := chat(messages...)
		c.Steps = append(c.Steps, pipeline.Step{Kind: pipeline.StepPrompt, Text: "be kind"})
		return c
	}
	a := w.ask(proc(1), late("a"), "A", "")
	b := w.ask(proc(1), late("a", "A", "b"), "B", "")
	if a.Session != b.Session || b.Parent != a.Exchange {
		t.Errorf("sessions %s and %s, parent %q", a.Session, b.Session, b.Parent)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	s := New(Options{Max: 100})
	for i := range 1000 {
		s.Assign(&pipeline.Meta{Workload: proc(uint32(2 + i))}, chat("a"))
	}
	if s.Len() != 100 || len(s.marks) != 100 {
		t.Errorf("%d marks, want 100", s.Len())
	}
}

func TestConcurrentAssign(t *testing.T) {
	s := New(Options{})
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				m := &pipeline.Meta{Workload: proc(uint32(1 + i%10))}
				s.Assign(m, nil)
				s.Answered(m, nil, &pipeline.Outcome{}, pipeline.Usage{})
				mu.Lock()
				seen[m.Session] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 10 {
		t.Errorf("%d sessions, want 10", len(seen))
	}
}

func BenchmarkAssign(b *testing.B) {
	for _, n := range []int{1, 40} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			s := New(Options{})
			var messages []string
			for i := range n {
				messages = append(messages, strings.Repeat(fmt.Sprint("word", i), 100))
			}
			c := chat(messages...)
			m := pipeline.Meta{Workload: proc(1)}
			b.ReportAllocs()
			for b.Loop() {
				m.Session = ""
				s.Assign(&m, c)
			}
		})
	}
}
