// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/older"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// keepPort is where a server listens that keeps its connections.
const keepPort = 18497

var (
	keep4 = netip.MustParseAddrPort(fmt.Sprintf("127.0.0.2:%d", keepPort))
	keep6 = netip.MustParseAddrPort(fmt.Sprintf("[::1]:%d", keepPort))
)

// olderWorld has a server that keeps connections, and covers what runs in the cgroup "app".
type olderWorld struct {
	*world
	app     uint64 // the cgroup's id
	policy  older.Policy
	others  map[int]older.Policy // by pid
	inProc  bool                 // the kernel lists nothing
	records chan pipeline.Flow
	watch   *older.Older
}

func newOlderWorld(t *testing.T) *olderWorld {
	t.Helper()
	w := &olderWorld{world: newWorld(t, agent.ScopeRow{Mode: agent.ModeEnforce, Closed: true, NeedCgroup: true, Name: "app"}), records: make(chan pipeline.Flow, 64)}
	w.app = w.sub("app")
	must(t, w.k.SetCgroup(w.app, 0)) // nobody covers it yet
	must(t, w.k.SetCgroup(w.sub("bystander"), 0))
	must(t, w.k.SetPorts([]uint16{originPort, keepPort, proxyPort}))
	for _, a := range []netip.AddrPort{keep4, keep6} {
		ln := listen(t, a)
		go answer(ln)
		t.Cleanup(func() { ln.Close() })
	}
	w.policy = older.Policy{Scope: "app", Mode: pipeline.ModeEnforce, Action: older.Cut, Idle: 200 * time.Millisecond, Deadline: time.Minute}
	return w
}

