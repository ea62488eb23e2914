// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/daemon/succession"
	"github.com/sallyport-dev/sallyport/agent/discover"
	"github.com/sallyport-dev/sallyport/agent/dns"
	"github.com/sallyport-dev/sallyport/agent/enrol"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/metrics"
	"github.com/sallyport-dev/sallyport/agent/netns"
	"github.com/sallyport-dev/sallyport/agent/older"
	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/agent/quarantine"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/agent/trust"
	"github.com/sallyport-dev/sallyport/agent/trust/inspector"
	"github.com/sallyport-dev/sallyport/agent/webhook"
	"github.com/sallyport-dev/sallyport/agent/workload"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
	"github.com/sallyport-dev/sallyport/pipeline/archive"
	"github.com/sallyport-dev/sallyport/pipeline/elastic"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/journal/original"
	"github.com/sallyport-dev/sallyport/pipeline/session"
	"github.com/sallyport-dev/sallyport/tlsca/authority"
	"github.com/sallyport-dev/sallyport/tlsca/leaf"
)

// Options are what a daemon needs besides its configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	Reload  <-chan os.Signal // each asks for the policy to be read again, or for an upgrade if program or configuration changed; may be nil

	Upgrade    <-chan os.Signal // each asks for an upgrade in place; may be nil
	Command    []string         // path and arguments that start a successor; none: no upgrades
	ConfigFile string           // where cfg was read
}

// UsageError says that what was asked for is wrong, not the world: exit code 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// daemon holds the parts while they run.
type daemon struct {
	cfg *config.Config
	Options

	policy      *policies
	masking     *masking
	key         []byte // of fingerprints; see fingerprintKey
	ca          *authority.Authority
	leaves      *leaf.Cache
	journal     *journal.Journal
	index       *journal.Index
	originals   *original.Sealer // nil if what was masked is not kept
	sessions    *session.Sessions
	desk        *approval.Desk
	notifier    *webhook.Notifier // nil if it is off
	trust       *trust.Trust
	inspector   *inspector.Inspector // nil if it is off
	ident       *workload.Identifier
	kernel      *kernel.Kernel
	enrol       *enrol.Enrol
	flow        *flow.Flow
	proxy       *proxy.Server
	admin       *admin.Server
	elastic     *elastic.Shipper // nil if it is off
	metrics     *metrics.Metrics // nil if nobody may ask
	traces      *metrics.Traces  // nil if nobody is told
	archive     *archive.Archive // nil if there is none
	archiveDown atomic.Bool      // it takes nothing
	archiveWhy  atomic.Pointer[error]
	selftest    *selfTest
	audit       *dns.Audit
	marks       *marker
	older       *older.Older
	discover    *discover.Discover
	how         manner
	router      *router

	quarantine *quarantine.Quarantine
	health     health
	baton      *baton // held while this daemon writes the kernel's maps

	pred      *succession.Predecessor // nil: this process did not take over
	took      bool                    // it has let go, and what both use is ours
	leads     atomic.Bool             // it has told that we do
	gaveUp    bool                    // it was told that we do not
	configSum []byte
	wanted    chan struct{} // capacity 1: an upgrade

	spaces      *netns.Spaces      // other network namespaces
	others      []*net.TCPListener // made there by an earlier daemon, not yet taken over
	addresses   []netip.AddrPort   // where the proxy listens
	listeners   []*net.TCPListener
	handover    bool              // the service manager keeps the listeners
	upstreamCAs map[string][]byte // by file
	shown       sync.Map          // of shown, by host
	root        string            // where cgroup v2 is mounted
	own         uint64            // our cgroup
	generation  uint32            // of our programs in the kernel
	notices     notices
	installed   bool         // the kernel pins are ours to remove if the start fails
	ready       atomicReason // why not ready; "" = ready
}

// Run builds everything, serves until ctx ends, and stops in order. Everything that it made and that is not meant to
// outlive it (pins and journal are) is gone when it returns. A *UsageError means a mistake in configuration or policy.
func Run(ctx context.Context, cfg *config.Config, o Options) (err error) {
	d := &daemon{cfg: cfg, Options: o, configSum: fingerprint(o.ConfigFile), wanted: make(chan struct{}, 1)}
	d.ready.set("starting")
	defer func() { err = errors.Join(err, d.close(err != nil)) }()
	if d.pred, err = succession.Inherit(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"masking", d.openMasking},
		{"policy", d.openPolicy}, {"certificate authority", d.openCA}, {"journal", d.openJournal}, {"approvals", d.openDesk}, {"trust", d.openTrust},
		{"metrics", d.openMetrics}, {"exchanges", d.openFlow}, {"proxy", d.openProxy}, {"admin API", d.openAdmin}, {"archive", d.openArchive}, {"Elasticsearch", d.openElastic}, {"kernel", d.openKernel},
		{"predecessor", d.takeOver}, {"kernel", d.takeKernel},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return d.serve(ctx)
}

