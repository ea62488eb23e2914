// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/kernel/cover"
	"github.com/sallyport-dev/sallyport/agent/kernel/execs"
	"github.com/sallyport-dev/sallyport/agent/kernel/learn"
	"github.com/sallyport-dev/sallyport/agent/kernel/sockets"
	"github.com/sallyport-dev/sallyport/agent/kernel/survey"
	"github.com/sallyport-dev/sallyport/bpf"
)

// DefaultPinDir is where links and maps are pinned.
const DefaultPinDir = "/sys/fs/bpf/sallyport"

// ErrMiss says that a connection has no record: nobody of ours redirected it, or its socket is gone already.
var ErrMiss = errors.New("no record of this connection")

// Options says where to attach.
type Options struct {
	Cgroup     string // folder in a cgroup v2 hierarchy; its whole subtree is seen
	PinDir     string // folder in a bpffs; made if missing
	Generation uint32 // stamped on every record
	Guard      bool   // there is no agent yet: events come through a buffer of our own, so that the agent's stays whole for it
}

// Kernel is our programs in the kernel and the maps between us. Its methods may be used by several goroutines.
type Kernel struct {
	o        Options
	redirect *ebpf.Collection
	track    *ebpf.Collection // nil if the kernel refused it: see Refused
	cgroup   *ebpf.Collection // the same
	dns      *ebpf.Collection // the same
	cover    *ebpf.Collection // the same
	exec     *ebpf.Collection // the same
	sockets  *sockets.Sockets // the same
	learner  *learn.Learner
	proof    *cover.Proof
	netns    *ebpf.Collection // the same
	mounted  []string

	heart    sync.Mutex
	departed bool // the heartbeat is left to the next agent; heart guards it and pulse
	pulse    pulse

	mu       sync.Mutex // guards what follows
	cfg      bpf.RedirectConfig
	attached []string
	refused  map[string]error
}

// Oldest kernels that are known to grant a capability: redirect needs bpf_set_retval in cgroup programs, the others
// pinned links of tracepoints.
const (
	minRedirect = "5.18"
	minTracing  = "5.17"
)

// layout is LAYOUT of bpf/include/types.h.
const layout = 2

// Load loads the programs, taking over the maps of pins that an earlier daemon left. Nothing is attached yet: set
// everything first, then Attach.
func Load(o Options) (_ *Kernel, err error) {
	if o.PinDir == "" {
		o.PinDir = DefaultPinDir
	}
	o.Cgroup = filepath.Clean(o.Cgroup)
	mounted, untraced, err := prepare(o.PinDir)
	if err != nil {
		return nil, err
	}
	made, err := mkdir(o.PinDir)
	if err != nil {
		return nil, err
	}
	k := &Kernel{o: o, mounted: mounted, refused: map[string]error{}}
	if untraced != nil {
		k.refused["tracefs"] = untraced
	}
	defer func() {
		if err != nil {
			k.Close()
			if made { // nothing half-installed
				err = errors.Join(err, os.RemoveAll(o.PinDir))
			}
		}
	}()
	if k.redirect, err = k.collection(bpf.LoadRedirect, nil); err != nil {
		return nil, fmt.Errorf("loading the redirection programs: %w", explain("redirection", minRedirect, err))
	}
	shared := map[string]*ebpf.Map{}
	for _, name := range []string{bpf.RedirectMapMarks, bpf.RedirectMapErrors, bpf.RedirectMapCgroups} {
		shared[name] = k.redirect.Maps[name]
	}
	if k.track, err = k.collection(bpf.LoadTrack, shared); err != nil {
		k.refused["track"] = explain("marking LangChain programs", minTracing, err)
	}
	if k.track != nil {
		shared[bpf.TrackMapEvents] = k.track.Maps[bpf.TrackMapEvents]
	}
	if k.cgroup, err = k.collection(bpf.LoadCgroup, shared); err != nil {
		k.refused["cgroup"] = explain("noticing new cgroups", minTracing, err)
	}
	k.loadLearner()
	k.loadCover()
	k.openSockets()
	if k.exec, err = k.collection(bpf.LoadExec, shared); err != nil {
		k.refused["exec"] = explain(featureExecs, minTracing, err)
	}
	k.loadNetns()
	if err := k.active(&k.cfg); err != nil {
		return nil, err
	}
	if k.cfg.Layout != 0 && k.cfg.Layout != layout {
		return nil, fmt.Errorf("loading the redirection programs: %w", errLayout)
	}
	if k.cfg.StaleNs == 0 {
		k.cfg.StaleNs = uint64(StaleAfter)
	}
	return k, nil
}

