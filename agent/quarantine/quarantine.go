// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// Options say where things are. All are needed.
type Options struct {
	File       string // who is cut off
	PinDir     string // of the maps
	CgroupRoot string // where cgroup v2 is mounted
	Attach     string // folder below it whose processes the programs see
	Unit       func(cgroup string) string
	Container  func(cgroup string) string
	Pod        func(cgroup string) string
	Resolve    func(spiffe string) (kind, value string, err error) // what a SPIFFE ID stands for
	Vital      func(agent.Match) error                             // why the host cannot do without what is selected
}

// Quarantine is safe for concurrent use, also by several processes with one file.
type Quarantine struct{ o Options }

// New does nothing yet.
func New(o Options) *Quarantine { return &Quarantine{o} }

// Add cuts a principal off, for d or, if that is 0, until it is lifted. Whoever is cut off already gets the new deadline
// and reason. The entry that comes back says where the principal was found and which connections were ended; with an error
// beside it, it is in force all the same.
func (q *Quarantine) Add(selector string, d time.Duration, reason string, by By) (Entry, error) {
	s, err := Parse(selector)
	if err != nil {
		return Entry{}, err
	}
	if strings.TrimSpace(reason) == "" || d < 0 {
		return Entry{}, errors.New("a quarantine needs a reason, and no time that is over")
	}
	n, err := readNow()
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Selector: s.String(), Since: n.wall, Reason: reason, By: by}
	if d > 0 {
		e.Until, e.Boot, e.AtBoot = n.wall.Add(d), n.boot, n.clock+uint64(d)
	}
	f, err := q.find(s)
	if err != nil {
		return Entry{}, err
	}
	if err := q.refuseVital(s, f); err != nil {
		return Entry{}, err
	}
	e.Paths = f.paths
	err = q.edit(func(st *state) error {
		for i := range st.Entries {
			if st.Entries[i].Selector == e.Selector { // it ends, and begins anew
				st.finish(i, n.wall, &by)
				break
			}
		}
		st.Entries = append(st.Entries, e)
		return nil
	})
	if err != nil {
		return Entry{}, err
	}
	if err := q.Apply(); err != nil && !errors.Is(err, ErrUnresolved) {
		return e, fmt.Errorf("it is noted, but not in force: %w", err)
	}
	e.Cut, err = cut(func(uid uint32, cgroup string) bool { return q.sees(cgroup) && f.has(uid, cgroup) })
	return e, errors.Join(err, q.edit(func(st *state) error {
		for i := range st.Entries {
			if st.Entries[i].Selector == e.Selector {
				st.Entries[i].Cut = e.Cut
			}
		}
		return nil
	}))
}

// ErrNone says that nobody is cut off under that selector.
var ErrNone = errors.New("nobody is cut off under this selector: see the list")

// Lift ends a quarantine.
func (q *Quarantine) Lift(selector string, by By) (Entry, error) {
	s, err := Parse(selector)
	if err != nil {
		return Entry{}, err
	}
	var out Entry
	err = q.edit(func(st *state) error {
		i := slices.IndexFunc(st.Entries, func(e Entry) bool { return e.Selector == s.String() })
		if i < 0 {
			return ErrNone
		}
		out = st.finish(i, time.Now(), &by)
		return nil
	})
	if err != nil {
		return Entry{}, err
	}
	if err := q.Apply(); err != nil && !errors.Is(err, ErrUnresolved) {
		return out, err
	}
	return out, nil
}

// Listed is an entry and what became of it.
type Listed struct {
	Entry
	Refused uint64        // connections since it began or the unit was started anew
	Left    time.Duration // 0: until it is lifted
}