// cover puts the scope in force and starts the watch.
func (w *olderWorld) cover() {
	w.t.Helper()
	must(w.t, w.k.SetCgroup(w.app, 1))
	ctx, stop := context.WithCancel(context.Background())
	list := w.k.Sockets
	if w.inProc {
		list = func() ([]agent.Socket, error) { return nil, &agent.Unsupported{Feature: "listing"} }
	}
	w.watch = older.New(older.Options{List: list, Redirected: w.k.Redirected, Ports: []uint16{originPort, keepPort, proxyPort},
		Record: func(r pipeline.Record) { w.records <- r.Body.(pipeline.Flow) },
		Judge: func(pid uint32, start uint64) (pipeline.Holder, older.Policy, bool) {
			h := pipeline.Holder{Workload: pipeline.Workload{PID: pid, Start: start}}
			in, err := procCgroup(pid)
			policy, other := w.others[int(pid)]
			if !other {
				policy = w.policy
			}
			return h, policy, err == nil && strings.HasSuffix(in, "/app")
		}})
	var done sync.WaitGroup
	done.Go(func() {
		if err := w.watch.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() { stop(); done.Wait() })
}

// record waits for the next record.
func (w *olderWorld) record() pipeline.Flow {
	w.t.Helper()
	select {
	case f := <-w.records:
		return f
	case <-time.After(30 * time.Second):
		w.t.Fatal("no record came")
		panic("unreachable")
	}
}

// TestOlderConnections: connections that were made before their scope, of every kind, and how they end.
func TestOlderConnections(t *testing.T) {
	newNet := func(c *exec.Cmd) { c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET }
	for _, c := range []struct {
		name     string
		to       netip.AddrPort
		kind     string
		last     string // what is said on the connection before the scope comes
		deadline time.Duration
		options  []func(*exec.Cmd)
		inProc   bool
		ended    string
		how      string
		sees     string
	}{
		{name: "keep-alive, IPv4", to: keep4, ended: pipeline.OlderIdle, how: "shutdown", sees: "EOF"},
		{name: "keep-alive, IPv6", to: keep6, ended: pipeline.OlderIdle, how: "shutdown", sees: "EOF"},
		{name: "keep-alive, mapped IPv4", to: keep4, kind: "mapped", ended: pipeline.OlderIdle, how: "shutdown", sees: "EOF"},
		{name: "never used", to: keep4, last: "-", ended: pipeline.OlderIdle, how: "shutdown", sees: "EOF"},
		{name: "a stream under way", to: keep4, last: "stream", deadline: time.Second, ended: pipeline.OlderDeadline, how: "destroy", sees: "ECONNABORTED"},
		{name: "a stream under way, IPv6", to: keep6, last: "stream", deadline: time.Second, ended: pipeline.OlderDeadline, how: "destroy", sees: "ECONNABORTED"},
		{name: "a stream under way, mapped IPv4", to: keep4, kind: "mapped", last: "stream", deadline: time.Second, ended: pipeline.OlderDeadline, how: "destroy", sees: "ECONNABORTED"},
		{name: "an answer that is awaited", to: keep4, last: "think", deadline: time.Second, ended: pipeline.OlderDeadline, how: "destroy", sees: "ECONNABORTED"},
		{name: "MPTCP", to: keep4, kind: "mptcp", ended: pipeline.OlderIdle, how: "shutdown", sees: "EOF"},
		{name: "MPTCP, a stream under way", to: keep4, kind: "mptcp", last: "stream", deadline: time.Second, ended: pipeline.OlderDeadline, how: "shutdown", sees: "EOF"},
		{name: "in another network namespace", to: keep4, options: []func(*exec.Cmd){newNet}, ended: pipeline.OlderIdle, how: "shutdown", sees: "EOF"},
		{name: "a stream in another network namespace", to: keep4, options: []func(*exec.Cmd){newNet}, last: "stream", deadline: time.Second, ended: pipeline.OlderDeadline, how: "destroy", sees: "ECONNABORTED"},
		{name: "found in proc", to: keep4, inProc: true, ended: pipeline.OlderIdle, how: "shutdown", sees: "EOF"},
		{name: "found in proc, IPv6, another network namespace", to: keep6, options: []func(*exec.Cmd){newNet}, inProc: true, last: "stream", deadline: time.Second,
			ended: pipeline.OlderDeadline, how: "destroy", sees: "ECONNABORTED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newOlderWorld(t)
			w.inProc = c.inProc
			if c.deadline > 0 {
				w.policy.Deadline = c.deadline
			}
			if c.last == "stream" { // a busy machine may pause it
				w.policy.Idle = time.Hour
			}
			p := w.spawn("app", c.options...)
			if len(c.options) > 0 {
				w.ok(p.do("serve", c.to.String()))
			}
			fd := w.ok(p.do("keep", c.kind, c.to.String()))
			switch c.last {
			case "-":
			case "think", "stream":
				w.ok(p.do("say", fd, c.last, "and do not wait"))
			default:
				if got := w.ok(p.do("say", fd, "hello")); got != "hello" {
					t.Fatalf("the server said %q", got)
				}
			}
			w.cover()
			if r := p.do("drain", fd); r.Said+r.Error != c.sees {
				t.Errorf("the application sees %q, want %q", r.Said+r.Error, c.sees)
			}
			source := "kernel"
			if c.inProc {
				source = "proc"
			}
			f := w.record()
			if f.Disposition != pipeline.FlowCut || f.Dest != c.to.String() || f.Scope != "app" || f.Mode != pipeline.ModeEnforce || f.Workload.PID != uint32(p.cmd.Process.Pid) {
				t.Errorf("record %+v", f)
			}
			if o := f.Older; o.Ended != c.ended || o.How != c.how || o.Source != source || o.MaxAgeMS == 0 || len(o.Holders) != 1 || !o.Holders[0].Covered || o.Action != "cut" || o.NetNS == 0 {
				t.Errorf("record %+v", *o)
			}
			if _, err := w.write(p, fd); err == "" {
				t.Error("the application can still write")
			}
			// It is not found again, and the next connection is redirected.
			if len(c.options) == 0 {
				if got := p.connect("v4", origin4); got != "PROXY" {
					t.Errorf("the next connection: %q", got)
				}
			}
			next := w.spawn("app")
			must(t, w.k.SetCgroup(w.app, 0))
			w.ok(next.do("keep", "", keep4.String()))
			w.watch.Look()
			if f := w.record(); f.Workload.PID != uint32(next.cmd.Process.Pid) {
				t.Errorf("another record: %+v %+v", f, *f.Older)
			}
		})
	}
}

// ok is the answer to an order that must not fail.
func (w *olderWorld) ok(r reply) string {
	w.t.Helper()
	if r.Error != "" {
		w.t.Fatal(r.Error)
	}
	return r.Said
}

func (w *olderWorld) write(p *process, fd string) (said, err string) {
	r := p.do("say", fd, "again", "and do not wait")
	return r.Said, r.Error
}