// mkdir says whether it made the folder.
func mkdir(dir string) (bool, error) {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("making the folder for pins: %w", err)
	}
	return true, nil
}

// private maps belong to one object and are not pinned.
var private = map[string]bool{".rodata": true, ".bss": true, ".data": true, "opening": true, "path": true}

func (k *Kernel) collection(load func() (*ebpf.CollectionSpec, error), shared map[string]*ebpf.Map) (*ebpf.Collection, error) {
	spec, err := load()
	if err != nil {
		return nil, err
	}
	id, level := subtree(k.o.Cgroup)
	for name, value := range map[string]any{"generation": k.o.Generation, "within": id, "within_level": level, "rules": execs.Rules} {
		if v := spec.Variables[name]; v != nil {
			if err := v.Set(value); err != nil {
				return nil, fmt.Errorf("setting %s: %w", name, err)
			}
		}
	}
	replace := map[string]*ebpf.Map{}
	for name, m := range spec.Maps {
		if shared[name] != nil {
			replace[name] = shared[name]
		} else if !private[name] && name[0] != '.' && !(k.o.Guard && name == bpf.TrackMapEvents) {
			m.Pinning = ebpf.PinByName
		}
	}
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replace, Maps: ebpf.MapOptions{PinPath: k.o.PinDir}})
}

var errLayout = errors.New("the pinned maps are those of another version: run 'sallyportd uninstall' first")

// explain turns what the kernel said into what a person can do about it.
func explain(feature, minKernel string, err error) error {
	return explainLacking(survey.Lacking(), feature, minKernel, err)
}

// explainLacking is explain for a process that lacks these capabilities. A kernel often says "invalid argument" to who may
// not use a helper, so what is missing is the better reason.
func explainLacking(lacking []string, feature, minKernel string, err error) error {
	switch {
	case errors.Is(err, ebpf.ErrMapIncompatible):
		return fmt.Errorf("%w: %w", errLayout, err)
	case len(lacking) > 0 && (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EINVAL) || errors.Is(err, ebpf.ErrNotSupported)):
		return &agent.Unsupported{Feature: feature, Err: fmt.Errorf("missing %s: grant it (systemd: AmbientCapabilities=, CapabilityBoundingSet=): %w", strings.Join(lacking, ", "), err)}
	case errors.Is(err, unix.EPERM):
		return &agent.Unsupported{Feature: feature, Err: fmt.Errorf("the kernel refuses it: run as root with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: %w", err)}
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return &agent.Unsupported{Feature: feature, MinKernel: minKernel, Err: err}
	}
	return err
}

// hooks are the cgroup programs and where they go.
var hooks = []struct {
	name string
	at   ebpf.AttachType
}{
	{bpf.RedirectProgSockOps, ebpf.AttachCGroupSockOps},
	{bpf.RedirectProgGetpeername4, ebpf.AttachCgroupInet4GetPeername},
	{bpf.RedirectProgGetpeername6, ebpf.AttachCgroupInet6GetPeername},
	{bpf.RedirectProgConnect4, ebpf.AttachCGroupInet4Connect},
	{bpf.RedirectProgConnect6, ebpf.AttachCGroupInet6Connect},
	{bpf.RedirectProgSendmsg4, ebpf.AttachCGroupUDP4Sendmsg},
	{bpf.RedirectProgSendmsg6, ebpf.AttachCGroupUDP6Sendmsg},
}

// Attach attaches and pins all programs: sockops before connect, so that no connection is redirected without a record. Called
// again, it puts back what somebody detached. Programs that an earlier daemon attached are replaced in place. On error, what this call newly attached is detached.
func (k *Kernel) Attach() (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.attached = nil
	fresh := map[string]link.Link{}
	defer func() {
		for name, l := range fresh {
			if err != nil {
				os.Remove(k.pin(name))
			}
			l.Close()
		}
	}()
	for _, h := range hooks {
		if err := k.hook(h.name, h.at, k.redirect.Programs[h.name], fresh); err != nil {
			return err
		}
	}
	k.attachLearner(fresh)
	k.attachCover()
	k.attachTracing("track", k.track)
	k.attachTracing("cgroup", k.cgroup)
	k.attachTracing("exec", k.exec) // behind track: what that drops at exec, this one sets
	k.attachTracing("netns", k.netns)
	return nil
}