// checkScopes finds scopes that cannot be, or that would cut the host off.
func (d *daemon) checkScopes() error {
	root, attach, err := places(d.cfg)
	if err != nil { // no host of ours: then at least what is written down
		root, attach = "/sys/fs/cgroup", d.cfg.Capture.Cgroup
	}
	if _, err := enrol.New(d.enrolOptions(root, attach)); err != nil {
		return &UsageError{err}
	}
	return nil
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
	if d.ca, err = authority.Open(authority.Options{Dir: d.cfg.CA.Dir, Names: names, Beside: d.pred != nil}); err != nil {
		return err
	}
	d.leaves, err = leaf.New(leaf.Options{Signer: d.ca})
	return err
}

func (d *daemon) openKernel(context.Context) (err error) {
	root, attach, err := places(d.cfg)
	if err != nil {
		return err
	}
	d.root = root
	if d.quarantine, err = newQuarantine(d.cfg, d.ident.Resolve); err != nil {
		return err
	}
	var kin []int
	if d.pred != nil {
		kin = d.pred.PIDs
	}
	if d.own, err = ownCgroup(root, attach, kin); err != nil {
		return err
	}
	if _, serr := os.Stat(d.cfg.Capture.PinDir); errors.Is(serr, os.ErrNotExist) {
		d.installed = true
	}
	d.generation = uint32(time.Now().UnixMilli()) // only differs from that of any daemon shortly before
	d.kernel, err = kernel.Load(kernel.Options{Cgroup: attach, PinDir: d.cfg.Capture.PinDir, Generation: d.generation})
	if err != nil {
		return err
	}
	for name, err := range d.kernel.Refused() {
		d.Log.Warn("the kernel refused a capability", telemetry.KeyComponent, name, telemetry.KeyError, err)
	}
	d.selftest, d.audit = newSelfTest(d.kernel, attach), d.newAudit()
	d.enrol, err = enrol.New(d.enrolOptions(root, attach))
	if err != nil {
		return &UsageError{err}
	}
	d.router.enrol, d.router.selftest = d.enrol, d.selftest
	return d.openSpaces()
}

// takeOver waits until the predecessor has let go, and takes its sockets and sessions.
func (d *daemon) takeOver(ctx context.Context) error {
	if d.pred == nil {
		return nil
	}
	if err := d.pred.Prepared(ctx); err != nil {
		return err
	}
	d.took = true
	for i, at := range d.addresses {
		if d.listeners[i] != nil {
			continue
		}
		var err error
		if d.listeners[i], err = d.pred.Take(at); err != nil {
			return err
		}
	}
	d.others = append(d.others, d.pred.TakeOthers()...)
	handed, err := d.pred.TakeAdmin()
	if err == nil {
		err = d.admin.Take(handed)
	}
	if err == nil {
		err = d.journal.LookBeside(ctx)
	}
	if err == nil {
		err = d.restoreDesk()
	}
	return errors.Join(err, d.restoreBudgets())
}

// takeKernel puts configuration and programs in force.
func (d *daemon) takeKernel(ctx context.Context) error {
	if err := d.relieveGuard(ctx); err != nil {
		return err
	}
	if err := errors.Join(d.kernel.Exempt(d.own), d.kernel.SetPorts(d.ports()), d.nameEndpoints()); err != nil {
		return err
	}
	if err := d.enrol.Apply(); err != nil {
		return err
	}
	if err := d.quarantine.Apply(); errors.Is(err, quarantine.ErrUnresolved) {
		d.Log.Error("a quarantine is not as it should be", telemetry.KeyError, err)
	} else if err != nil {
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
	if err := d.kernel.Proof().Begin(d.pred != nil); err != nil {
		return err
	}
	if err := d.takeSpaces(); err != nil {
		return err
	}
	if err := d.kernel.Attach(); err != nil {
		return err
	}
	d.installed = false                      // from here on the pins keep failing closed, whatever becomes of us
	if err := d.enrol.Rescan(); err != nil { // cgroups that were made between Apply and Attach
		return err
	}
	if _, err := d.kernel.FlagInterpreters(); err != nil {
		return err
	}
	return d.trust.CoverFiles()
}

// close lets go of everything, in the reverse order of opening; it works on what a failed start left behind.
func (d *daemon) close(failed bool) (err error) {
	if d.admin != nil && failed {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err = errors.Join(err, d.admin.Shutdown(ctx))
		cancel()
	}
	closeListeners(d.others)
	if d.spaces != nil {
		err = errors.Join(err, d.spaces.Close())
	}
	for _, ln := range d.listeners {
		if ln == nil {
			continue // of a predecessor that has not let go
		}
		if cerr := ln.Close(); cerr != nil && !errors.Is(cerr, net.ErrClosed) {
			err = errors.Join(err, cerr)
		}
	}
	if d.kernel != nil {
		switch {
		case d.pred == nil || d.leads.Load():
			err = errors.Join(err, d.kernel.StopHeart())
		case d.took && !d.gaveUp: // our predecessor tries again
			err = errors.Join(err, d.kernel.Depart(handoverMargin))
		}
		d.kernel.Close()
	}
	if d.pred != nil {
		err = errors.Join(err, d.pred.Close())
	}
	if d.installed && failed {
		err = errors.Join(err, kernel.Uninstall(d.cfg.Capture.PinDir))
	}
	for _, c := range []func() error{closer(d.baton), d.closeTrust, closer(d.leaves), closer(d.ca), closer(d.journal)} {
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
