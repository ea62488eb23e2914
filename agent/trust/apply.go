// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// maxLayers and maxLaid bound what is mounted for one process at once: its copies take our memory.
const (
	maxLayers = 64
	maxLaid   = 32 << 20
)

// work is one Apply under way.
type work struct {
	t       *Trust
	p       *process
	table   map[int]mount // by mount ID
	shared  map[int]bool  // peer groups that the host's mounts belong to
	seen    map[key]bool
	layers  []*layer
	folders []*layer // those of layers that are folders
	size    int      // bytes that layers take
	result  Result
}

func (t *Trust) apply(ctx context.Context, pid int, start uint64, hints []string) (Result, error) {
	p, err := openProcess(pid, start)
	if err != nil {
		return Result{}, err
	}
	defer p.close()
	if t.hostNS[p.ns] {
		return t.applyHost(ctx, p, start, hints)
	}
	defer t.hold(p.ns)()
	if err := p.openRoot(); err != nil {
		return Result{}, err
	}
	nsFD, err := p.openNS()
	if err != nil {
		return Result{}, err
	}
	defer unix.Close(nsFD)
	w := &work{t: t, p: p, table: map[int]mount{}, seen: map[key]bool{}, result: Result{MountNS: p.ns, Comm: p.comm}}
	defer func() {
		for _, l := range w.layers {
			l.target.close()
		}
	}()
	if host, err := w.tables(nsFD); err != nil {
		return Result{}, err
	} else if host {
		w.result.Outcome, w.result.Reason = Host, t.hostReason(p.ns)
		return w.result, nil
	}
	if err := w.plan(w.candidates(hints)); err != nil {
		return Result{}, err
	}
	if len(w.layers) > 0 {
		if err := w.mount(nsFD, start); err != nil {
			return Result{}, err
		}
	}
	w.conclude()
	if len(w.result.Stores) > 0 && t.opts.Opens != nil {
		if err := supported(t.opts.Opens.Watch(pid, start)); err != nil {
			w.result.Reason = strings.TrimPrefix(w.result.Reason+"; what it opens is not seen: "+err.Error(), "; ")
		}
	}
	return w.result, nil
}

// tables reads the mount table of the namespace, and which peer groups the host's mounts belong to. It says whether the
// two share a mount: IDs of mounts are unique across namespaces, so this tells the host's namespace where the one of
// the first process cannot be read.
func (w *work) tables(nsFD int) (host bool, err error) {
	table, err := mountsIn(nsFD)
	if err != nil {
		return false, err
	}
	for _, m := range table {
		w.table[m.id] = m
	}
	w.shared = map[int]bool{}
	for _, pid := range hostPIDs() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err != nil {
			return false, fmt.Errorf("reading the host's mount table: %w", err)
		}
		list, err := parseMounts(string(b))
		if err != nil {
			return false, err
		}
		for _, m := range list {
			if m.peers != 0 {
				w.shared[m.peers] = true // what is mounted onto a mount of the group appears there too
			}
			if _, both := w.table[m.id]; both {
				host = true
			}
		}
	}
	return host, nil
}

// candidates are the places where the process may have stores, folders first.
func (w *work) candidates(hints []string) []candidate {
	e := evidence{hints: hints, env: w.p.environ(), exe: w.p.link("exe"), cwd: w.p.link("cwd"),
		list: func(dir string, n int) []string { return names(w.p.root, dir, n) }}
	if b, err := w.p.read("cmdline", maxEnviron); err == nil {
		e.argv0, _, _ = strings.Cut(string(b), "\x00")
	}
	if b, err := w.p.read("maps", maxMaps); err == nil {
		e.maps = string(b)
	}
	all := append(systemStores(), variableStores(e.env, e.cwd)...)
	all = append(all, certifiStores(e)...)
	for _, h := range hints { // where links lead that name a Java machine
		if path.IsAbs(h) && path.Base(h) == kindJava {
			if o, err := resolve(w.p.root, h); err == nil {
				e.programs = append(e.programs, o.path)
				o.close()
			}
		}
	}
	all = append(all, javaStores(e)...)
	var folders, files []candidate
	for _, c := range all {
		if c.folder {
			folders = append(folders, c)
		} else {
			files = append(files, c)
		}
	}
	return append(folders, files...)
}

// plan decides what is mounted where. Files are resolved first, because folders that hold one merge it themselves.
func (w *work) plan(all []candidate) error {
	type found struct {
		candidate
		o *object
	}
	var list []found
	bundles := map[key]bool{}
	defer func() {
		for _, f := range list {
			if f.o != nil {
				f.o.close()
			}
		}
	}()
	for _, c := range all {
		o, err := resolve(w.p.root, c.path)
		var no *agent.Unsupported
		switch {
		case errors.As(err, &no):
			return err
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			continue
		case err != nil:
			w.skip(c.kind, c.path, err)
			continue
		case w.seen[o.key()]:
			o.close()
			continue
		}
		w.seen[o.key()] = true
		if !c.folder {
			bundles[o.key()] = true
		}
		list = append(list, found{c, o})
	}
	for i, f := range list {
		node, err := w.look(f.candidate, f.o, bundles)
		if err == nil && node != nil && len(w.layers) == maxLayers {
			err = fmt.Errorf("more than %d stores", maxLayers)
		}
		if err == nil && node != nil && w.size+node.size() > maxLaid {
			err = fmt.Errorf("the stores of this process take more than %d bytes", maxLaid)
		}
		if err != nil {
			w.skip(f.kind, f.o.path, err)
		}
		if err != nil || node == nil {
			continue
		}
		l := &layer{entry: entry{Store: f.kind, Path: f.o.path}, target: f.o, node: node}
		list[i].o = nil // the layer closes it
		w.layers = append(w.layers, l)
		w.size += node.size()
		if f.folder {
			w.folders = append(w.folders, l)
		}
	}
	return nil
}