// hook attaches and pins one cgroup program, or puts it in the place of its predecessor.
func (k *Kernel) hook(name string, at ebpf.AttachType, prog *ebpf.Program, fresh map[string]link.Link) error {
	updated, err := k.update(name, prog)
	if err != nil {
		return err
	}
	if updated {
		k.attached = append(k.attached, name)
		return nil
	}
	l, err := link.AttachCgroup(link.CgroupOptions{Path: k.o.Cgroup, Attach: at, Program: prog})
	if err != nil {
		return fmt.Errorf("attaching %s to %s: %w", name, k.o.Cgroup, explain("redirection", minRedirect, err))
	}
	// What was attached elsewhere goes only now: in between a connection may be closed, but none goes direct.
	if err := os.Remove(k.pin(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing a stale pin: %w", errors.Join(err, l.Close()))
	}
	if err := l.Pin(k.pin(name)); err != nil {
		return fmt.Errorf("pinning %s: %w", name, errors.Join(err, l.Close()))
	}
	fresh[name] = l
	k.attached = append(k.attached, name)
	return nil
}

// update replaces the program of a pinned link, if there is one and it is attached where we want to be.
func (k *Kernel) update(name string, prog *ebpf.Program) (bool, error) {
	l, err := link.LoadPinnedLink(k.pin(name), nil)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the pin of %s: %w", name, err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return false, fmt.Errorf("reading the pin of %s: %w", name, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(k.o.Cgroup, &st); err != nil {
		return false, fmt.Errorf("looking at %s: %w", k.o.Cgroup, err)
	}
	if c := info.Cgroup(); c == nil || c.CgroupId != st.Ino {
		return false, nil // that of another folder, or of one that is gone
	}
	return l.Update(prog) == nil, nil
}

// tracepoints maps the programs that hang on a syscall to it.
var tracepoints = map[string]string{
	bpf.TrackProgEnterOpenat: "sys_enter_openat", bpf.TrackProgExitOpenat: "sys_exit_openat",
	bpf.TrackProgEnterOpenat2: "sys_enter_openat2", bpf.TrackProgExitOpenat2: "sys_exit_openat2",
	bpf.TrackProgEnterOpen: "sys_enter_open", bpf.TrackProgExitOpen: "sys_exit_open",
	bpf.NetnsProgExitSetns: "sys_exit_setns", bpf.NetnsProgExitUnshare: "sys_exit_unshare",
}

// attachTracing attaches an optional object. These links cannot be updated, so the new one is attached beside the old one
// before that goes: both do the same, twice is harmless.
func (k *Kernel) attachTracing(object string, c *ebpf.Collection) {
	if c == nil {
		return
	}
	for name, prog := range c.Programs {
		if k.holds(name, prog) { // attached before, and nobody took its pin away
			k.attached = append(k.attached, name)
			continue
		}
		var l link.Link
		var err error
		if tp := tracepoints[name]; tp != "" {
			l, err = link.Tracepoint("syscalls", tp, prog, nil)
			if errors.Is(err, os.ErrNotExist) && (name == bpf.TrackProgEnterOpen || name == bpf.TrackProgExitOpen) {
				continue // arm64 has no open(2)
			}
		} else {
			l, err = link.AttachTracing(link.TracingOptions{Program: prog})
		}
		if err != nil {
			k.refused[object+"/"+name] = explain("attaching "+name, minTracing, err)
			continue
		}
		if err := os.Remove(k.pin(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			k.refused[object+"/"+name] = errors.Join(err, l.Close())
			continue
		}
		if err := l.Pin(k.pin(name)); err != nil {
			k.refused[object+"/"+name] = errors.Join(err, l.Close())
			continue
		}
		l.Close()
		k.attached = append(k.attached, name)
	}
}

// holds says whether a pinned link is one of this very program.
func (k *Kernel) holds(name string, prog *ebpf.Program) bool {
	l, err := link.LoadPinnedLink(k.pin(name), nil)
	if err != nil {
		return false
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return false
	}
	own, err := prog.Info()
	if err != nil {
		return false
	}
	id, ok := own.ID()
	return ok && id == info.Program
}

func (k *Kernel) pin(program string) string { return filepath.Join(k.o.PinDir, "link_"+program) }

// Attached lists the attached programs.
func (k *Kernel) Attached() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.attached...)
}

// Refused says which optional capabilities this kernel did not grant, and why.
func (k *Kernel) Refused() map[string]error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.refused)
}

// Mounted lists the file systems that Load had to mount. They stay mounted.
func (k *Kernel) Mounted() []string { return k.mounted }

// Close lets go of programs and maps; what is pinned stays in force. Other methods, Listen among them, have returned before.
func (k *Kernel) Close() {
	if k.sockets != nil {
		k.sockets.Close()
	}
	for _, c := range []*ebpf.Collection{k.redirect, k.track, k.cgroup, k.dns, k.cover, k.exec, k.netns} {
		if c != nil {
			c.Close()
		}
	}
}
