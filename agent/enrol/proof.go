// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"slices"
	"strings"
	"sync"

	"github.com/sallyport-dev/sallyport/agent"
)

// Proofs is what the kernel knows of trust, by process: gone with it, dropped by exec, inherited by fork (agent/kernel).
type Proofs interface {
	Proofs(pid int, start uint64) (agent.Proofs, error)
	// Shaken notes how a handshake under a root ended.
	Shaken(pid int, start uint64, root agent.RootID, good bool) error
}

// Ending is how a handshake with an application ended.
type Ending uint8

const (
	Completed Ending = iota // it trusts the root of the certificate that it was shown
	Distrust                // it said, or did what only a client says or does, that it does not
	Vanished                // it closed without a word: Node.js, and any client that goes away, do the same
)

// maxVanished bounds what is remembered of clients that closed without a word; when it is reached, all are forgotten. That
// costs a handshake that fails.
const maxVanished = 65536

type process struct {
	pid   uint32
	start uint64
	root  agent.RootID
}

// vanished counts, for processes that never completed a handshake, how often in a row they closed without a word.
type vanished struct {
	mu sync.Mutex
	of map[process]*wordless
}

type wordless struct {
	times int
	spare bool // the next connection is not tried
}

// condemned is how many handshakes in a row must end without a word, with none ever completed, to count as distrust. One
// says nothing: a client that was stopped, or ran into its own timeout, closes alike.
const condemned = 2

// Handshake remembers how a handshake under the certificate of a host ended. It says whether the program is taken to
// distrust our root, and what mends that.
func (e *Enrol) Handshake(c agent.Conn, host string, end Ending) (untrusted bool, mend string) {
	root := e.root(host)
	k := process{c.Proc.TGID, c.Proc.Start, root}
	known, err := e.proofs(&c.Proc)
	if err != nil {
		known = agent.Proofs{}
	}
	switch end {
	case Completed:
		e.vanished.forget(k)
		if !slices.Contains(known.Good, root) {
			e.shaken(k, true)
		}
		e.seen.note(&c, host, agent.TrustHandshake, "", "", "")
		return false, ""
	case Vanished:
		if slices.Contains(known.Good, root) || !e.vanished.again(k) {
			return false, ""
		}
	}
	e.shaken(k, false)
	t := e.o.Trust.Trusting(int(c.Proc.TGID), c.Proc.Start)
	e.seen.note(&c, host, agent.TrustRefused, t.Kind, disproven, t.Mend)
	return true, because(disproven, t.Mend)
}

// shaken tells the kernel; a process that has ended needs nothing.
func (e *Enrol) shaken(k process, good bool) {
	if e.o.Proofs == nil {
		return
	}
	if err := e.o.Proofs.Shaken(int(k.pid), k.start, k.root, good); err != nil {
		e.o.Log.Debug("how a handshake ended is not noted", "pid", k.pid, "error", err)
	}
}

func (e *Enrol) proofs(p *agent.Process) (agent.Proofs, error) {
	if e.o.Proofs == nil {
		return agent.Proofs{}, nil
	}
	return e.o.Proofs.Proofs(int(p.TGID), p.Start)
}

func (e *Enrol) root(host string) agent.RootID {
	if e.o.Root == nil {
		return 0
	}
	return e.o.Root(host)
}

func (v *vanished) forget(k process) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.of, k)
}

// again counts one more; true: it is enough.
func (v *vanished) again(k process) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.of[k]
	if w == nil {
		if len(v.of) >= maxVanished {
			clear(v.of)
		}
		w = &wordless{}
		v.of[k] = w
	}
	w.times++
	w.spare = true
	return w.times >= condemned
}

// spare says whether a connection is to be left alone because the last handshake ended without a word; the next one is
// not.
func (v *vanished) spare(k process) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.of[k]
	if w == nil || !w.spare {
		return false
	}
	w.spare = false
	return true
}

const (
	disproven = "the program refused our certificate: it read its trust store before our root was in it, or uses one of its own"
	unclear   = "its last handshake with us ended without a word: this connection is left alone, the next one is tried again"
)

// trusts says whether a connection to a host is to be opened by us, because the process is known to trust the root of the
// certificate that it will be shown.
//
// Proof is an open of a store that held the root, or a handshake that was completed. Where the alternative is to refuse
// (deny), stores that hold the root are enough to try: what does not trust us will not send a byte, and to try is the
// only proof for programs that read their stores while they verify (Go, OpenSSL with a folder of hashes). A handshake
// that failed does not lock a program out there: it may hold several clients. Where the alternative is to relay unread,
// the program must not notice us: without proof it is not tried, and one refusal is enough for its lifetime.
func (e *Enrol) trusts(c *agent.Conn, host string, deny bool) (ok, missing bool, why string) {
	p, root := &c.Proc, e.root(host)
	known, err := e.proofs(p)
	bad := slices.Contains(known.Bad, root)
	_, opened := known.Opened(root)
	switch {
	case bad && !deny:
		t := e.o.Trust.Trusting(int(p.TGID), p.Start)
		e.seen.note(c, host, agent.TrustRefused, t.Kind, disproven, t.Mend)
		return false, false, because(disproven, t.Mend)
	case slices.Contains(known.Good, root):
		e.seen.note(c, host, agent.TrustHandshake, "", "", "")
		return true, false, ""
	case !deny && e.vanished.spare(process{p.TGID, p.Start, root}):
		return false, false, unclear
	case opened:
		e.seen.note(c, host, agent.TrustOpened, "", "", "")
		return true, false, ""
	}
	t := e.o.Trust.Trusting(int(p.TGID), p.Start)
	if err != nil {
		t.Why += "; what it opened is not known: " + err.Error()
	}
	if bad && t.State != agent.TrustMissing {
		t.State, t.Why = agent.TrustRefused, disproven
	}
	e.seen.note(c, host, t.State, t.Kind, t.Why, t.Mend)
	if deny && t.State != agent.TrustMissing {
		return true, false, ""
	}
	return false, t.State == agent.TrustMissing, because(t.Why, t.Mend)
}

// because joins a reason and its mend, unless the reason says it already.
func because(why, mend string) string {
	if mend == "" || strings.Contains(why, "sallyport run") {
		return why
	}
	return why + ": " + mend
}
