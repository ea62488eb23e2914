// SPDX-License-Identifier: Apache-2.0

// Package enrol knows which processes belong to which scope. It turns the configured scopes into rows and masks for the
// kernel programs, keeps the masks current as cgroups come and go, and decides what becomes of a connection once the
// name of its destination is known.
package enrol

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// Kernel is what the programs in the kernel are told (agent/kernel).
type Kernel interface {
	SetScopes([]agent.ScopeRow) error
	SetDefault(mode agent.Mode, closed bool) error
	SetCgroup(id, mask uint64) error
	DelCgroup(id uint64) error
	ResetSelection() error
	SetUID(uid uint32, mask uint64) error
	SetExe(f agent.File, mask uint64) error
}

// Trust says whether a process trusts our roots (agent/trust).
type Trust interface {
	// Trusted gives the reason, with the mend, if it does not.
	Trusted(pid int, start uint64) (bool, string)
}

// Endpoint is one provider host.
type Endpoint struct {
	Name, Host, Protocol string
	Port                 uint16
	UpstreamCA           []byte // PEM; nil = system roots
	Plain                bool   // HTTP without TLS
}

// Options are the configured scopes and what they need.
type Options struct {
	Scopes      []agent.Scope
	DefaultMode agent.Mode // of marked processes that no scope names
	Endpoints   []Endpoint
	CgroupRoot  string // where cgroup v2 is mounted
	Attach      string // folder below it whose processes the programs see
	ProcRoot    string // "/proc"
	Kernel      Kernel
	Trust       Trust
	Unit        func(cgroup string) string // systemd unit of a cgroup path
	Log         *slog.Logger
}

// Enrol is safe for concurrent use.
type Enrol struct {
	o Options

	mu    sync.Mutex
	known map[uint64]bool // cgroups that the kernel was told of
	proof map[process]bool
}

type process struct {
	pid   uint32
	start uint64
}

// New checks the options, and refuses scopes that would cut the host off: those that match the service manager, remote
// log-in, a container runtime, the kubelet, or this process.
func New(o Options) (*Enrol, error) {
	if o.ProcRoot == "" {
		o.ProcRoot = "/proc"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Enrol{o: o, known: map[uint64]bool{}, proof: map[process]bool{}}
	for i := range o.Scopes {
		if o.Scopes[i].Match.PodLabels != nil {
			return nil, fmt.Errorf("scope %s: podLabels are not supported yet: select by unit, cgroup, uid or exe", o.Scopes[i].Name)
		}
	}
	return e, e.refuseVital()
}

// Scopes are the configured scopes, in order.
func (e *Enrol) Scopes() []agent.Scope { return e.o.Scopes }

// Apply tells the kernel everything: the masks first, then the rows that use them.
func (e *Enrol) Apply() error {
	if err := e.o.Kernel.ResetSelection(); err != nil {
		return err
	}
	rows := make([]agent.ScopeRow, len(e.o.Scopes))
	uids, exes := map[uint32]uint64{}, map[agent.File]uint64{}
	for i, s := range e.o.Scopes {
		m := s.Match
		rows[i] = agent.ScopeRow{Mode: s.Mode, Closed: s.Closed, NeedCgroup: m.Cgroup != "" || m.Unit != "", NeedUID: m.UID != nil,
			NeedExe: m.Exe != "", NeedMark: m.LangChain}
		if m.UID != nil {
			uids[*m.UID] |= 1 << i
		}
		if m.Exe != "" {
			files, err := executables(m.Exe)
			if err != nil {
				return fmt.Errorf("scope %s: %w", s.Name, err)
			}
			if len(files) == 0 {
				e.o.Log.Warn("no such executable: the scope matches nothing until the next start", "scope", s.Name, "path", m.Exe)
			}
			for _, f := range files {
				exes[f] |= 1 << i
			}
		}
	}
	for uid, mask := range uids {
		if err := e.o.Kernel.SetUID(uid, mask); err != nil {
			return err
		}
	}
	for f, mask := range exes {
		if err := e.o.Kernel.SetExe(f, mask); err != nil {
			return err
		}
	}
	if err := e.Rescan(); err != nil {
		return err
	}
	if err := e.o.Kernel.SetScopes(rows); err != nil {
		return err
	}
	// Cgroups that were made while the rows were not there yet have no event behind them that mattered: look once more.
	if err := e.Rescan(); err != nil {
		return err
	}
	return e.o.Kernel.SetDefault(e.o.DefaultMode, e.o.DefaultMode == agent.ModeEnforce)
}

// executables expands a glob to the files that exist.
func executables(pattern string) ([]agent.File, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("exe %q: %w", pattern, err)
	}
	var out []agent.File
	for _, p := range paths {
		var st unix.Stat_t
		if err := unix.Stat(p, &st); err != nil {
			return nil, fmt.Errorf("looking at %s: %w", p, err)
		}
		out = append(out, agent.File{Dev: st.Dev, Ino: st.Ino})
	}
	return out, nil
}

