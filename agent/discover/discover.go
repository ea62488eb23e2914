// SPDX-License-Identifier: Apache-2.0

// Package discover finds out which processes are LangChain programs although they open no file of a LangChain package:
// zip archives, PEX, PyInstaller, bundles of JavaScript, Go programs, and what ran before the agent came. It looks at what a
// process runs (its executable, its script, its bundle), never at what it merely reads, so that tar, grep and pip stay what
// they are.
//
// A mark is discovery, not the boundary: a program can hide from all of this. What must not get by is named by a scope.
package discover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
)

// Options are what the package needs of others.
type Options struct {
	// Mark gives a process the mark; false if it has it already. Unmark takes it away.
	Mark   func(Finding) (bool, error)
	Unmark func(pid uint32, start uint64) error
	// Judge remembers in the kernel what an executable is whatever its arguments are.
	Judge func(p agent.Program, is bool) error
	// Wanted says whether a process may be looked at; nil = all may.
	Wanted func(pid uint32, start uint64) bool
	// Memory says whether the memory of a process may be searched; nil = of none.
	Memory func(pid uint32, start uint64) bool
	// Found is told of each process that was recognised, and how; of a process that carries the mark already too.
	Found func(Finding)
	Log   *slog.Logger

	proc string // "/proc"
}

// Finding is a LangChain program.
type Finding struct {
	PID   uint32
	Start uint64
	How   string // for people: "zip archive /srv/app.pyz"
	Path  string // of what gave it away, as the process names it; "" for its executable
	New   bool   // it had no mark before
}

const (
	queueSize  = 4096
	atOnce     = 4 // looks; one that hangs in a dead file system keeps its place
	maxWait    = 5 * time.Second
	memoryWait = 10 * time.Second // for a program to import what it needs before its memory is searched
	maxCache   = 4096
	maxLater   = 1024
)

// Discover looks at processes. One Run at a time; Exec and Look may be called by anybody.
type Discover struct {
	o       Options
	queue   chan job
	again   chan struct{} // capacity 1
	dropped atomic.Uint64

	mu    sync.Mutex
	cache map[agent.Program]evidence // by device and inode as stat shows them
	later []job                      // whose memory is searched at due
}

// job is one process to look at.
type job struct {
	pid   uint32
	start uint64
	exec  agent.Program // if it has just executed that
	fresh bool
	due   time.Time
}

// evidence says that a file is LangChain, and how it shows; the zero value says that it is not.
type evidence struct{ how, path string }

// New prepares a search.
func New(o Options) *Discover {
	if o.proc == "" {
		o.proc = "/proc"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Discover{o: o, queue: make(chan job, queueSize), again: make(chan struct{}, 1), cache: map[agent.Program]evidence{}}
}

// Exec asks for a look at a process that has just executed a program. It does not block; what does not fit is dropped.
func (d *Discover) Exec(e agent.Exec) {
	d.push(job{pid: e.PID, start: e.Start, exec: e.File, fresh: true})
}

// Look asks for a look at a process that runs: because it connects to where LLMs are, say. It does not block.
func (d *Discover) Look(pid uint32, start uint64) { d.push(job{pid: pid, start: start}) }

func (d *Discover) push(j job) {
	select {
	case d.queue <- j:
	default:
		d.dropped.Add(1)
	}
}

// Again asks for a look at all processes that run. It does not block.
func (d *Discover) Again() {
	select {
	case d.again <- struct{}{}:
	default:
	}
}

// Dropped counts the processes that were not looked at because too many came at once.
func (d *Discover) Dropped() uint64 { return d.dropped.Load() }

// Run looks at the processes that run already, then at those that it is told of, until ctx ends.
func (d *Discover) Run(ctx context.Context) error {
	slots := make(chan struct{}, atOnce)
	var looks sync.WaitGroup
	look := func(j job) bool {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return false
		}
		looks.Go(func() {
			defer func() { <-slots }()
			d.look(ctx, j)
		})
		return true
	}
	// A look reads files, which may hang where a server is gone: it is not waited for without end.
	defer func() {
		ended := make(chan struct{})
		go func() { looks.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(maxWait):
			d.o.Log.Warn("a look at a program hangs in a file system, and is left behind")
		}
	}()
	all := func() error {
		running, err := d.running()
		for _, j := range running {
			if !look(j) {
				return nil
			}
		}
		return err
	}
	if err := all(); err != nil {
		return err
	}
	var tick <-chan time.Time
	if d.o.Memory != nil {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.again:
			if err := all(); err != nil {
				return err
			}
		case j := <-d.queue:
			if !look(j) {
				return nil
			}
		case <-tick:
			for _, j := range d.dueNow() {
				if !look(j) {
					return nil
				}
			}
		}
	}
}

