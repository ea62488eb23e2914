// SPDX-License-Identifier: Apache-2.0

package flow

import "github.com/sallyport-dev/sallyport/pipeline/llm"

// tool gives a piece of a tool call to its call. Where clients put pieces together differently, nothing is inspected.
func (m *events) tool(e *event, p *llm.ToolPiece) error {
	if err := m.grow(len(p.Args)); err != nil {
		return err
	}
	index := p.Index
	call := m.call(p.Choice, index)
	if p.Complete && p.Name != "" && !p.Repeat { // a call in one piece: its place is only that in its event
		call, index = nil, m.choice(p.Choice).calls
	}
	switch {
	case call == nil && p.Complete && p.Name == "" && p.ID == "" && p.ArgsAt.Empty():
		return nil // the end of a block of another kind
	case call == nil:
		if err := m.completeCalls(p.Choice); err != nil { // the next call begins: those before it are complete
			return err
		}
		ch := m.choice(p.Choice)
		if ch.top >= index && index >= 0 {
			return llm.NotInspected("tool call in block %d after block %d has begun", index, ch.top)
		}
		call = &toolCall{choice: p.Choice, index: index, byProvider: p.ByProvider}
		m.calls = append(m.calls, call)
		if !p.ByProvider {
			ch.calls++
		}
	case p.Repeat && (call.decided || len(call.args) > 0 || p.ArgsAt.Empty()):
		return m.repeatCall(e, call, p)
	}
	if call.decided && (p.Name != "" || p.ID != "" || !p.ArgsAt.Empty()) {
		return llm.NotInspected("tool call goes on after its end")
	}
	if p.Name != "" {
		if call.name != "" && !(p.Repeat && p.Name == call.name) {
			return llm.NotInspected("tool call with its name in pieces")
		}
		call.name = p.Name
	}
	if p.ID != "" {
		if call.id != "" && call.id != p.ID {
			return llm.NotInspected("tool call with two IDs")
		}
		call.id = p.ID
	}
	e.tools = append(e.tools, eventTool{call: call, from: len(call.args), n: len(p.Args), piece: *p})
	call.args = append(call.args, p.Args...)
	if p.Repeat { // of what was not said: it is the call itself, and whole
		return m.decide(call)
	}
	return nil
}

// call finds a tool call that has begun; nil if there is none.
func (m *events) call(choice, index int) *toolCall {
	for i := len(m.calls) - 1; i >= 0; i-- {
		if t := m.calls[i]; t.choice == choice && t.index == index {
			return t
		}
	}
	return nil
}

func (m *events) completeCalls(choice int) error {
	for _, t := range m.calls {
		if t.choice != choice {
			continue
		}
		if err := m.decide(t); err != nil {
			return err
		}
	}
	return nil
}

// decide asks policy about a call that is complete, once.
func (m *events) decide(t *toolCall) error {
	if t.decided {
		return nil
	}
	if err := m.x.decideCall(m.ctx, t); err != nil {
		return err
	}
	if t.denied {
		m.choice(t.choice).denied++
	}
	return nil
}