// Rescan walks the cgroup tree and tells the kernel about every cgroup in it, and about those that are gone. Call it
// when events were lost.
func (e *Enrol) Rescan() error {
	seen := map[uint64]bool{}
	err := filepath.WalkDir(e.o.Attach, func(dir string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went while we walked
		}
		if err != nil || !d.IsDir() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			if errors.Is(err, unix.ENOENT) {
				return nil
			}
			return err
		}
		seen[st.Ino] = true
		path := "/" + strings.TrimPrefix(strings.TrimPrefix(dir, e.o.CgroupRoot), "/")
		return e.resolve(st.Ino, path)
	})
	if err != nil {
		return fmt.Errorf("reading the cgroup tree: %w", err)
	}
	e.mu.Lock()
	var gone []uint64
	for id := range e.known {
		if !seen[id] {
			gone = append(gone, id)
		}
	}
	e.mu.Unlock()
	// One that an event brought while we walked is not in seen: ask again before it is forgotten.
	for _, id := range gone {
		if err := e.forget(id); err != nil {
			return err
		}
	}
	return nil
}

// Cgroup takes an event: a new cgroup is resolved at once, a removed one forgotten. Errors are logged; what is not
// resolved stays pending, which fails as its scopes do.
func (e *Enrol) Cgroup(ev agent.CgroupEvent) {
	var err error
	if ev.Removed {
		err = e.forget(ev.ID)
	} else {
		err = e.resolve(ev.ID, ev.Path)
	}
	if err != nil {
		e.o.Log.Error("a cgroup could not be resolved", "cgroup", ev.Path, "error", err)
	}
}

func (e *Enrol) resolve(id uint64, path string) error {
	if err := e.o.Kernel.SetCgroup(id, e.cgroupMask(path)); err != nil {
		return err
	}
	e.mu.Lock()
	e.known[id] = true
	e.mu.Unlock()
	return nil
}

func (e *Enrol) forget(id uint64) error {
	e.mu.Lock()
	delete(e.known, id)
	e.mu.Unlock()
	return e.o.Kernel.DelCgroup(id)
}

// cgroupMask has a bit for each scope whose cgroup criteria a path satisfies.
func (e *Enrol) cgroupMask(path string) (mask uint64) {
	for i := range e.o.Scopes {
		m := &e.o.Scopes[i].Match
		if (m.Cgroup != "" || m.Unit != "") && e.inCgroup(m, path) {
			mask |= 1 << i
		}
	}
	return mask
}

// inCgroup says whether a path satisfies the cgroup and unit criteria. A cgroup criterion takes its whole subtree.
func (e *Enrol) inCgroup(m *agent.Match, path string) bool {
	if m.Cgroup != "" && !subtree(m.Cgroup, path) {
		return false
	}
	if m.Unit == "" {
		return true
	}
	unit := e.o.Unit(path)
	return unit != "" && matches(m.Unit, unit)
}

// subtree says whether path, or a folder above it, matches a pattern.
func subtree(pattern, path string) bool {
	for p := strings.TrimSuffix(path, "/"); ; {
		if matches(pattern, p) || p == "" && pattern == "/" {
			return true
		}
		i := strings.LastIndexByte(p, '/')
		if i < 0 {
			return false
		}
		p = p[:i]
	}
}

// matches is filepath.Match; config has checked the pattern, and a bad one matches nothing.
func matches(pattern, name string) bool {
	ok, err := filepath.Match(pattern, name)
	return err == nil && ok
}

// executable reports whether a path satisfies an exe criterion.
func executable(pattern, path string) bool { return path != "" && matches(pattern, path) }
