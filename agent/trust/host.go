// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent/trust/hoststore"
)

// HostMode says what is done for processes in the host's own mount namespace, where nothing is mounted.
type HostMode string

const (
	HostNone  HostMode = "none"  // nothing
	HostFiles HostMode = "files" // the distribution's tool, and a block in each copy of certifi
	HostUnit  HostMode = "unit"  // drop-ins that give units mounts of their own at their next start
)

// hostLedger keeps what hoststore changes in the same ledger as mounts.
type hostLedger struct{ ledger }

func (l hostLedger) Announce(r hoststore.Record) error {
	return l.append(entry{ID: r.ID, Time: r.Time, Host: &r})
}

func (l hostLedger) Over(id, how string) error {
	return l.append(entry{ID: id, Over: how, Time: time.Now().UTC()})
}

func (l hostLedger) Standing() ([]hoststore.Record, error) {
	all, err := l.all()
	if err != nil {
		return nil, err
	}
	var out []hoststore.Record
	for _, e := range all {
		if e.Host != nil {
			out = append(out, *e.Host)
		}
	}
	return out, nil
}

// Lock locks the ledger's folder: the ledger itself is locked for each line.
func (l hostLedger) Lock() (func(), error) {
	dir, err := os.Open(path.Dir(l.path))
	if err != nil {
		return nil, fmt.Errorf("locking the trust stores: %w", err)
	}
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		dir.Close()
		return nil, fmt.Errorf("locking the trust stores: %w", err)
	}
	return func() { dir.Close() }, nil
}

// CopiesOf is where copies for drop-ins lie that belong to a ledger.
func CopiesOf(ledger string) string { return path.Join(path.Dir(ledger), "units") }

// MatchUnits lists the installed units whose names match a pattern, or the one that it names.
func (t *Trust) MatchUnits(pattern string) []string { return t.host.Match(pattern) }

func (t *Trust) openHost() (err error) {
	kinds := map[HostMode][]string{HostFiles: {hoststore.KindAnchor, hoststore.KindBlock}, HostUnit: {hoststore.KindUnit}}[t.opts.Host]
	t.host, err = hoststore.New(hoststore.Options{Ledger: hostLedger{t.ledger}, Roots: t.roots, Kinds: kinds, Step: t.opts.Step,
		Units: hoststore.Units{Dir: t.opts.UnitDir, Copies: t.opts.Copies, RootsFile: t.opts.RootsFile}})
	return err
}

// PrepareHost does what the host's mode asks for before any program starts: the system's store and the files that were
// changed before, or the drop-ins of the units whose names match one of patterns. Its errors name what is not covered;
// the rest is.
func (t *Trust) PrepareHost(ctx context.Context, patterns []string) error {
	if len(t.roots) == 0 {
		return nil
	}
	n, lerr := t.host.Left()
	if n > 0 {
		lerr = errors.Join(lerr, fmt.Errorf("%d changes of the host's files are left from another trust.host than %s: `sallyport trust remove` undoes all", n, t.opts.Host))
	}
	if t.opts.Host != HostFiles && t.opts.Host != HostUnit {
		return lerr
	}
	return t.run(ctx, func() error {
		problems, err := t.host.Look(ctx)
		err = errors.Join(lerr, err)
		for p, e := range problems {
			err = errors.Join(err, fmt.Errorf("%s: %w", p, e))
		}
		if t.opts.Host == HostFiles {
			return errors.Join(err, t.host.System(ctx))
		}
		for _, pattern := range patterns {
			for _, unit := range t.host.Match(pattern) {
				d, uerr := t.PlanUnit(unit, nil)
				if uerr == nil {
					_, uerr = t.host.WriteUnit(ctx, d)
				}
				if uerr != nil {
					err = errors.Join(err, fmt.Errorf("%s: %w", unit, uerr))
				}
			}
		}
		return errors.Join(err, t.coverHost())
	})
}

// WatchHost puts in again what upgrades of packages take out, until ctx ends. problems is told what it cannot do.
func (t *Trust) WatchHost(ctx context.Context, problems func(map[string]error, error)) error {
	if len(t.roots) == 0 || t.opts.Host != HostFiles && t.opts.Host != HostUnit {
		return nil
	}
	return t.host.Watch(ctx, problems)
}

