// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-dev/sallyport/agent"
)

// fakeKernel keeps what it is told and selects as redirect.bpf.c does.
type fakeKernel struct {
	mu      sync.Mutex
	rows    []agent.ScopeRow
	cgroups map[uint64]uint64
	uids    map[uint32]uint64
	exes    map[agent.File]uint64
	mode    agent.Mode
	closed  bool
	marks   map[uint32]bool
	fail    map[string]error // by method
	resets  int
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{cgroups: map[uint64]uint64{}, uids: map[uint32]uint64{}, exes: map[agent.File]uint64{}, marks: map[uint32]bool{}, fail: map[string]error{}}
}

func (k *fakeKernel) SetScopes(r []agent.ScopeRow) error { k.rows = r; return k.fail["SetScopes"] }
func (k *fakeKernel) SetDefault(m agent.Mode, closed bool) error {
	k.mode, k.closed = m, closed
	return k.fail["SetDefault"]
}
func (k *fakeKernel) SetCgroup(id, mask uint64) error {
	if err := k.fail["SetCgroup"]; err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cgroups[id] = mask
	return nil
}
func (k *fakeKernel) DelCgroup(id uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.cgroups, id)
	return k.fail["DelCgroup"]
}
func (k *fakeKernel) ResetSelection() error {
	k.resets++
	clear(k.uids)
	clear(k.exes)
	return k.fail["ResetSelection"]
}
func (k *fakeKernel) SetUID(uid uint32, mask uint64) error {
	k.uids[uid] = mask
	return k.fail["SetUID"]
}
func (k *fakeKernel) SetExe(f agent.File, mask uint64) error {
	k.exes[f] = mask
	return k.fail["SetExe"]
}
func (k *fakeKernel) Marked(pid uint32) (agent.MarkKind, bool, error) {
	if err := k.fail["Marked"]; err != nil {
		return 0, false, err
	}
	return agent.MarkLangChain, k.marks[pid], nil
}

// scope is select_scope of the program; none is -1.
func (k *fakeKernel) scope(cgroup uint64, uid uint32, exe agent.File, marked bool) int64 {
	var match, needCgroup, needUID, needExe, needMark uint64
	for i, r := range k.rows {
		bit := uint64(1) << i
		match |= bit
		for _, n := range []struct {
			is   bool
			mask *uint64
		}{{r.NeedCgroup, &needCgroup}, {r.NeedUID, &needUID}, {r.NeedExe, &needExe}, {r.NeedMark, &needMark}} {
			if n.is {
				*n.mask |= bit
			}
		}
	}
	if !marked {
		match &^= needMark
	}
	mask, known := k.cgroups[cgroup]
	if known {
		match &= mask | ^needCgroup
	}
	match &= (k.uids[uid] | ^needUID) & (k.exes[exe] | ^needExe)
	if match != 0 {
		row := bits.TrailingZeros64(match)
		if !known && needCgroup&(1<<row) != 0 {
			return int64(agent.ScopePending)
		}
		return int64(row)
	}
	if marked {
		return int64(agent.ScopeDefault)
	}
	return -1
}

// keepingKernel can also forget selectively.
type keepingKernel struct{ *fakeKernel }

func (k keepingKernel) KeepSelection(uids []uint32, exes []agent.File) error {
	keep, files := map[uint32]uint64{}, map[agent.File]uint64{}
	for _, u := range uids {
		keep[u] = k.uids[u]
	}
	for _, f := range exes {
		files[f] = k.exes[f]
	}
	k.uids, k.exes = keep, files
	return k.fail["KeepSelection"]
}

// fakeTrust trusts some pids.
type fakeTrust map[int]bool

func (f fakeTrust) Trusting(pid int, _ uint64) agent.Trusting {
	if f[pid] {
		return agent.Trusting{State: agent.TrustUnread, Kind: "python", Why: "not read", Mend: "restart it"}
	}
	return agent.Trusting{State: agent.TrustMissing, Kind: "python", Why: "not in its store", Mend: "add it"}
}

// fakeRoot is the root of every host.
const fakeRoot = agent.RootID(7)

// fakeProofs is what the kernel would know, by pid and start.
type fakeProofs struct {
	mu  sync.Mutex
	of  map[[2]uint64]agent.Proofs
	err error
}

func (f *fakeProofs) Proofs(pid int, start uint64) (agent.Proofs, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of[[2]uint64{uint64(pid), start}], f.err
}

