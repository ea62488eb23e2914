// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// caller is what bindings give to a caller: the roles that are enforced and those that are only watched, each once, by name.
type caller struct {
	roles, watched []*role
	names          []string // of roles
}

// bound finds what bindings give to a caller.
func (s *Set) bound(m *pipeline.Meta) *caller {
	var space [512]byte
	key := s.key(space[:0], m)
	s.mu.RLock()
	c, ok := s.known[string(key)]
	s.mu.RUnlock()
	if ok {
		return c
	}
	c = &caller{}
	for i := range s.bindings {
		b := &s.bindings[i]
		to := &c.roles
		if b.observe {
			to = &c.watched
		}
		if !slices.Contains(*to, b.role) && slices.ContainsFunc(b.subjects, func(x subject) bool { return x.holds(m) }) {
			*to = append(*to, b.role)
		}
	}
	byName := func(a, b *role) int { return strings.Compare(a.name, b.name) }
	slices.SortFunc(c.roles, byName)
	slices.SortFunc(c.watched, byName)
	for _, r := range c.roles {
		c.names = append(c.names, r.name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxKnown {
		s.known = make(map[string]*caller)
	}
	s.known[string(key)] = c
	return c
}

// key holds everything that subjects can ask for, so that callers with one key have the same roles.
func (s *Set) key(b []byte, m *pipeline.Meta) []byte {
	w, p := &m.Workload, &m.Principal
	put := func(v string) { b = append(binary.AppendUvarint(b, uint64(len(v))), v...) }
	put(p.SPIFFEID)
	put(p.User)
	put(w.Unit)
	put(w.Namespace)
	put(w.ServiceAccount)
	b = binary.AppendUvarint(b, uint64(w.UID)<<1)
	if w.PID != 0 {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	for _, l := range s.labels {
		put(w.Labels[l])
	}
	for _, g := range p.Groups {
		put(g)
	}
	return b
}

// holds: a value that is not known is empty and matches nothing, not even "*". The user ID 0 of a workload without a
// process is such a value.
func (x *subject) holds(m *pipeline.Meta) bool {
	w, p := &m.Workload, &m.Principal
	for k, v := range x.labels {
		if w.Labels[k] != v {
			return false
		}
	}
	return (x.spiffe == nil || p.SPIFFEID != "" && x.spiffe.match(p.SPIFFEID)) &&
		(x.unit == nil || w.Unit != "" && x.unit.match(w.Unit)) &&
		(x.user == "" || x.user == p.User) &&
		(x.group == "" || slices.Contains(p.Groups, x.group)) &&
		(x.namespace == "" || x.namespace == w.Namespace) &&
		(x.serviceAccount == "" || x.serviceAccount == w.ServiceAccount) &&
		(x.uid == nil || *x.uid == w.UID && (w.UID != 0 || w.PID != 0))
}

// who names the caller in words.
func who(m *pipeline.Meta) string {
	switch {
	case m.Principal.SPIFFEID != "":
		return m.Principal.SPIFFEID
	case m.Workload.Unit != "":
		return m.Workload.Unit
	}
	return fmt.Sprintf("uid %d", m.Workload.UID)
}

// plain makes a word from outside fit to stand in a message: short, printable, never nothing.
func plain(s string) string {
	if s == "" {
		return "(none)"
	}
	n := 0
	return strings.Map(func(r rune) rune {
		if n++; n > 128 {
			return -1
		}
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