// List says who is cut off.
func (q *Quarantine) List() ([]Listed, error) {
	st, err := load(q.o.File)
	if err != nil || len(st.Entries) == 0 {
		return nil, err
	}
	n, err := readNow()
	if err != nil {
		return nil, err
	}
	var out []Listed
	for _, e := range st.Entries {
		until := e.deadline(n)
		if until == 0 {
			continue
		}
		l := Listed{Entry: e}
		if until != forever {
			l.Left = time.Duration(until - n.clock)
		}
		if s, perr := Parse(e.Selector); perr == nil {
			if f, ferr := q.find(s); ferr == nil {
				if l.Refused, err = refused(q.o.PinDir, f.ids, f.uids); err != nil {
					return nil, err
				}
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// Active says whether there may be work for Apply; it costs one look at the file.
func (q *Quarantine) Active() bool {
	var st unix.Stat_t
	return unix.Stat(q.o.File, &st) == nil
}

// ErrUnresolved says that one of those who are cut off cannot be looked for any more, as a SPIFFE ID of another template.
// The cgroups in which it was found before stay cut off.
var ErrUnresolved = errors.New("it stays cut off where it was found before: lift it, or name it otherwise")

// Apply brings the kernel in line with the file, and ends what is over. ErrUnresolved keeps the others from nothing.
func (q *Quarantine) Apply() error {
	n, err := readNow()
	if err != nil {
		return err
	}
	var failed error
	err = q.edit(func(st *state) error {
		w, err := newWanted(q.o.PinDir)
		if err != nil {
			return err
		}
		for i := len(st.Entries) - 1; i >= 0; i-- {
			if st.Entries[i].deadline(n) == 0 {
				st.finish(i, n.wall, nil)
			}
		}
		for i := range st.Entries {
			e := &st.Entries[i]
			until := e.deadline(n)
			for _, p := range e.Paths { // also while nothing is there
				later(w.paths, p, until)
			}
			s, err := Parse(e.Selector)
			if err == nil {
				var f found
				if f, err = q.find(s); err == nil {
					for _, id := range f.ids {
						later(w.ids, id, until)
					}
					for _, uid := range f.uids {
						later(w.uids, uid, until)
					}
					for _, p := range f.paths {
						later(w.paths, p, until)
						if !slices.Contains(e.Paths, p) {
							e.Paths = append(e.Paths, p)
						}
					}
				}
			}
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("quarantine of %s: %w: %w", e.Selector, err, ErrUnresolved))
			}
		}
		return w.write(q.o.PinDir)
	})
	if err != nil {
		return err
	}
	return failed
}

// Unrecorded hands each change that is not in the journal yet to record, once it is there marks it so. One is handed over
// twice if we die in between, none is left out.
func (q *Quarantine) Unrecorded(record func(Entry) error) error {
	st, err := load(q.o.File)
	if err != nil {
		return err
	}
	begun, over := map[string]bool{}, map[string]bool{}
	key := func(e *Entry) string { return e.Selector + " " + e.Since.UTC().Format(time.RFC3339Nano) }
	begin := func(e Entry) error {
		if e.Recorded {
			return nil
		}
		k := key(&e)
		e.Ended, e.EndBy = time.Time{}, nil
		if err := record(e); err != nil {
			return err
		}
		begun[k] = true
		return nil
	}
	for _, e := range append(slices.Clone(st.Ended), st.Entries...) {
		if err = begin(e); err != nil {
			break
		}
		if e.Ended.IsZero() {
			continue
		}
		if err = record(e); err != nil {
			break
		}
		over[key(&e)] = true
	}
	if len(begun)+len(over) == 0 {
		return err
	}
	return errors.Join(err, q.edit(func(st *state) error {
		for i := range st.Entries {
			e := &st.Entries[i]
			e.Recorded = e.Recorded || begun[key(e)]
		}
		st.Ended = slices.DeleteFunc(st.Ended, func(e Entry) bool { return over[key(&e)] })
		for i := range st.Ended {
			e := &st.Ended[i]
			e.Recorded = e.Recorded || begun[key(e)]
		}
		return nil
	}))
}

// edit changes the file under its lock. When nothing is left to say, there is none.
func (q *Quarantine) edit(change func(*state) error) error {
	unlock, err := lock(q.o.File)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := load(q.o.File)
	if err != nil {
		return err
	}
	before := fmt.Sprintf("%+v", st)
	if err := change(&st); err != nil {
		return err
	}
	if fmt.Sprintf("%+v", st) == before {
		return nil
	}
	if len(st.Entries)+len(st.Ended) == 0 {
		if err := os.Remove(q.o.File); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return save(q.o.File, st)
}