// Host says what is done for the host's own processes, by which tool, and what stands in the way.
func (t *Trust) Host() (mode HostMode, tool, problem string) {
	if t.opts.Host != HostFiles {
		return t.opts.Host, "", ""
	}
	tool, err := t.host.Tool()
	if err != nil {
		problem = err.Error()
	}
	return t.opts.Host, tool, problem
}

// PlanUnit makes the drop-in of a unit, without writing it. files are further stores that its processes read.
func (t *Trust) PlanUnit(unit string, files []string) (*hoststore.DropIn, error) {
	u := t.host.Read(unit)
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	e := evidence{hints: u.Paths, list: func(dir string, n int) []string { return names(root, dir, n) }}
	for _, c := range certifiStores(e) {
		if o, err := resolve(root, c.path); err == nil {
			if !hoststore.IsSystem(o.path) {
				files = append(files, o.path)
			}
			o.close()
		}
	}
	return t.host.Plan(unit, files)
}

// ApplyUnit writes the drop-in of the unit in which a process of the host's namespace runs, with every store that this
// process reads. It applies when the unit is started the next time.
func (t *Trust) ApplyUnit(ctx context.Context, unit string, pid int, start uint64, hints []string) error {
	if t.opts.Host != HostUnit || unit == "" || len(t.roots) == 0 {
		return nil
	}
	return t.run(ctx, func() error {
		w, err := t.hostWork(pid, start)
		if err != nil {
			return err
		}
		defer w.p.close()
		var files []string
		w.hostFiles(hints, func(c candidate, o *object) {
			if c.kind == "certifi" {
				files = append(files, o.path)
			}
		})
		d, err := t.PlanUnit(unit, files)
		if err == nil {
			_, err = t.host.WriteUnit(ctx, d)
		}
		if err != nil {
			return fmt.Errorf("writing a drop-in for %s: %w", unit, err)
		}
		return nil
	})
}

func (t *Trust) hostWork(pid int, start uint64) (*work, error) {
	p, err := openProcess(pid, start)
	if err != nil {
		return nil, err
	}
	if err := p.openRoot(); err != nil {
		p.close()
		return nil, err
	}
	return &work{t: t, p: p, seen: map[key]bool{}, result: Result{MountNS: p.ns, Comm: p.comm}}, nil
}

// hostFiles finds the files that a process reads roots from, each once, but for those of the system's store.
func (w *work) hostFiles(hints []string, do func(candidate, *object)) {
	for _, c := range w.candidates(hints) {
		if c.folder || c.kind == "system" {
			continue
		}
		o, err := resolve(w.p.root, c.path)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			w.skip(c.kind, c.path, err)
			continue
		}
		if !w.seen[o.key()] && !hoststore.IsSystem(o.path) {
			w.seen[o.key()] = true
			do(c, o)
		}
		o.close()
	}
}

// hostReason says why a process of the host's namespace has no trust, with the mend.
func (t *Trust) hostReason(ns uint64) string {
	switch {
	case t.opts.Host == HostFiles && ns != t.self:
		return "it runs in the host's mount namespace, and the agent in another one, where it cannot change the host's files: start sallyportd in the host's"
	case t.opts.Host == HostUnit:
		return "it runs in the host's mount namespace, where nothing is mounted: its unit gets mounts of its own, and our roots, when it is restarted"
	}
	return hostReason
}

