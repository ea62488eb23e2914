// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"sync"

	"github.com/sallyport-dev/sallyport/agent"
)

// maxProofs bounds what is remembered of handshakes; when it is reached, all are forgotten. That costs a handshake that
// fails, or a look at the stores.
const maxProofs = 65536

type process struct {
	pid   uint32
	start uint64
}

// proof is how handshakes with a process ended. Both may be: it may hold several clients.
type proof struct{ good, bad bool }

type proofs struct {
	mu sync.Mutex
	of map[process]proof
}

// Handshake remembers how a handshake with a process ended: nil proves trust in our root, an error disproves it.
func (e *Enrol) Handshake(c agent.Conn, err error) {
	e.proofs.mu.Lock()
	defer e.proofs.mu.Unlock()
	k := process{c.Proc.TGID, c.Proc.Start}
	p, ok := e.proofs.of[k]
	if !ok && len(e.proofs.of) >= maxProofs {
		clear(e.proofs.of)
	}
	if err == nil {
		p.good = true
	} else {
		p.bad = true
	}
	e.proofs.of[k] = p
}

const disproven = "the program refused our certificate: it read its trust store before our root was in it, or uses one of its own; " +
	"restart it, or start it with `sallyport run -- CMD`"

// trusts says whether a process is taken to trust our root: because a handshake was completed, or because its trust
// stores hold our roots.
//
// A handshake that failed means less than one might think: a client that gives up early fails alike. Where the
// alternative is to refuse (deny), we try again, since what does not trust us will not send a byte. Where it is to relay
// unread, the program must not notice us: one failure is enough for its lifetime.
func (e *Enrol) trusts(p *agent.Process, deny bool) (bool, string) {
	e.proofs.mu.Lock()
	had := e.proofs.of[process{p.TGID, p.Start}]
	e.proofs.mu.Unlock()
	switch {
	case had.bad && !deny:
		return false, disproven
	case had.good:
		return true, ""
	}
	ok, why := e.o.Trust.Trusted(int(p.TGID), p.Start)
	if !ok && had.bad {
		why = disproven
	}
	return ok, why
}
