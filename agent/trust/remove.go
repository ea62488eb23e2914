// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent/trust/hoststore"
)

// hostPIDs are processes in the host's mount namespace: the first one and ourselves.
func hostPIDs() []int { return []int{1, os.Getpid()} }

// place is a mount of ours as a mount table shows it.
type place struct{ tag, point string }

// namespace is a mount namespace that holds mounts of ours.
type namespace struct {
	pid    int // a process that lives in it
	ns     uint64
	places []place
}

// survey finds all mounts with one of the tags, in every mount namespace that a process lives in: also in those that
// were copied from the one we mounted in.
func survey(tags map[string]bool) ([]namespace, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	list, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var out []namespace
	seen := map[uint64]bool{}
	for _, name := range list {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		p, err := openProcess(pid, 0)
		if err != nil {
			continue // it has ended, or is a kernel thread or zombie without a namespace
		}
		if !seen[p.ns] {
			if table, err := p.mounts(); err == nil {
				seen[p.ns] = true
				found := namespace{pid: pid, ns: p.ns}
				for _, m := range table {
					if tag, ok := m.ours(); ok && tags[tag] {
						found.places = append(found.places, place{tag, m.point})
					}
				}
				if found.places != nil {
					out = append(out, found)
				}
			}
		}
		p.close()
	}
	return out, nil
}

// open returns the ledger's entries that may still stand, and their tags.
func (t *Trust) open() ([]entry, map[string]bool, error) {
	entries, err := t.ledger.read()
	if err != nil {
		return nil, nil, err
	}
	tags := map[string]bool{}
	for _, e := range entries {
		if e.Boot == t.boot {
			tags[e.Tag] = true
		}
	}
	return entries, tags, nil
}

func (e *entry) change(ns uint64, path, state string) Change {
	return Change{ID: e.ID, Kind: "mount", Store: e.Store, Path: path, PID: e.PID, Start: e.Start, Comm: e.Comm, MountNS: ns, Time: e.Time, State: state}
}

// Status lists the changes of the ledger that are not undone, and the copies that other namespaces made of them, with
// what the kernel says about them now: "applied" or "gone".
func (t *Trust) Status() ([]Change, error) {
	entries, tags, err := t.open()
	if err != nil {
		return nil, err
	}
	spaces, err := survey(tags)
	if err != nil {
		return nil, fmt.Errorf("looking for changed trust stores: %w", err)
	}
	out := report(entries, spaces, func(uint64, place) string { return "applied" })
	tag := map[string]string{}
	for _, e := range entries {
		tag[e.ID] = e.Tag
	}
	for i := range out {
		out[i].Current = out[i].State == "applied" && t.current(tag[out[i].ID])
	}
	host, err := t.host.Status()
	if err != nil {
		return nil, fmt.Errorf("looking for changed files: %w", err)
	}
	return append(out, t.changes(host)...), nil
}

// changes puts changes of the host's files beside those of mounts.
func (t *Trust) changes(list []hoststore.Change) []Change {
	var out []Change
	for _, c := range list {
		out = append(out, Change{ID: c.ID, Kind: c.Kind, Store: c.Store, Path: c.Path, PID: c.PID, Comm: c.Comm, MountNS: t.self, Time: c.Time,
			State: c.State, Current: c.Current})
	}
	return out
}

// report lists each entry where it was made, then each copy of it elsewhere. An entry that stands nowhere is "gone".
func report(entries []entry, spaces []namespace, state func(ns uint64, p place) string) []Change {
	var out []Change
	for i := range entries {
		e := &entries[i]
		n := len(out)
		for _, s := range spaces {
			for _, p := range s.places {
				if p.tag == e.Tag && belongs(p, e, entries) {
					out = append(out, e.change(s.ns, p.point, state(s.ns, p)))
				}
			}
		}
		if len(out) == n {
			out = append(out, e.change(e.NS, e.Path, "gone"))
		}
	}
	return out
}

// belongs tells to which entry of its tag a mount belongs: to the one with its path; else (a process below another root
// sees another path) to the first.
func belongs(p place, e *entry, entries []entry) bool {
	first := ""
	for i := range entries {
		o := &entries[i]
		if o.Tag != p.tag {
			continue
		}
		if o.Path == p.point {
			return o.ID == e.ID
		}
		if first == "" {
			first = o.ID
		}
	}
	return first == e.ID
}

// Remove undoes every change of the ledger, whoever made it, in every namespace that still lives and in the host's files, and
// says what became of each. What cannot be undone now ("failed: WHY") stays in the ledger.
func (t *Trust) Remove(ctx context.Context) ([]Change, error) {
	done := make(chan []Change, 1)
	err := t.run(ctx, func() error {
		mounts, merr := t.remove()
		host, herr := t.host.Remove(ctx)
		done <- append(mounts, t.changes(host)...)
		return errors.Join(merr, herr)
	})
	var out []Change
	select {
	case out = <-done:
	default: // ctx ended first
	}
	if err != nil {
		return out, fmt.Errorf("restoring trust stores: %w", err)
	}
	return out, nil
}

func (t *Trust) remove() ([]Change, error) {
	t.mu.Lock()
	clear(t.known)
	t.mu.Unlock()
	entries, tags, err := t.open()
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	spaces, err := survey(tags)
	if err != nil {
		return nil, err
	}
	states := map[uint64]map[string]error{}
	for _, s := range spaces {
		states[s.ns] = t.removeIn(s, tags)
	}
	out := report(entries, spaces, func(ns uint64, p place) string {
		if err := states[ns][p.tag+p.point]; err != nil {
			return "failed: " + err.Error()
		}
		return "removed"
	})
	// A change is over once it stands nowhere: what the kernel says now counts, not what we think we did.
	left, err := survey(tags)
	if err != nil {
		return nil, err
	}
	standing := map[string]bool{}
	for _, s := range left {
		for _, p := range s.places {
			for i := range entries {
				if e := &entries[i]; e.Tag == p.tag && belongs(p, e, entries) {
					standing[e.ID] = true
				}
			}
		}
	}
	var over []entry
	for _, e := range entries {
		if !standing[e.ID] {
			over = append(over, entry{ID: e.ID, Over: "removed", Time: time.Now().UTC()})
		}
	}
	return out, t.ledger.append(over...)
}

// removeIn unmounts what is ours in one namespace; every place that it does not speak of was removed.
func (t *Trust) removeIn(s namespace, tags map[string]bool) map[string]error {
	defer t.hold(s.ns)()
	all := func(err error) map[string]error {
		m := map[string]error{}
		for _, p := range s.places {
			m[p.tag+p.point] = err
		}
		return m
	}
	p, err := openProcess(s.pid, 0)
	if err != nil {
		return nil // the survey afterwards tells whether its namespace went with it
	}
	defer p.close()
	if p.ns != s.ns {
		return all(fmt.Errorf("process %d left the namespace meanwhile: try again", s.pid))
	}
	fd, err := p.openNS()
	if err != nil {
		return all(err)
	}
	defer unix.Close(fd)
	m, err := lift(fd, tags)
	if err != nil {
		return all(err)
	}
	return m
}