// applyHost changes files of the host, for a process in its mount namespace.
func (t *Trust) applyHost(ctx context.Context, p *process, start uint64, hints []string) (Result, error) {
	if t.opts.Host != HostFiles || p.ns != t.self {
		return Result{Outcome: Host, Reason: t.hostReason(p.ns), MountNS: p.ns, Comm: p.comm}, nil
	}
	if err := p.openRoot(); err != nil {
		return Result{}, err
	}
	uid, err := p.realUID()
	if err != nil {
		return Result{}, err
	}
	w := &work{t: t, p: p, seen: map[key]bool{}, result: Result{MountNS: p.ns, Comm: p.comm}}
	if err := t.systemCovered(ctx); err != nil {
		w.skip("system", "the system's store", err)
	} else {
		w.result.Stores = append(w.result.Stores, Store{Kind: "system", Path: "the system's store"})
	}
	missed := 0
	w.hostFiles(hints, func(c candidate, o *object) {
		changed, err := t.host.Cover(hoststore.File{Store: c.kind, Path: o.path, Dev: o.stat.Dev, Ino: o.stat.Ino, UID: uid, PID: p.pid, Comm: p.comm})
		if err != nil {
			w.skip(c.kind, o.path, err)
			if !strings.Contains(o.path, "/pip/_vendor/") {
				missed++
			}
			return
		}
		w.result.Stores = append(w.result.Stores, Store{Kind: c.kind, Path: o.path, New: changed})
	})
	w.conclude()
	if err := t.coverHost(); err != nil {
		w.result.Reason = strings.TrimPrefix(w.result.Reason+"; what it opens is not seen: "+err.Error(), "; ")
	}
	if missed == 0 && t.host.SystemCovered() {
		t.remember(known{p.pid, start, p.ns})
	}
	return w.result, nil
}

// systemCovered sees to the system's store; what is looked at for each program is only the bundle.
func (t *Trust) systemCovered(ctx context.Context) error {
	if t.host.SystemCovered() {
		return nil
	}
	return t.host.System(ctx)
}

// hostTrusted says whether all stores that a process of the host's namespace reads hold our roots now.
func (t *Trust) hostTrusted(p *process, start uint64) (bool, string) {
	if t.opts.Host != HostFiles || p.ns != t.self {
		return false, t.hostReason(p.ns)
	}
	k := known{p.pid, start, p.ns}
	t.mu.Lock()
	yes := t.known[k]
	t.mu.Unlock()
	if yes {
		return true, ""
	}
	if !t.host.SystemCovered() {
		return false, "the system's trust store does not hold our roots (yet): see `sallyport trust status`"
	}
	if lacks := t.lacks(p); lacks != "" {
		return false, lacks + " does not hold our roots (yet): see `sallyport trust status`"
	}
	t.remember(k)
	return true, ""
}

// unitTrusted says the same of a process whose unit was started with a drop-in of ours: there is no mount with our tag.
func (t *Trust) unitTrusted(p *process, start uint64) bool {
	if t.opts.Host != HostUnit || t.lacks(p) != "" {
		return false
	}
	t.remember(known{p.pid, start, p.ns})
	return true
}

// lacks names a file that the process reads roots from and that lacks some of ours; "" if there is none.
func (t *Trust) lacks(p *process) (path string) {
	if err := p.openRoot(); err != nil {
		return err.Error()
	}
	w := &work{t: t, p: p, seen: map[key]bool{}}
	found := 0
	for _, c := range w.candidates(nil) {
		o, err := resolve(p.root, c.path)
		if err != nil || c.folder {
			if err == nil {
				o.close()
			}
			continue // not there, or not to be read
		}
		data, err := o.bytes(maxStore)
		if err == nil && !strings.Contains(o.path, "/pip/_vendor/") {
			if _, added, merr := merge(data, t.roots); merr == nil {
				found++
				if added {
					path = o.path
				}
			}
		}
		o.close()
	}
	if found == 0 {
		return "no trust store, or one that can be read,"
	}
	return path
}

func (t *Trust) remember(k known) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= maxKnown {
		clear(t.known)
	}
	t.known[k] = true
}

// realUID is the user who started the program, and so the one who may have chosen its environment. The owner of the
// process's folder does not tell: a process can hide it.
func (p *process) realUID() (uint32, error) {
	b, err := p.read("status", 64<<10)
	if err != nil {
		return 0, errGone
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Uid:"); ok {
			if f := strings.Fields(v); len(f) > 0 {
				n, err := strconv.ParseUint(f[0], 10, 32)
				return uint32(n), err
			}
		}
	}
	return 0, errors.New("its status has no uid")
}
