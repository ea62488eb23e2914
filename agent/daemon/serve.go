// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport-dev/sallyport/agent/telemetry"
)

// serve runs the parts until ctx ends, one of them fails, or a successor has taken over, then stops them in order.
func (d *daemon) serve(ctx context.Context) error {
	// The proxy and the shipper outlive ctx: they stop in order, below.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	d.marks = newMarker(d)
	d.older, d.discover = d.newOlder(), d.newDiscover()
	already, err := d.kernel.Marks()
	if err != nil {
		return err
	}
	for _, m := range already { // they were marked under an earlier daemon
		d.marks.mark(m)
	}
	if d.pred == nil { // a predecessor has seen to them
		if err := d.marks.running(run); err != nil {
			return fmt.Errorf("looking for programs that run already: %w", err)
		}
	}
	g, failed := errgroup.WithContext(run)
	l := lead(run, g)
	g.Go(func() error { return d.proxy.Serve(run, d.listeners...) })
	l.start(func(context.Context) error { return d.admin.Serve() })
	l.start(d.marks.run)
	l.start(d.watchInspector)
	l.start(d.watchTrust)
	l.start(func(ctx context.Context) error { return d.kernel.Listen(ctx, d.marks.mark, d.enrol.Cgroup) })
	l.start(func(ctx context.Context) error { return d.kernel.Learner().Listen(ctx, d.audit.See) })
	l.start(func(ctx context.Context) error { return d.spaces.Answer(ctx, d.kernel.Asks) })
	l.start(d.spaces.Run)
	l.start(d.watch)
	l.start(d.policy.watch)
	l.start(d.keepTesting)
	l.start(d.desk.Run)
	l.start(d.keepRetention)
	l.start(d.watchDesk)
	l.start(d.runWebhook)
	l.start(d.older.Run)
	l.start(d.discover.Run)
	l.start(func(ctx context.Context) error { return d.kernel.Execs(ctx, d.discover.Exec) })
	l.start(d.runMetrics)
	if d.archive != nil {
		l.start(d.runArchive)
	}
	if d.elastic != nil {
		l.start(d.elastic.Run)
	}
	g.Go(func() error { return d.begin(failed) })
	end := d.until(ctx, failed, l)
	if end == nil {
		end = d.depart(ctx, l)
	}
	defer end.stop()
	serr := <-end.ended
	if errors.Is(serr, context.DeadlineExceeded) {
		d.Log.Warn("exchanges were cut at the end of the drain time", telemetry.KeyDuration, d.cfg.Proxy.Drain)
		serr = nil
	}
	aerr := d.admin.Shutdown(end.ctx)
	if d.pred != nil && d.ready.get() == "stopping" { // a service manager that sees us end kills what is left of them
		if werr := d.pred.Wait(end.ctx); werr != nil {
			d.Log.Warn("a predecessor still ends its exchanges", telemetry.KeyError, werr)
		}
	}
	cancel()
	return errors.Join(g.Wait(), serr, aerr, end.err)
}

// begin says that we are ready once that is proven.
func (d *daemon) begin(ctx context.Context) error {
	select {
	case <-d.proxy.Ready():
	case <-ctx.Done():
		return nil
	}
	err := d.selftest.run(ctx)
	d.health.tested(err)
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	if d.pred != nil {
		if err := d.pred.Ready(ctx); err != nil {
			return err
		}
	}
	d.leads.Store(true)
	d.ready.set("")
	debug.FreeOSMemory() // what only the start needed
	d.storeListeners()
	d.tell("READY=1")
	d.Log.Info("ready", telemetry.KeyVersion, d.Version, telemetry.KeyAddress, d.cfg.Proxy.Listen, telemetry.KeyCount, len(d.cfg.Protect))
	return nil
}

// until returns when it is time to end: with what is left to do if a successor has taken over, else nil.
func (d *daemon) until(ctx, failed context.Context, l *leadership) *draining {
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(failed, cancel)()
	for {
		select {
		case <-both.Done():
			return nil
		case <-d.Upgrade:
		case <-d.wanted:
		}
		if end := d.upgrade(both, l); end != nil {
			return end
		}
	}
}

// depart stops accepting. Under a service manager that keeps the sockets, connections wait for the next daemon; if we
// failed to take over, they wait for what our predecessor tries instead.
func (d *daemon) depart(ctx context.Context, l *leadership) *draining {
	if ctx.Err() != nil {
		d.Log.Info("stopping", telemetry.KeyDuration, d.cfg.Proxy.Drain)
	}
	d.ready.set("stopping")
	end := &draining{ended: make(chan error, 1)}
	end.ctx, end.stop = context.WithTimeout(context.WithoutCancel(ctx), d.cfg.Proxy.Drain)
	if d.pred != nil && !d.leads.Load() {
		d.gaveUp = true
		d.release(l, end)
		defer closeFiles(end.others)
		if err := d.pred.Failed(); err != nil {
			d.Log.Warn("the predecessor is gone too", telemetry.KeyError, err)
		}
		return end
	}
	d.tell("STOPPING=1")
	if d.handover && ctx.Err() != nil {
		if derr := d.kernel.Depart(d.cfg.Proxy.Drain + handoverMargin); derr != nil {
			d.Log.Warn("connections are refused during the restart", telemetry.KeyError, derr)
		}
		d.storeOthers()
	}
	d.leaveDesk()
	err := d.proxy.Shutdown(end.ctx)
	d.flow.Flush()
	end.ended <- err
	return end
}
