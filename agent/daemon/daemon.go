// SPDX-License-Identifier: Apache-2.0

// Package daemon is the composition root: the one place where every part is built, plugged into the others, started and
// stopped. Order and owners stand in docs/architecture.md.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/enrol"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/agent/trust"
	"github.com/sallyport-dev/sallyport/agent/workload"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/tlsca/authority"
	"github.com/sallyport-dev/sallyport/tlsca/leaf"
)

// Options are what a daemon needs besides its configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	Reload  <-chan os.Signal // each asks for the policy to be read again; may be nil
}

// UsageError says that what was asked for is wrong, not the world: exit code 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// daemon holds the parts while they run.
type daemon struct {
	cfg *config.Config
	Options

	policy   *policyBox
	ca       *authority.Authority
	leaves   *leaf.Cache
	journal  *journal.Journal
	index    *journal.Index
	trust    *trust.Trust
	ident    *workload.Identifier
	kernel   *kernel.Kernel
	enrol    *enrol.Enrol
	flow     *flow.Flow
	proxy    *proxy.Server
	admin    *admin.Server
	elastic  *elastic.Shipper // nil if it is off
	selftest *selfTest
	marks    *marker
	router   *router

	listeners        []*net.TCPListener
	handover         bool              // the service manager keeps the listeners
	upstreamCAs      map[string][]byte // by file
	redirectedBefore uint64            // by the programs under earlier daemons
	installed        bool              // the kernel pins are ours to remove if the start fails
	ready            atomicReason      // why not ready; "" = ready
}

// Run builds everything, serves until ctx ends, and stops in order. Everything that it made and that is not meant to
// outlive it (pins and journal are) is gone when it returns. A *UsageError means a mistake in configuration or policy.
func Run(ctx context.Context, cfg *config.Config, o Options) (err error) {
	d := &daemon{cfg: cfg, Options: o}
	d.ready.set("starting")
	defer func() { err = errors.Join(err, d.close(err != nil)) }()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"policy", d.openPolicy}, {"certificate authority", d.openCA}, {"journal", d.openJournal}, {"trust", d.openTrust},
		{"exchanges", d.openFlow}, {"proxy", d.openProxy}, {"admin API", d.openAdmin}, {"Elasticsearch", d.openElastic}, {"kernel", d.openKernel},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return d.serve(ctx)
}

// Check finds what is wrong with configuration and policy without touching anything.
func Check(cfg *config.Config) error {
	d := &daemon{cfg: cfg}
	return d.openPolicy(context.Background())
}

func (d *daemon) openCA(context.Context) (err error) {
	var names []string
	d.upstreamCAs = map[string][]byte{}
	for _, e := range d.cfg.Endpoints {
		if _, err := netip.ParseAddr(e.Host); err != nil && !e.Plain {
			names = append(names, e.Host)
		}
		if e.UpstreamCA != "" {
			if d.upstreamCAs[e.UpstreamCA], err = os.ReadFile(e.UpstreamCA); err != nil {
				return fmt.Errorf("upstream_ca of endpoint %s: %w", e.Name, err)
			}
		}
	}
	if d.ca, err = authority.Open(authority.Options{Dir: d.cfg.CA.Dir, Names: names}); err != nil {
		return err
	}
	d.leaves, err = leaf.New(leaf.Options{Signer: d.ca})
	return err
}

func (d *daemon) openJournal(ctx context.Context) (err error) {
	if !d.cfg.Record.Required {
		return &UsageError{errors.New("record.required: false is not supported yet: leave it out")}
	}
	d.index = journal.NewIndex(0)
	if d.journal, err = journal.Open(journal.Options{Dir: d.cfg.Record.Dir, MaxBytes: d.cfg.Record.MaxBytes, Index: d.index}); err != nil {
		return err
	}
	n, err := d.journal.CloseOpen(ctx)
	if err != nil {
		return fmt.Errorf("closing exchanges that the last run left open: %w", err)
	}
	if n > 0 {
		d.Log.Warn("exchanges were cut by the end of the last run", telemetry.KeyCount, n)
	}
	return d.recordPolicy(ctx, "start")
}

func (d *daemon) openTrust(context.Context) (err error) {
	d.trust, err = trust.New(trust.Options{Ledger: d.cfg.Trust.Ledger, Roots: d.ca.RootsPEM(), RootsFile: filepath.Join(filepath.Dir(d.cfg.Admin.Socket), "roots.pem")})
	return err
}

