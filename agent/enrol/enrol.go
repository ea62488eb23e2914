// SPDX-License-Identifier: Apache-2.0

// Package enrol knows which processes belong to which scope. It turns the configured scopes into rows and masks for the
// kernel programs, keeps the masks current as cgroups and executables come and go, and decides what becomes of a
// connection once the name of its destination is known.
package enrol

import (
	"fmt"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
)

// Kernel is what the programs in the kernel are told and asked (agent/kernel).
//
// If it also has KeepSelection(uids []uint32, exes []agent.File) error, which forgets all users and executables but
// these, that is used instead of ResetSelection: then a restart with the same scopes leaves no moment in which a process
// that is selected by user or executable is in no scope.
type Kernel interface {
	SetScopes([]agent.ScopeRow) error
	SetDefault(mode agent.Mode, closed bool) error
	SetCgroup(id, mask uint64) error
	DelCgroup(id uint64) error
	ResetSelection() error
	SetUID(uid uint32, mask uint64) error
	SetExe(f agent.File, mask uint64) error
	// Marked says whether a thread group carries the LangChain mark.
	Marked(tgid uint32) (agent.MarkKind, bool, error)
}

type keeper interface {
	KeepSelection(uids []uint32, exes []agent.File) error
}

// Trust says what the trust stores of a process say of it (agent/trust).
type Trust interface {
	Trusting(pid int, start uint64) agent.Trusting
}

// Endpoint is one provider host.
type Endpoint struct {
	Name, Host, Protocol string
	BasePath             string
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
	Learned     Learned                        // may be nil: then an endpoint is known by its name alone
	Proofs      Proofs                         // nil: nothing is known or remembered
	Root        func(host string) agent.RootID // of the certificate that a client of a host is shown; nil: there is one root
	Unit        func(cgroup string) string     // systemd unit of a cgroup path
	Host        string                         // names this host among others
	Log         *slog.Logger
}

// Enrol is safe for concurrent use.
type Enrol struct {
	o      Options
	scopes []agent.Scope // with patterns in one form

	// write is held while the kernel is told what selects whom, so that a walk and an event never overtake each other: an
	// event that comes during a walk is later news than what the walk saw.
	write sync.Mutex

	mu        sync.Mutex
	paths     map[uint64]string // of the cgroups that the kernel was told of
	exes      map[agent.File]uint64
	refreshed time.Time
	spared    map[string]uint64 // rows that leave a cgroup alone: see Spare

	resolvers resolvers
	vanished  vanished
	seen      seen
	instances instances
}

// New checks the scopes. It refuses patterns that are none, and scopes that would cut the host off: those that match the
// service manager, remote log-in, a container runtime, the kubelet, or this process.
func New(o Options) (*Enrol, error) {
	if o.ProcRoot == "" {
		o.ProcRoot = "/proc"
	}
	if o.Attach == "" {
		o.Attach = o.CgroupRoot
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if len(o.Scopes) > agent.MaxScopes {
		return nil, fmt.Errorf("%d scopes, the kernel programs hold %d: join some", len(o.Scopes), agent.MaxScopes)
	}
	e := &Enrol{o: o, paths: map[uint64]string{}, exes: map[agent.File]uint64{}, vanished: vanished{of: map[process]*wordless{}},
		seen: seen{of: map[process]*Trusting{}, proc: o.ProcRoot}, resolvers: newResolvers()}
	for _, s := range o.Scopes {
		m := &s.Match
		if len(m.PodLabels) > 0 {
			return nil, fmt.Errorf("scope %s: podLabels are not supported yet: select by unit, cgroup, uid or exe", s.Name)
		}
		if m.Cgroup != "" {
			m.Cgroup = path.Clean("/" + literalEscapes(m.Cgroup))
		}
		m.Unit = literalEscapes(m.Unit)
		for part := range strings.SplitSeq(m.Cgroup+"/"+m.Unit, "/") {
			if _, err := path.Match(part, ""); err != nil {
				return nil, fmt.Errorf("scope %s: %q is no valid pattern: close its [ or end its \\", s.Name, part)
			}
		}
		if m.Cgroup == "" && m.Unit == "" && m.UID == nil && m.Exe == "" && !m.LangChain {
			return nil, fmt.Errorf("scope %s matches everything: set unit, cgroup, uid, exe or langchain", s.Name)
		}
		e.scopes = append(e.scopes, s)
	}
	exes, err := e.executables()
	if err != nil {
		return nil, err
	}
	e.exes = exes
	for i, s := range e.scopes {
		if s.Match.Exe != "" && !slices.ContainsFunc(slices.Collect(maps.Values(exes)), func(mask uint64) bool { return mask&(1<<i) != 0 }) {
			o.Log.Warn("there is no such executable: the scope matches nothing until there is", "scope", s.Name, "path", s.Match.Exe)
		}
	}
	return e, e.refuseVital()
}

// Scopes are the configured scopes, in order.
func (e *Enrol) Scopes() []agent.Scope { return e.o.Scopes }

// Apply tells the kernel everything: what selects whom first, then the rows that use it.
func (e *Enrol) Apply() error {
	rows := make([]agent.ScopeRow, len(e.scopes))
	uids := map[uint32]uint64{}
	for i, s := range e.scopes {
		m := &s.Match
		rows[i] = agent.ScopeRow{Name: s.Name, Mode: s.Mode, Closed: s.Closed || s.Mode == agent.ModeEnforce, NeedCgroup: m.Cgroup != "" || m.Unit != "",
			NeedUID: m.UID != nil, NeedExe: m.Exe != "", NeedMark: m.LangChain}
		if m.UID != nil {
			uids[*m.UID] |= 1 << i
		}
	}
	if err := e.selection(uids); err != nil {
		return err
	}
	if err := e.Rescan(); err != nil {
		return err
	}
	if err := e.o.Kernel.SetScopes(rows); err != nil {
		return err
	}
	return e.o.Kernel.SetDefault(e.o.DefaultMode, e.o.DefaultMode == agent.ModeEnforce)
}

// selection tells the kernel which users and executables satisfy which rows, and lets it forget all others.
func (e *Enrol) selection(uids map[uint32]uint64) error {
	e.write.Lock()
	defer e.write.Unlock()
	k, keeps := e.o.Kernel.(keeper)
	if !keeps {
		if err := e.o.Kernel.ResetSelection(); err != nil {
			return err
		}
	}
	var keepUIDs []uint32
	for uid, mask := range uids {
		keepUIDs = append(keepUIDs, uid)
		if err := e.o.Kernel.SetUID(uid, mask); err != nil {
			return err
		}
	}
	e.mu.Lock()
	exes := e.exes
	e.mu.Unlock()
	var keepExes []agent.File
	for f, mask := range exes {
		keepExes = append(keepExes, f)
		if err := e.o.Kernel.SetExe(f, mask); err != nil {
			return err
		}
	}
	if keeps {
		return k.KeepSelection(keepUIDs, keepExes)
	}
	return nil
}
