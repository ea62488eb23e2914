// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/enrol"
	"github.com/sallyport-dev/sallyport/agent/kernel/cover"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/agent/workload"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// pruneEvery is after how many looks workloads that are gone are forgotten.
const pruneEvery = 60

// prove looks whether all connections can be explained, and raises an alarm over those that cannot. It wants to be called once a second.
func (d *daemon) prove(ctx context.Context, now time.Time, looks uint64) {
	report, err := d.kernel.Proof().Check(now)
	if err != nil {
		d.Log.Error("looking for connections that went past us", telemetry.KeyError, err)
		return
	}
	for _, news := range report.News {
		if err := d.recordGap(ctx, &news); err != nil {
			d.Log.Error("a gap is not on record yet", telemetry.KeyError, err)
		}
	}
	if looks%pruneEvery != 0 {
		return
	}
	if err := d.kernel.Proof().Prune(func(id uint64) bool { return d.enrol.CgroupPath(id) == "" }); err != nil {
		d.Log.Error("forgetting workloads that are gone", telemetry.KeyError, err)
	}
}

// recordGap puts on record what went past us. It is told again if that fails.
func (d *daemon) recordGap(ctx context.Context, n *cover.News) error {
	who := d.named(n.Workload)
	for _, g := range []struct {
		count  uint64
		alarm  bool
		reason string
	}{
		{n.Direct, true, "connections to an endpoint on which no program of ours decided"},
		{n.Lost, true, "connections that set out for the proxy and never came"},
		{n.Opened, false, "connections to an endpoint went direct while no agent was there"},
		{n.Bypassed, false, "connections to an endpoint went direct by break glass"},
	} {
		if g.count == 0 {
			continue
		}
		reason := g.reason
		if n.Last != nil && n.Direct > 0 && g.alarm {
			reason += "; the latest: " + describe(n.Last)
		}
		log := d.Log.Warn
		if g.alarm {
			log = d.Log.Error
		}
		log("coverage: "+reason, telemetry.KeyScope, who.Scope, telemetry.KeyCgroup, who.Cgroup, telemetry.KeyUnit, who.Unit, telemetry.KeyCount, g.count)
		gap := pipeline.Gap{Reason: fmt.Sprintf("scope %s, cgroup %s: %s", who.Scope, who.Cgroup, reason), Count: int64(g.count)}
		if err := d.append(ctx, pipeline.Record{Kind: pipeline.KindGap, Time: time.Now(), Body: gap}); err != nil {
			return err
		}
	}
	return d.kernel.Proof().Told(*n)
}

func describe(l *cover.Direct) string {
	return fmt.Sprintf("process %d (%s) of user %d to %s", l.PID, l.Comm, l.UID, l.To)
}

// named gives a workload the names that people use.
func (d *daemon) named(w cover.Workload) adminapi.Covered {
	out := adminapi.Covered{Cgroup: d.enrol.CgroupPath(w.Cgroup)}
	out.Unit = workload.Unit(out.Cgroup)
	switch scopes := d.enrol.Scopes(); {
	case w.Scope == agent.ScopeDefault:
		out.Scope = enrol.DefaultScope
	case w.Scope == agent.ScopePending:
		out.Scope = "not known yet"
	case int(w.Scope) < len(scopes):
		out.Scope = scopes[w.Scope].Name
	case w.Scope == d.selftest.row.Load():
		out.Scope = "self-test"
	default:
		out.Scope = "not configured any more"
	}
	return out
}

// coverage is the proof as the status shows it.
func (d *daemon) coverage() (out adminapi.Coverage, err error) {
	report, err := d.kernel.Proof().Check(time.Now())
	if err != nil {
		return out, err
	}
	for i := range report.Rows {
		r := &report.Rows[i]
		c := d.named(r.Workload)
		c.Redirected, c.Explained, c.Withdrawn, c.Unexplained, c.Bypassed, c.Opened = r.Redirected, r.Taken, r.Withdrawn, r.Unexplained(), r.Bypassed, r.Opened
		if r.Last != nil {
			c.Last = describe(r.Last)
		}
		out.Explained += c.Explained
		out.Unexplained += c.Unexplained
		out.Bypassed += c.Bypassed + c.Opened
		out.Workloads = append(out.Workloads, c)
	}
	return out, nil
}

// learning puts what DNS taught into the status, and what it could not among the kernel's errors.
func (c console) learning(s *adminapi.Status) error {
	n, err := c.d.kernel.Learner().Counts()
	if err != nil {
		return err
	}
	for _, name := range []string{"unasked", "malformed", "full", "crowded", "uncopied"} {
		if n[name] > 0 {
			s.Kernel.Errors["dns "+name] = n[name]
		}
	}
	addresses, err := c.d.kernel.Learner().Count()
	if err != nil {
		return err
	}
	a := c.d.audit.Counts()
	s.DNS = adminapi.DNS{Addresses: addresses, Answers: n["answered"], OverTCP: a.TCP, Mismatches: a.Mismatches, ECH: a.ECH, HTTP3: a.H3}
	if n["full"] > 0 || a.NoRoom > 0 {
		s.Warnings = append(s.Warnings, "the kernel has no room for more addresses of endpoints: programs that no scope names may go past us")
	}
	return nil
}