func (d *daemon) openKernel(context.Context) (err error) {
	root, err := kernel.CgroupRoot()
	if err != nil {
		return err
	}
	attach := d.cfg.Capture.Cgroup
	if attach == "" {
		attach = root
	}
	own, err := ownCgroup(root, attach)
	if err != nil {
		return err
	}
	if _, serr := os.Stat(d.cfg.Capture.PinDir); errors.Is(serr, os.ErrNotExist) {
		d.installed = true
	}
	d.kernel, err = kernel.Load(kernel.Options{Cgroup: attach, PinDir: d.cfg.Capture.PinDir, Generation: uint32(time.Now().Unix())})
	if err != nil {
		return err
	}
	for name, err := range d.kernel.Refused() {
		d.Log.Warn("the kernel refused a capability", telemetry.KeyComponent, name, telemetry.KeyError, err)
	}
	d.selftest = newSelfTest(d.kernel, attach)
	d.enrol, err = enrol.New(d.enrolOptions(root, attach))
	if err != nil {
		return &UsageError{err}
	}
	d.router.enrol, d.router.selftest = d.enrol, d.selftest
	if err := errors.Join(d.kernel.Exempt(own), d.kernel.SetPorts(d.cfg.Capture.Ports)); err != nil {
		return err
	}
	if err := d.enrol.Apply(); err != nil {
		return err
	}
	var addr [2]netip.AddrPort
	for _, ln := range d.listeners {
		if err := d.kernel.TagListener(ln); err != nil {
			return err
		}
		a := ln.Addr().(*net.TCPAddr).AddrPort()
		if a.Addr().Unmap().Is4() {
			addr[0] = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		} else {
			addr[1] = a
		}
	}
	if err := d.kernel.SetProxy(addr[0], addr[1]); err != nil {
		return err
	}
	d.selftest.v6 = addr[1].IsValid()
	d.selftest.port = d.cfg.Capture.Ports[0]
	before, err := d.counters()
	if err != nil {
		return err
	}
	d.redirectedBefore = before.Redirected
	if err := d.kernel.Attach(); err != nil {
		return err
	}
	d.installed = false                      // from here on the pins keep failing closed, whatever becomes of us
	if err := d.enrol.Rescan(); err != nil { // cgroups that were made between Apply and Attach
		return err
	}
	_, err = d.kernel.FlagInterpreters()
	return err
}

// serve runs the parts until ctx ends or one of them fails, then stops them in order.
func (d *daemon) serve(ctx context.Context) error {
	// The proxy and the shipper outlive ctx: they stop in order, below.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	g, failed := errgroup.WithContext(run)
	g.Go(func() error { return d.proxy.Serve(run, d.listeners...) })
	g.Go(d.admin.Serve)
	marks := newMarker(d)
	d.marks = marks
	already, err := d.kernel.Marks()
	if err != nil {
		return err
	}
	for _, m := range already { // they were marked under an earlier daemon
		marks.mark(m)
	}
	g.Go(func() error { return marks.run(run) })
	g.Go(func() error { return d.kernel.Listen(run, marks.mark, d.enrol.Cgroup) })
	g.Go(func() error { return d.watch(run) })
	if d.elastic != nil {
		g.Go(func() error { return d.elastic.Run(run) })
	}
	g.Go(func() error {
		select {
		case <-d.proxy.Ready():
		case <-failed.Done():
			return nil
		}
		if err := d.selftest.run(failed); err != nil {
			return fmt.Errorf("self-test: %w", err)
		}
		d.ready.set("")
		d.storeListeners()
		d.tell("READY=1")
		d.Log.Info("ready", telemetry.KeyVersion, d.Version, telemetry.KeyAddress, d.cfg.Proxy.Listen, telemetry.KeyCount, len(d.cfg.Protect))
		return nil
	})
	select {
	case <-ctx.Done():
		d.Log.Info("stopping", telemetry.KeyDuration, d.cfg.Proxy.Drain)
	case <-failed.Done():
	}
	d.ready.set("stopping")
	d.tell("STOPPING=1")
	if d.handover && ctx.Err() != nil {
		if derr := d.kernel.Depart(d.cfg.Proxy.Drain + handoverMargin); derr != nil {
			d.Log.Warn("connections are refused during the restart", telemetry.KeyError, derr)
		}
	}
	drain, stop := context.WithTimeout(context.WithoutCancel(ctx), d.cfg.Proxy.Drain)
	defer stop()
	serr := d.proxy.Shutdown(drain)
	if errors.Is(serr, context.DeadlineExceeded) {
		d.Log.Warn("exchanges were cut at the end of the drain time", telemetry.KeyDuration, d.cfg.Proxy.Drain)
		serr = nil
	}
	aerr := d.admin.Shutdown(drain)
	cancel()
	return errors.Join(g.Wait(), serr, aerr)
}

// close lets go of everything, in the reverse order of opening; it works on what a failed start left behind.
func (d *daemon) close(failed bool) (err error) {
	if d.admin != nil && failed {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err = errors.Join(err, d.admin.Shutdown(ctx))
		cancel()
	}
	for _, ln := range d.listeners {
		if cerr := ln.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}
	if d.kernel != nil {
		if herr := d.kernel.StopHeart(); herr != nil {
			err = errors.Join(err, herr)
		}
		d.kernel.Close()
	}
	if d.installed && failed {
		err = errors.Join(err, kernel.Uninstall(d.cfg.Capture.PinDir))
	}
	for _, c := range []func() error{d.closeTrust, closer(d.leaves), closer(d.ca), closer(d.journal)} {
		err = errors.Join(err, c())
	}
	return err
}

// closeTrust waits a little for work under way in other namespaces.
func (d *daemon) closeTrust() error {
	if d.trust == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return d.trust.Close(ctx)
}

// closer is the Close of a part that may not have been opened.
func closer[T any, P interface {
	*T
	Close() error
}](p P) func() error {
	return func() error {
		if p == nil {
			return nil
		}
		return p.Close()
	}
}

// append writes a record and waits until it is on disk.
func (d *daemon) append(ctx context.Context, r pipeline.Record) error {
	_, durable := d.journal.Append(r)
	select {
	case err := <-durable:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