func (f *fakeProofs) Shaken(pid int, start uint64, root agent.RootID, good bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := [2]uint64{uint64(pid), start}
	p := f.of[k]
	if good {
		p.Good = append(p.Good, root)
	} else {
		p.Bad = append(p.Bad, root)
	}
	f.of[k] = p
	return f.err
}

// opened says that a process has opened a store with these roots in it.
func (f *fakeProofs) opened(pid int, start uint64, roots ...agent.RootID) {
	f.of[[2]uint64{uint64(pid), start}] = agent.Proofs{Opens: []agent.StoreOpen{{Roots: roots, Since: 1}}}
}

// host is a folder with a cgroup tree and a /proc of its own.
type host struct {
	t      *testing.T
	dir    string
	kernel *fakeKernel
	trust  fakeTrust
	proofs *fakeProofs
	log    bytes.Buffer
}

func newHost(t *testing.T) *host {
	h := &host{t: t, dir: t.TempDir(), kernel: newFakeKernel(), trust: fakeTrust{}, proofs: &fakeProofs{of: map[[2]uint64]agent.Proofs{}}}
	for _, d := range []string{"cg", "proc/self/ns", "bin"} {
		h.must(os.MkdirAll(filepath.Join(h.dir, d), 0o755))
	}
	h.must(os.Symlink("pid:[1]", filepath.Join(h.dir, "proc/self/ns/pid")))
	return h
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// cgroup makes a cgroup and returns its id.
func (h *host) cgroup(path string) uint64 {
	h.t.Helper()
	dir := filepath.Join(h.dir, "cg", path)
	h.must(os.MkdirAll(dir, 0o755))
	id, err := inode(dir)
	h.must(err)
	return id
}

// program makes an executable.
func (h *host) program(name string) string {
	h.t.Helper()
	path := filepath.Join(h.dir, "bin", name)
	h.must(os.MkdirAll(filepath.Dir(path), 0o755))
	h.must(os.WriteFile(path, []byte(name), 0o755))
	return path
}

// process makes a process.
func (h *host) process(pid int, cgroup string, uid uint32, exe, ns string) {
	h.t.Helper()
	dir := filepath.Join(h.dir, "proc", strconv.Itoa(pid))
	h.must(os.MkdirAll(filepath.Join(dir, "ns"), 0o755))
	h.must(os.WriteFile(filepath.Join(dir, "cgroup"), []byte("3:cpu:/x\n0::"+cgroup+"\n"), 0o644))
	h.must(os.WriteFile(filepath.Join(dir, "status"), fmt.Appendf(nil, "Name:\tx\nUid:\t%d\t7\t7\t7\n", uid), 0o644))
	h.must(os.Symlink(exe, filepath.Join(dir, "exe")))
	h.must(os.Symlink(ns, filepath.Join(dir, "ns", "pid")))
}

// unit is a stand-in for the rules of agent/workload.
func unit(cgroup string) string {
	for part := range strings.SplitSeq(cgroup, "/") {
		if strings.HasSuffix(part, ".service") {
			return part
		}
	}
	return ""
}

func (h *host) options(scopes ...agent.Scope) Options {
	return Options{Scopes: scopes, DefaultMode: agent.ModeDiscover, CgroupRoot: filepath.Join(h.dir, "cg"), ProcRoot: filepath.Join(h.dir, "proc"),
		Kernel: h.kernel, Trust: h.trust, Proofs: h.proofs, Root: func(string) agent.RootID { return fakeRoot }, Unit: unit, Log: slog.New(slog.NewTextHandler(&h.log, nil)), Endpoints: []Endpoint{
			{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443, UpstreamCA: []byte("pem")},
			{Name: "local", Host: "127.0.0.1", Protocol: "openai", Port: 11434, Plain: true},
			{Name: "plain", Host: "llm.internal", Protocol: "openai", BasePath: "/openai/v1", Port: 8000, Plain: true},
		}}
}

func (h *host) enrol(o Options) *Enrol {
	h.t.Helper()
	e, err := New(o)
	h.must(err)
	h.must(e.Apply())
	return e
}

func file(t *testing.T, name string) agent.File {
	t.Helper()
	f, err := fileOf(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func ptr[T any](v T) *T { return &v }

var errFake = errors.New("the kernel does not want to")
