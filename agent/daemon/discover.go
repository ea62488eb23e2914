// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"slices"
	"sync"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/discover"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// newDiscover plugs the search for LangChain programs together that open no file of a LangChain package.
func (d *daemon) newDiscover() *discover.Discover {
	o := discover.Options{Mark: d.markFound, Unmark: d.kernel.UnmarkLangChain, Judge: d.kernel.Judge,
		Wanted: d.mayBeMarked, Found: d.recognised, Log: d.Log}
	if slices.ContainsFunc(d.cfg.Protect, func(s config.Scope) bool { return s.SearchMemory }) {
		o.Memory = d.maySearch
	}
	return discover.New(o)
}

// mayBeMarked says whether a mark would change anything for a process.
func (d *daemon) mayBeMarked(pid uint32, start uint64) bool {
	w, ok := d.running(pid, start)
	return ok && d.enrol.Mode(&w, true) > agent.ModeOff
}

// maySearch says whether the memory of a process may be searched: a scope says so, and names it but for the mark.
func (d *daemon) maySearch(pid uint32, start uint64) bool {
	var w pipeline.Workload
	for i, s := range d.cfg.Protect {
		if !s.SearchMemory {
			continue
		}
		if w.PID == 0 {
			var ok bool
			if w, ok = d.running(pid, start); !ok {
				return false
			}
		}
		if d.enrol.WouldSelect(i, &w) {
			return true
		}
	}
	return false
}

// running reads what a process is, if it is not one of ours.
func (d *daemon) running(pid uint32, start uint64) (w pipeline.Workload, ok bool) {
	w, err := d.ident.Look(pid)
	if err != nil || w.Start/1e7 != start/1e7 {
		return w, false
	}
	id, err := cgroupID(d.root, w.Cgroup)
	return w, err == nil && id != d.own
}

// markFound notes how a program was recognised before it is marked: a record may be made of its connections right after.
func (d *daemon) markFound(f discover.Finding) (bool, error) {
	d.how.note(f.PID, f.Start, f.How)
	return d.kernel.MarkLangChain(f.PID, f.Start)
}

// recognised treats a program as one that the kernel marked.
func (d *daemon) recognised(f discover.Finding) {
	if f.New {
		d.Log.Info("a LangChain program was recognised", telemetry.KeyPID, f.PID, telemetry.KeyState, f.How)
	}
	d.marks.mark(agent.Mark{Proc: agent.Process{TGID: f.PID, Start: f.Start, LoginUID: agent.NoLogin}, Kind: agent.MarkLangChain})
}

// lookAgain looks at all programs again if some were missed since the last time; unseen is how many had been then.
func (d *daemon) lookAgain(unseen uint64) (uint64, error) {
	lost, err := d.kernel.LostExecs()
	if n := lost + d.discover.Dropped(); err == nil && n != unseen {
		d.Log.Warn("programs started too fast to be looked at one by one, looking at all that run", telemetry.KeyCount, n-unseen)
		d.discover.Again()
		return n, nil
	}
	return unseen, err
}

// manner remembers how programs were recognised, for the records of their connections.
type manner struct {
	mu sync.Mutex
	of map[[2]uint64]string // by pid and tick of the start
}

const maxManners = 16384

func (m *manner) note(pid uint32, start uint64, how string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil || len(m.of) >= maxManners {
		m.of = map[[2]uint64]string{}
	}
	m.of[[2]uint64{uint64(pid), start / 1e7}] = how
}

func (m *manner) get(pid uint32, start uint64) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[[2]uint64{uint64(pid), start / 1e7}]
}

// identifier adds to what a process is how it was recognised.
type identifier struct{ d *daemon }

func (i identifier) Identify(ctx context.Context, p agent.Process) (pipeline.Workload, pipeline.Principal, error) {
	w, who, err := i.d.ident.Identify(ctx, p)
	w.Found = i.d.how.get(p.TGID, p.Start)
	return w, who, err
}