// TestOlderShared: one connection in two processes is one record, whoever of them is covered, and ends for both.
func TestOlderShared(t *testing.T) {
	for _, c := range []struct {
		name    string
		cgroup  string // of the process that connects; the other one is its child
		leaves  bool   // the first closes its own descriptor
		holders int
	}{
		{name: "both covered", cgroup: "app", holders: 2},
		{name: "only a child holds it any more", cgroup: "app", leaves: true, holders: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newOlderWorld(t)
			p := w.spawn(c.cgroup)
			fd := w.ok(p.do("keep", "", keep4.String()))
			w.ok(p.do("say", fd, "hello"))
			child := w.ok(p.do("share", fd))
			if c.leaves {
				w.ok(p.do("drop", fd))
			}
			w.cover()
			f := w.record()
			if f.Disposition != pipeline.FlowCut || f.Older.Ended != pipeline.OlderIdle || len(f.Older.Holders) != c.holders {
				t.Fatalf("record %+v %+v", f, *f.Older)
			}
			pid, _ := strconv.ParseUint(child, 10, 32)
			if !slices.ContainsFunc(f.Older.Holders, func(h pipeline.Holder) bool { return h.Workload.PID == uint32(pid) }) {
				t.Errorf("process %s is not named: %+v", child, f.Older.Holders)
			}
			if !c.leaves {
				if r := p.do("drain", fd); r.Said != "EOF" {
					t.Errorf("the first sees %+v", r)
				}
			}
		})
	}
}

// TestOlderLeftAlone: what must not be cut.
func TestOlderLeftAlone(t *testing.T) {
	t.Run("a redirected connection", func(t *testing.T) {
		w := newOlderWorld(t)
		must(t, w.k.SetCgroup(w.app, 1))
		p := w.spawn("app")
		fd := w.ok(p.do("keep", "", origin4.String()))
		if got := w.ok(p.do("say", fd, "hello")); got != "PROXY" {
			t.Fatalf("got %q", got)
		}
		old := w.spawn("app") // something to wait for
		must(t, w.k.SetCgroup(w.app, 0))
		fd2 := w.ok(old.do("keep", "", keep4.String()))
		for _, w.inProc = range []bool{false, true} {
			if w.inProc {
				must(t, w.k.SetCgroup(w.app, 0))
				fd2 = w.ok(old.do("keep", "", keep4.String()))
			}
			w.cover()
			if f := w.record(); f.Workload.PID != uint32(old.cmd.Process.Pid) {
				t.Errorf("record of another: %+v", f)
			}
			if r := old.do("drain", fd2); r.Said != "EOF" {
				t.Errorf("the older one: %+v", r)
			}
			if _, err := w.write(p, fd); err != "" {
				t.Errorf("the redirected one: %s", err)
			}
		}
	})
	t.Run("listed only", func(t *testing.T) {
		w := newOlderWorld(t)
		w.policy.Action, w.policy.Mode = older.List, pipeline.ModeObserve
		p := w.spawn("app")
		fd := w.ok(p.do("keep", "", keep4.String()))
		w.cover()
		if f := w.record(); f.Disposition != pipeline.FlowOlder || f.Older.Ended != pipeline.OlderListed || f.Older.How != "" {
			t.Errorf("record %+v %+v", f, *f.Older)
		}
		if got := w.ok(p.do("say", fd, "hello")); got != "hello" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a process that no scope covers", func(t *testing.T) {
		w := newOlderWorld(t)
		by, p := w.spawn("bystander"), w.spawn("app")
		fd := w.ok(by.do("keep", "", keep4.String()))
		w.ok(p.do("keep", "", keep4.String()))
		w.cover()
		if f := w.record(); f.Workload.PID != uint32(p.cmd.Process.Pid) {
			t.Errorf("record %+v", f)
		}
		if got := w.ok(by.do("say", fd, "hello")); got != "hello" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("closed by itself", func(t *testing.T) {
		w := newOlderWorld(t)
		p, sign := w.spawn("app"), w.spawn("app")
		list := w.policy
		list.Action, w.policy.Idle = older.List, time.Hour
		w.others = map[int]older.Policy{sign.cmd.Process.Pid: list}
		fd := w.ok(p.do("keep", "", keep4.String()))
		w.ok(sign.do("keep", "", keep4.String()))
		w.cover()
		if f := w.record(); f.Older.Ended != pipeline.OlderListed { // so the scan has seen the other one too
			t.Fatalf("record %+v %+v", f, *f.Older)
		}
		w.ok(p.do("drop", fd))
		if f := w.record(); f.Disposition != pipeline.FlowOlder || f.Older.Ended != pipeline.OlderGone || f.Workload.PID != uint32(p.cmd.Process.Pid) {
			t.Errorf("record %+v %+v", f, *f.Older)
		}
	})
}

// procCgroup is the path of a process's cgroup (v2).
func procCgroup(pid uint32) (string, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path, nil
		}
	}
	return "", errors.New("no cgroup v2")
}
