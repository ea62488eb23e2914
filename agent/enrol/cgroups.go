// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// maxEventPath is how much of a path an event can hold: a longer one comes cut and is not to be trusted.
const maxEventPath = 255

// Rescan walks the cgroup tree and tells the kernel about every cgroup in it, and about those that are gone. Call it
// when events were lost. A cgroup that the kernel cannot be told of stays pending there: its connections come to us and
// are decided at accept.
func (e *Enrol) Rescan() error {
	e.write.Lock()
	defer e.write.Unlock()
	seen := map[uint64]bool{}
	var failed error
	err := filepath.WalkDir(e.o.Attach, func(dir string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && dir != e.o.Attach {
			return nil // it went while we walked
		}
		if err != nil || !d.IsDir() {
			return err
		}
		id, err := inode(dir)
		if errors.Is(err, unix.ENOENT) && dir != e.o.Attach {
			return nil
		}
		if err != nil {
			return err
		}
		seen[id] = true
		if err := e.resolve(id, e.below(dir)); err != nil && failed == nil {
			failed = err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the cgroup tree: %w", err)
	}
	if failed != nil {
		e.o.Log.Error("a cgroup could not be resolved and stays pending", "error", failed)
	}
	e.mu.Lock()
	var gone []uint64
	for id := range e.paths {
		if !seen[id] {
			gone = append(gone, id)
		}
	}
	e.mu.Unlock()
	for _, id := range gone {
		if err := e.forget(id); err != nil {
			return err
		}
	}
	return nil
}

// Cgroup takes an event: a new cgroup is resolved at once, a removed one forgotten. Errors are logged; what is not
// resolved stays pending.
func (e *Enrol) Cgroup(ev agent.CgroupEvent) {
	e.write.Lock()
	defer e.write.Unlock()
	var err error
	switch {
	case ev.Removed:
		err = e.forget(ev.ID)
	case len(ev.Path) < maxEventPath:
		err = errors.Join(e.resolve(ev.ID, ev.Path), e.refreshSometimes())
	}
	if err != nil {
		e.o.Log.Error("a cgroup could not be resolved", "cgroup", ev.Path, "error", err)
	}
}

func (e *Enrol) refreshSometimes() error {
	now := time.Now()
	e.mu.Lock()
	due := now.Sub(e.refreshed) >= refreshEvery
	e.mu.Unlock()
	// The patterns count, not the files: all that are wanted may be missing so far.
	if !due || !slices.ContainsFunc(e.scopes, func(s agent.Scope) bool { return s.Match.Exe != "" }) {
		return nil
	}
	return e.refresh(now)
}

// resolve tells the kernel about a cgroup; write is held.
func (e *Enrol) resolve(id uint64, path string) error {
	if err := e.o.Kernel.SetCgroup(id, e.cgroupMask(path)); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paths[id] = path
	return nil
}

// forget is the opposite of resolve; write is held.
func (e *Enrol) forget(id uint64) error {
	e.mu.Lock()
	delete(e.paths, id)
	e.mu.Unlock()
	return e.o.Kernel.DelCgroup(id)
}

// path is where the cgroup is in which a process was when it connected. claimed is where the process was found later: it
// counts if it has that id, and the kernel then learns it.
func (e *Enrol) path(id uint64, claimed string) (string, bool) {
	e.mu.Lock()
	p, ok := e.paths[id]
	e.mu.Unlock()
	if ok {
		return p, true
	}
	if claimed == "" {
		return "", false
	}
	e.write.Lock()
	defer e.write.Unlock()
	if found, err := inode(filepath.Join(e.o.CgroupRoot, claimed)); err != nil || found != id {
		return "", false
	}
	if err := e.resolve(id, claimed); err != nil {
		e.o.Log.Error("a cgroup could not be resolved and stays pending", "cgroup", claimed, "error", err)
	}
	return claimed, true
}

// below is the path of a folder below the cgroup v2 root.
func (e *Enrol) below(dir string) string {
	return "/" + strings.Trim(strings.TrimPrefix(dir, e.o.CgroupRoot), "/")
}

// attached says whether the programs see a cgroup at all.
func (e *Enrol) attached(cgroup string) bool {
	at := e.below(e.o.Attach)
	return at == "/" || cgroup == at || strings.HasPrefix(cgroup, at+"/")
}

// inode is the id by which the kernel programs know a cgroup.
func inode(dir string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// CgroupPath is where a cgroup is that the kernel was told of, below the cgroup v2 root; "" if there is none.
func (e *Enrol) CgroupPath(id uint64) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.paths[id]
}
