// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/older"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// newOlder plugs the watch over older connections together.
func (d *daemon) newOlder() *older.Older {
	o := older.Options{List: d.kernel.Sockets, Redirected: d.kernel.Redirected, Judge: d.judgeOlder, Ports: d.cfg.Capture.Ports, Log: d.Log,
		Record: func(r pipeline.Record) { ledger{d}.Flow(r) }}
	for _, ln := range d.listeners {
		a := ln.Addr().(*net.TCPAddr).AddrPort()
		o.Proxy = append(o.Proxy, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	}
	return older.New(o)
}

// judgeOlder says what is wanted of the connections of a process. Our own, and those of a scope whose glass is broken, are
// nobody's business.
func (d *daemon) judgeOlder(pid uint32, start uint64) (h pipeline.Holder, p older.Policy, ok bool) {
	w, err := d.ident.Look(pid)
	if err != nil || w.Start/1e7 != start/1e7 {
		return h, p, false // it ended meanwhile
	}
	w.Start, w.Found = start, d.how.get(pid, start)
	h.Workload = w
	cgroup, err := cgroupID(d.root, w.Cgroup)
	if err != nil || cgroup == d.own {
		return h, p, false
	}
	proc := agent.Process{TGID: pid, Start: start, UID: w.UID, LoginUID: w.LoginUID, CgroupID: cgroup}
	if _, h.Principal, err = d.ident.Identify(context.Background(), proc); err != nil {
		return h, p, false
	}
	_, marked, err := d.kernel.Marked(pid)
	if err != nil {
		return h, p, false
	}
	index, scope, ok := d.enrol.Covers(&w, marked)
	if !ok {
		return h, p, false
	}
	if left, err := d.kernel.BypassUntil(index); err != nil || left > 0 {
		return h, p, false
	}
	c := config.DefaultOlder(scope.Mode.String())
	if index != agent.ScopeDefault && d.cfg.Protect[index].Mode == scope.Mode.String() { // else it is observed, for the scope is a canary
		c = d.cfg.Protect[index].Older
	}
	return h, older.Policy{Scope: scope.Name, Mode: pipeline.Mode(scope.Mode), Action: older.Action(c.Action), Idle: c.Idle, Deadline: c.Deadline}, true
}

// cgroupID is the inode of a cgroup's folder.
func cgroupID(root, path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(root, path), &st); err != nil {
		return 0, fmt.Errorf("looking at cgroup %s: %w", path, err)
	}
	return st.Ino, nil
}