// running lists the processes that there are.
func (d *Discover) running() (out []job, err error) {
	entries, err := os.ReadDir(d.o.proc)
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil {
			continue
		}
		p := process{root: d.o.proc, pid: uint32(pid)}
		if start, err := p.started(); err == nil {
			out = append(out, job{pid: uint32(pid), start: start})
		}
	}
	return out, nil
}

// look looks at one process and marks it if it is a LangChain program.
func (d *Discover) look(ctx context.Context, j job) {
	if d.o.Wanted != nil && !d.o.Wanted(j.pid, j.start) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	p := process{root: d.o.proc, pid: j.pid}
	before, found, err := d.examine(ctx, p, j)
	if err != nil && !errors.Is(err, errGone) && ctx.Err() == nil {
		d.o.Log.Debug("a program could not be looked at", "pid", j.pid, "error", err)
	}
	if found.how == "" {
		return
	}
	f := Finding{PID: j.pid, Start: j.start, How: found.how, Path: found.path}
	if f.New, err = d.o.Mark(f); err != nil {
		return // it ended
	}
	// It may have executed something else while we looked: then what we found is not about it any more.
	if after, err := p.executable(); err == nil {
		id := after.id
		after.Close()
		if id != before {
			if f.New {
				if err := d.o.Unmark(j.pid, j.start); err != nil {
					d.o.Log.Debug("taking back a mark", "pid", j.pid, "error", err)
				}
			}
			return
		}
	}
	d.o.Found(f)
}

// examine finds out what a process is; id is its executable.
func (d *Discover) examine(ctx context.Context, p process, j job) (id agent.Program, found evidence, err error) {
	if start, err := p.started(); err != nil || start/nsPerTick != j.start/nsPerTick {
		return id, found, errGone
	}
	exe, err := p.executable()
	if err != nil {
		return id, found, err
	}
	defer exe.Close()
	id = exe.id
	if kind := interpreter(exe.name); kind != none {
		found, err = d.script(ctx, p, kind)
		if found.how == "" && !j.fresh {
			if mapped, merr := p.mapped(); merr == nil && mapped != "" {
				found = evidence{"mapped file " + mapped, mapped}
			}
		}
	} else {
		found, err = d.cached(ctx, exe, func(r io.ReaderAt) (evidence, error) { return program(r, exe.size()) })
		if err == nil && j.fresh && id.Ino == j.exec.Ino && id.Size == j.exec.Size && id.Changed == j.exec.Changed {
			if jerr := d.o.Judge(j.exec, found.how != ""); jerr != nil {
				d.o.Log.Debug("remembering an executable", "error", jerr)
			}
		}
	}
	if found.how == "" && ctx.Err() == nil {
		found = d.memory(ctx, p, j)
	}
	return id, found, err
}

// memory searches the memory of a process, if that is allowed; of one that has just started, later.
func (d *Discover) memory(ctx context.Context, p process, j job) evidence {
	if d.o.Memory == nil || !d.o.Memory(j.pid, j.start) {
		return evidence{}
	}
	if j.fresh {
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.later) < maxLater {
			d.later = append(d.later, job{pid: j.pid, start: j.start, due: time.Now().Add(memoryWait)})
		}
		return evidence{}
	}
	if p.remembers(ctx) {
		return evidence{how: "its memory"}
	}
	return evidence{}
}

func (d *Discover) dueNow() (out []job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for len(d.later) > 0 && !d.later[0].due.After(now) {
		out = append(out, d.later[0])
		d.later = d.later[1:]
	}
	return out
}

// cached is what find says of a file, or said when the file was the same. What is too large to be read to its end counts as
// nothing; what could not be read is not remembered.
func (d *Discover) cached(ctx context.Context, f *file, find func(io.ReaderAt) (evidence, error)) (evidence, error) {
	d.mu.Lock()
	e, ok := d.cache[f.id]
	d.mu.Unlock()
	if ok {
		return e, nil
	}
	r := &bounded{ctx: ctx, r: f.File, left: maxRead}
	e, err := find(r)
	if e.how == "" && r.err != nil {
		err = r.err // a parser may have taken it for the end
	}
	if errors.Is(err, errLarge) {
		d.o.Log.Debug("a program is too large to be looked at", "path", f.name)
	} else if err != nil {
		return evidence{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.cache) >= maxCache {
		clear(d.cache)
	}
	d.cache[f.id] = e
	return e, nil
}