// look decides about one place: what to mount there, or nil if it needs nothing.
func (w *work) look(c candidate, o *object, bundles map[key]bool) (*node, error) {
	m, ok := w.table[o.mount]
	if !ok {
		return nil, errors.New("its mounts changed meanwhile")
	}
	if tag, ours := m.ours(); ours && w.t.current(tag) {
		if err := w.t.cover(o.fd, true); err != nil {
			return nil, err
		}
		w.result.Stores = append(w.result.Stores, Store{Kind: c.kind, Path: o.path})
		return nil, nil
	}
	if w.shared[m.peers] {
		return nil, errors.New("it lies on a mount that is shared with the host: make the namespace private (mount --make-rprivate /)")
	}
	if c.folder {
		return w.lookFolder(c, o, bundles)
	}
	for _, f := range w.folders {
		if strings.HasPrefix(o.path, f.target.path+"/") {
			return nil, nil // its copy holds our roots
		}
	}
	data, err := o.bytes(maxStore)
	if err != nil {
		return nil, err
	}
	merged, added, err := mergeStore(data, w.t.roots)
	switch {
	case errors.Is(err, errNoCert) && (c.kind == "system" || c.kind == "java"):
		return nil, nil // an empty bundle trusts nobody: that is its owner's wish
	case err != nil:
		return nil, err
	case !added:
		if err := w.t.cover(o.fd, false); err != nil {
			return nil, err
		}
		w.result.Stores = append(w.result.Stores, Store{Kind: c.kind, Path: o.path})
		return nil, nil
	}
	return &node{data: merged, stat: o.stat}, nil
}

func (w *work) lookFolder(c candidate, o *object, bundles map[key]bool) (*node, error) {
	if o.stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, errors.New("it is not a folder")
	}
	n, err := snapshot(o, bundles, w.t.roots, &budget{maxFolder, maxNames}, 0)
	if err != nil {
		return nil, err
	}
	taken, linked := map[string]bool{}, false
	for _, child := range n.folder {
		taken[child.name] = true
		linked = linked || isHashLink(child.name)
	}
	if !linked && c.kind == "variable" {
		return nil, errors.New("it holds no certificate under its hash")
	}
	if !linked && !n.changed {
		return nil, nil // no store: a bundle elsewhere is what this system reads
	}
	for _, link := range w.t.links {
		name := ""
		for i := 0; name == "" || taken[name]; i++ {
			name = fmt.Sprintf("%s.%d", link.hash, i)
		}
		taken[name] = true
		st := unix.Stat_t{Mode: unix.S_IFREG | 0o644, Mtim: o.stat.Mtim}
		n.folder = append(n.folder, &node{name: name, data: link.pem, stat: st})
	}
	return n, nil
}

// mount announces the layers in the ledger and lays them.
func (w *work) mount(nsFD int, start uint64) error {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return err
	}
	tag := tagPrefix + w.t.digest + "-" + hex.EncodeToString(random[:])
	var announced []entry
	for i, l := range w.layers {
		e := &l.entry
		e.ID, e.Tag, e.Time, e.Boot = fmt.Sprintf("%s/%d", tag, i), tag, time.Now().UTC(), w.t.boot
		e.NS, e.PID, e.Start, e.Comm = w.p.ns, w.p.pid, start, w.p.comm
		announced = append(announced, *e)
	}
	if err := w.t.ledger.append(announced...); err != nil {
		return err
	}
	err := lay(nsFD, tag, w.layers, func(fs int) error { return w.t.cover(fs, true) })
	var over []entry
	for _, l := range w.layers {
		if err != nil || l.err != nil {
			over = append(over, entry{ID: l.entry.ID, Over: "failed", Time: time.Now().UTC()})
		}
		switch {
		case err != nil:
		case l.err != nil:
			w.skip(l.entry.Store, l.entry.Path, l.err)
		default:
			w.result.Stores = append(w.result.Stores, Store{Kind: l.entry.Store, Path: l.entry.Path, New: true})
		}
	}
	return errors.Join(err, w.t.ledger.append(over...))
}

func (w *work) skip(kind, path string, err error) {
	w.result.Skipped = append(w.result.Skipped, Skip{kind, path, err.Error()})
}

// conclude says in one line how it went.
func (w *work) conclude() {
	r := &w.result
	switch {
	case len(r.Stores) > 0 && len(r.Skipped) == 0:
		r.Outcome = Covered
	case len(r.Stores) > 0:
		r.Outcome = Partly
	case len(r.Skipped) > 0:
		r.Outcome = Failed
	default:
		r.Outcome = Nothing
		r.Reason = "no trust store was found in its file system: install ca-certificates there"
	}
	if len(r.Skipped) > 0 {
		s := r.Skipped[0]
		r.Reason = fmt.Sprintf("%s: %s", s.Path, s.Reason)
		if n := len(r.Skipped) - 1; n > 0 {
			r.Reason += fmt.Sprintf(" (and %d more)", n)
		}
	}
}
