// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// refreshEvery is how often at most a new cgroup makes us look for new executables.
const refreshEvery = time.Second

// Refresh looks for executables that came since New or the last Refresh, as by the upgrade of a package: the kernel
// knows them by device and inode, not by name. What is gone stays selected, because processes may still run it. Call it
// now and then; new cgroups call it too, since a service that starts again has one.
func (e *Enrol) Refresh() error {
	e.write.Lock()
	defer e.write.Unlock()
	return e.refresh(time.Now())
}

// refresh is Refresh with write held.
func (e *Enrol) refresh(now time.Time) error {
	found, err := e.executables()
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.refreshed = now
	next := maps.Clone(e.exes)
	e.mu.Unlock()
	for f, mask := range found {
		if all := next[f] | mask; all != next[f] {
			if err := e.o.Kernel.SetExe(f, all); err != nil {
				return err
			}
			next[f] = all
		}
	}
	e.mu.Lock()
	e.exes = next
	e.mu.Unlock()
	return nil
}

// executables expands the patterns of all scopes to the files that there are.
func (e *Enrol) executables() (map[agent.File]uint64, error) {
	out := map[agent.File]uint64{}
	for i, s := range e.scopes {
		if s.Match.Exe == "" {
			continue
		}
		names, err := filepath.Glob(s.Match.Exe)
		if err != nil {
			return nil, fmt.Errorf("scope %s: exe %q is no valid pattern: close its [ or end its \\", s.Name, s.Match.Exe)
		}
		for _, name := range names {
			f, err := fileOf(name)
			if errors.Is(err, unix.ENOENT) {
				continue // a link to nowhere, or gone meanwhile
			}
			if err != nil {
				return nil, fmt.Errorf("scope %s: looking at %s: %w", s.Name, name, err)
			}
			out[f] |= 1 << i
		}
	}
	return out, nil
}

// fileOf follows links, as exec does.
func fileOf(name string) (agent.File, error) {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return agent.File{}, err
	}
	return agent.File{Dev: st.Dev, Ino: st.Ino}, nil
}
