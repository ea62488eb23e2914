// SPDX-License-Identifier: Apache-2.0

package quarantine

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// found is what a selector selects now.
type found struct {
	ids   []uint64
	paths []string
	uids  []uint32
}

// has says whether a process is among them.
func (f found) has(uid uint32, cgroup string) bool {
	return slices.Contains(f.uids, uid) || slices.ContainsFunc(f.paths, func(p string) bool { return cgroup == p || strings.HasPrefix(cgroup, p+"/") })
}

func (q *Quarantine) find(s Selector) (f found, err error) {
	if s.Kind == SPIFFE {
		kind, value, err := q.o.Resolve(s.Value)
		if err != nil {
			return f, err
		}
		if s, err = Parse(kind + ":" + value); err != nil {
			return f, err
		}
	}
	switch s.Kind {
	case UID:
		n, err := strconv.ParseUint(s.Value, 10, 32)
		f.uids = []uint32{uint32(n)}
		return f, err
	case Cgroup:
		if err := q.usable(s.Value); err != nil {
			return f, err
		}
		f.paths = []string{s.Value}
		var st unix.Stat_t
		if unix.Stat(filepath.Join(q.o.CgroupRoot, s.Value), &st) == nil {
			f.ids = []uint64{st.Ino}
		}
		return f, nil
	}
	of := map[string]func(string) string{Unit: q.o.Unit, Container: q.o.Container, Pod: q.o.Pod}[s.Kind]
	err = filepath.WalkDir(q.o.Attach, func(dir string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && dir != q.o.Attach {
			return nil // it went while we walked
		}
		if err != nil || !d.IsDir() {
			return err
		}
		p := "/" + strings.Trim(strings.TrimPrefix(dir, q.o.CgroupRoot), "/")
		if of(p) != s.Value {
			return nil
		}
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			return nil
		}
		if err := q.usable(p); err != nil {
			return err
		}
		f.ids, f.paths = append(f.ids, st.Ino), append(f.paths, p)
		return fs.SkipDir // what is below is under it
	})
	if err != nil {
		return f, fmt.Errorf("looking for %s: %w", s, err)
	}
	return f, nil
}

// sees says whether the programs see the processes of a cgroup at all. Nobody else is touched.
func (q *Quarantine) sees(cgroup string) bool {
	at := "/" + strings.Trim(strings.TrimPrefix(q.o.Attach, q.o.CgroupRoot), "/")
	return at == "/" || cgroup == at || strings.HasPrefix(cgroup, at+"/")
}

// usable says why the programs could not cut off a path.
func (q *Quarantine) usable(p string) error {
	switch {
	case len(p) > maxPath || strings.Count(p, "/") > maxDepth:
		return fmt.Errorf("%s lies too deep: name a cgroup above it (at most %d levels and %d bytes)", p, maxDepth, maxPath)
	case !q.sees(p):
		return fmt.Errorf("%s is not below %s, which is all that the programs see (capture.cgroup)", p, q.o.Attach)
	}
	return nil
}

// refuseVital asks about the selector itself, which may match something later, and about what it matches now.
func (q *Quarantine) refuseVital(s Selector, f found) error {
	var all []agent.Match
	if s.Kind == Unit {
		all = append(all, agent.Match{Unit: literal(s.Value)})
	}
	for _, p := range f.paths {
		all = append(all, agent.Match{Cgroup: literal(p)})
	}
	for _, uid := range f.uids {
		all = append(all, agent.Match{UID: &uid})
	}
	for _, m := range all {
		if err := q.o.Vital(m); err != nil {
			return err
		}
	}
	return nil
}

// literal is a pattern that matches exactly one name.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace
