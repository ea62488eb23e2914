// SPDX-License-Identifier: Apache-2.0

package session

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// turn is what one request says about the conversation that it belongs to. Marks that it does not have are 0.
type turn struct {
	hasher
	process  mark   // the process that asks
	previous mark   // the reply that it goes on from
	thread   mark   // the conversation at the provider
	opening  mark   // of this process: instructions and tools
	chain    []mark // of this workload: the messages up to each one
	repeat   mark   // opening and all messages
	steps    []uint64
}

// end is the mark of all messages, 0 if there are none.
func (t *turn) end() mark {
	if len(t.chain) == 0 {
		return 0
	}
	return t.chain[len(t.chain)-1]
}

// answered is the mark of a reply to the messages up to i, if the following message is that reply.
func (t *turn) answered(i int) mark { return t.sum("answer", uint64(t.chain[i]), t.steps[i+1]) }

// turn hashes a request.
func (s *Sessions) turn(m *pipeline.Meta, c *pipeline.Call) turn {
	t := turn{hasher: s.hasher, process: s.process(&m.Workload)}
	who := s.who(&m.Principal, &m.Workload)
	if c.Previous != "" {
		t.previous = s.reply(who, c.Previous)
	}
	if c.Thread != "" {
		t.thread = s.sum("thread", uint64(who), name(c.Thread))
	}
	if t.process == 0 || c.Operation != pipeline.OpChat {
		return t
	}
	messages := pipeline.Messages(c.Steps)
	open := s.sum("opening", uint64(t.process))
	for i := range c.Steps {
		switch st := &c.Steps[i]; {
		case st.Kind == pipeline.StepToolOffer:
			open = s.sum("tool", uint64(open), name(st.Name))
		case st.Index < 0:
			open = s.sum("instruction", uint64(open), content(st))
		}
	}
	at := s.sum("chain", uint64(s.owner(&m.Workload)))
	for i, st := range messages {
		h := content(st)
		at = s.sum("message", uint64(at), h)
		t.chain, t.steps = append(t.chain, at), append(t.steps, h)
		if i == 0 && len(messages) > 1 {
			open = s.sum("first", uint64(open), h)
		}
	}
	if len(messages) > 0 {
		t.opening, t.repeat = open, s.sum("repeat", uint64(open), uint64(t.end()))
	}
	return t
}

// known is the turn of a recorded request, as far as the record has it.
func (s *Sessions) known(in *pipeline.Intent) turn {
	t := s.turn(&pipeline.Meta{Workload: in.Workload, Principal: in.Principal}, &pipeline.Call{Thread: in.Call.Thread})
	if in.Chain != 0 {
		t.chain, t.opening = []mark{mark(in.Chain)}, mark(in.Opening)
		t.repeat = s.sum("repeat", in.Opening, in.Chain)
	}
	return t
}

// content hashes what a message says, however the client calls its tools.
func content(s *pipeline.Step) uint64 {
	if s.Kind == pipeline.StepToolCall {
		return xxhash.Sum64String(s.Name)*31 ^ xxhash.Sum64(s.Args)
	}
	return xxhash.Sum64String(s.Text)
}

// hasher makes marks. They depend on its key: who does not have it cannot test a guess of a message against a mark.
type hasher struct{ key [32]byte }

func newHasher(key []byte) hasher {
	return hasher{sha256.Sum256(append([]byte("sallyport session marks\x00"), key...))}
}

// sum is the mark of parts of a kind. It is never 0.
func (h *hasher) sum(kind string, parts ...uint64) mark {
	var b [96]byte
	n := copy(b[:], h.key[:])
	n += copy(b[n:], kind)
	for _, p := range parts {
		binary.LittleEndian.PutUint64(b[n:], p)
		n += 8
	}
	d := sha256.Sum256(b[:n])
	return mark(max(1, binary.LittleEndian.Uint64(d[:])))
}

func (h *hasher) process(w *pipeline.Workload) mark {
	if w.PID == 0 {
		return 0
	}
	return h.sum("process", uint64(w.PID), w.Start)
}

// owner is whose conversations go on in each other's requests: a container's or a unit's processes, as a server has several, or one process.
func (h *hasher) owner(w *pipeline.Workload) mark {
	if w.Container != "" || w.Pod != "" || w.Unit != "" {
		return h.sum("owner", name(w.Cgroup), uint64(w.UID))
	}
	return h.process(w)
}

// who is whose conversations at a provider these are. Two of whom nothing is known are not the same: they have what their workload has.
func (h *hasher) who(p *pipeline.Principal, w *pipeline.Workload) mark {
	if p.SPIFFEID == "" && p.User == "" {
		return h.sum("nobody", uint64(h.owner(w)), uint64(w.UID))
	}
	return h.sum("who", name(p.SPIFFEID), name(p.User), uint64(w.UID))
}

func (h *hasher) reply(who mark, id string) mark {
	return h.sum("reply", uint64(who), name(id))
}

// name hashes what tells one from another, so that nobody can choose a name that is taken for somebody else's.
func name(s string) uint64 {
	d := sha256.Sum256([]byte(s))
	return binary.LittleEndian.Uint64(d[:])
}

// answer is the mark of a reply with a text, to all messages of a request.
func (h *hasher) answer(end mark, text string) mark {
	return h.sum("answer", uint64(end), xxhash.Sum64String(text))
}
