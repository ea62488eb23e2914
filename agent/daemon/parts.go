// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/enrol"
	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/agent/workload"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/llm/anthropic"
	"github.com/sallyport-dev/sallyport/pipeline/llm/ollama"
	"github.com/sallyport-dev/sallyport/pipeline/llm/openai"
)

// watch serves reload requests and notices, once a second, whether kernel events were lost.
func (d *daemon) watch(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	defer d.tellRest(true)
	var lost, unseen, ticks uint64
	var err error
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.Reload:
			if why := d.changed(); why != "" {
				d.Log.Info("a reload becomes an upgrade", telemetry.KeyState, why)
				select {
				case d.wanted <- struct{}{}:
				default: // one is wanted already
				}
				continue
			}
			d.reloading()
			d.policy.reload(ctx, causeReload)
			d.reloaded("")
		case now := <-tick.C:
			d.tellRest(false)
			d.prove(ctx, now, ticks)
			if ticks%sweepEvery == 0 {
				d.sweep()
			}
			if err := d.recordBypasses(ctx); err != nil {
				d.Log.Error("a bypass is not on record yet", telemetry.KeyError, err)
			}
			if err := d.keepQuarantines(ctx); err != nil {
				d.Log.Error("a quarantine is not as it should be", telemetry.KeyError, err)
			}
			if ticks++; ticks%5 == 0 {
				d.lookForVital()
				// An upgraded executable is another file.
				if err := d.enrol.Refresh(); err != nil {
					d.Log.Error("looking for the executables of scopes", telemetry.KeyError, err)
				}
			}
			if unseen, err = d.lookAgain(unseen); err != nil {
				return err
			}
			n, err := d.kernel.Lost()
			if err != nil {
				return err
			}
			if n != lost {
				lost = n
				d.Log.Warn("kernel events were lost, reading cgroups and marks again", telemetry.KeyCount, n)
				if err := d.enrol.Rescan(); err != nil {
					d.Log.Error("reading the cgroup tree", telemetry.KeyError, err)
				}
				d.older.Look()
				again, err := d.kernel.Marks()
				if err != nil {
					d.Log.Error("reading the marks", telemetry.KeyError, err)
				}
				if err := d.spaces.Scan(); err != nil {
					d.Log.Error("looking for network namespaces", telemetry.KeyError, err)
				}
				for _, m := range again { // trust that is there already is left alone
					d.marks.mark(m)
				}
			}
		}
	}
}

// protocols are those of the configuration that somebody here decodes.
func protocols() llm.Registry {
	open := openai.Provider{}
	return llm.Registry{"openai": open, "anthropic": anthropic.Provider{}, "ollama": ollama.Provider{Compatible: open}}
}

func (d *daemon) openFlow(context.Context) error {
	var err error
	d.ident, err = workload.New(workload.Options{TrustDomain: d.cfg.Identity.TrustDomain, Template: d.cfg.Identity.Template})
	if err != nil {
		return &UsageError{err}
	}
	d.flow, err = flow.New(flow.Options{
		Decider: d.policy, Holder: d.desk, Masker: d.masking, Log: d.journal, Sessions: d.watchers(),
		Codecs: protocols(), HelpURL: d.cfg.Policy.HelpURL, Originals: d.sealing(), Notice: d.notice,
	})
	return err
}

// sealing is what seals replies; nil if they are not kept.
func (d *daemon) sealing() func(exchange string) flow.Sealer {
	if d.originals == nil {
		return nil
	}
	return func(exchange string) flow.Sealer { return d.originals.Reply(exchange) }
}

// notice logs failures of parts that have nobody else to tell. Their errors hold no content.
func (d *daemon) notice(stage string, err error) {
	if d.notices.admit(stage, time.Now()) {
		d.Log.Warn("an exchange or connection failed", telemetry.KeyComponent, stage, telemetry.KeyError, err)
	}
}

// tellRest logs how many failures were not logged one by one.
func (d *daemon) tellRest(end bool) {
	for stage, n := range d.notices.rest(time.Now(), end) {
		d.Log.Warn("more failures of this kind", telemetry.KeyComponent, stage, telemetry.KeyCount, n)
	}
}

// fingerprintKey reads the key of fingerprints, or makes it, once. The parts that need it are opened one after the other.
func (d *daemon) fingerprintKey() (key []byte, err error) {
	if d.key == nil {
		d.key, err = keyFile(d.cfg.Mask.KeyFile)
	}
	return d.key, err
}

// keyFile reads a key of 32 bytes, or makes it.
func keyFile(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		info, serr := os.Stat(path)
		if serr != nil {
			return nil, serr
		}
		if len(raw) != 32 || info.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("%s is not a key of 32 bytes that only its owner can read: chmod 600 it, or remove it to get a new one", path)
		}
		return raw, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the key of fingerprints: %w", err)
	}
	key := make([]byte, 32)
	rand.Read(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the key of fingerprints: %w", err)
	}
	if err := os.WriteFile(path, key, 0o600); err != nil {
		return nil, fmt.Errorf("writing the key of fingerprints: %w", err)
	}
	return key, nil
}

// origins is the kernel, once there is one: the proxy is built before it.
type origins struct{ d *daemon }

func (o origins) Take(netns uint64, conn *net.TCPConn) (agent.Conn, error) {
	c, err := o.d.kernel.Take(netns, conn)
	if err != nil {
		return c, errors.Join(proxy.ErrNoRecord, err)
	}
	o.d.kernel.Proof().Took(c)
	return o.d.renumber(c), nil
}

// renumber makes the scope of a connection unknown that waited in the queue while another daemon took over: its number is
// one of the configuration before, and is looked up anew.
func (d *daemon) renumber(c agent.Conn) agent.Conn {
	if c.Generation != d.generation {
		c.Scope = agent.ScopePending
	}
	return c
}

// ledger writes flow records to the journal; the proxy does not wait for the disk.
type ledger struct{ d *daemon }

func (l ledger) Flow(r pipeline.Record) {
	if f, ok := r.Body.(pipeline.Flow); ok && f.Reason == selfTestReason {
		return // twice a minute, by ourselves
	}
	r.Body = l.d.masking.flow(r.Body)
	l.d.journal.Append(r)
}

func (d *daemon) openProxy(ctx context.Context) error {
	key, err := d.fingerprintKey()
	if err != nil {
		return err
	}
	d.router = &router{d: d}
	d.proxy, err = proxy.New(proxy.Options{
		Origins: origins{d}, Identifier: identifier{d}, Router: d.router, Certs: d.leaves, Handler: d.flow, Ledger: ledger{d}, Addresses: addresses{d},
		Roots: sync.OnceValues(func() (*x509.CertPool, error) { return systemRoots(systemBundles, d.ca.Roots()) }),
		Accepting: func() {
			if err := d.kernel.Beat(); err != nil {
				d.Log.Error("heartbeat", telemetry.KeyError, err)
			}
		},
		Dial:           func(ctx context.Context, c agent.Conn) (net.Conn, error) { return d.spaces.Dial(ctx, c) },
		FingerprintKey: key, Notice: d.notice, StallTimeout: d.cfg.Proxy.Stall, UpstreamTimeout: d.cfg.Proxy.UpstreamStall, MaxConns: d.cfg.Proxy.MaxConnections, MaxMemory: d.cfg.Proxy.MaxMemory,
	})
	if err != nil {
		return err
	}
	v4, err := netip.ParseAddrPort(d.cfg.Proxy.Listen)
	if err != nil {
		return &UsageError{fmt.Errorf("proxy.listen: %w", err)}
	}
	kept, others, err := inherited()
	d.others = others
	if err != nil {
		return err
	}
	defer func() {
		for _, l := range kept { // of addresses that are not ours any more
			_ = l.Close()
		}
	}()
	listen := func(at netip.AddrPort) error {
		var l *net.TCPListener
		var err error
		switch {
		case d.pred != nil && d.pred.Offers(at): // it comes when the predecessor has let go
		case kept[at] != nil:
			l = kept[at]
			delete(kept, at)
		default:
			l, err = proxy.Listen(ctx, at.String())
		}
		if err == nil {
			d.addresses, d.listeners = append(d.addresses, at), append(d.listeners, l)
		}
		return err
	}
	if err := listen(v4); err != nil {
		return err
	}
	if v4.Addr().Is4() {
		if err := listen(netip.AddrPortFrom(netip.IPv6Loopback(), v4.Port())); err != nil && hasIPv6() {
			return err
		}
	}
	return nil
}

// hasIPv6 says whether this host has an IPv6 loopback address at all.
func hasIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}

// router lets enrol decide and translates; the self-test's own connections end here.
type router struct {
	d        *daemon
	enrol    *enrol.Enrol
	selftest *selfTest
	tries    tries
}

func (r *router) Route(c agent.Conn, w *pipeline.Workload, sni string, tls bool) proxy.Route {
	if r.selftest.saw(c) {
		return proxy.Route{Disposition: proxy.Refuse, Reason: selfTestReason}
	}
	e := r.enrol.Route(c, w, sni, tls)
	if e.Untrusted && r.trustNow(c, e.Missing) {
		e = r.enrol.Route(c, w, sni, tls)
	}
	out := proxy.Route{Endpoint: e.Endpoint, UpstreamCA: e.UpstreamCA, Plain: e.Plain, Scope: e.Scope, Mode: e.Mode, Untrusted: e.Untrusted, Reason: e.Reason}
	switch e.Disposition {
	case enrol.Pass:
		out.Disposition = proxy.Pass
	case enrol.Terminate:
		out.Disposition = proxy.Terminate
	default:
		out.Disposition = proxy.Refuse
	}
	return out
}

func (d *daemon) enrolOptions(root, attach string) enrol.Options {
	o := enrol.Options{CgroupRoot: root, Attach: attach, Kernel: d.selftest, Trust: d.trust, Root: d.rootOf, Unit: workload.Unit, Host: hostID(), Log: d.Log}
	if d.kernel != nil { // a check of the configuration has none
		o.Learned, o.Proofs = d.kernel.Learner(), d.kernel
	}
	o.DefaultMode, _ = agent.ParseMode(d.cfg.Capture.DefaultMode) // config has checked both modes
	for _, s := range d.cfg.Protect {
		mode, _ := agent.ParseMode(s.Mode)
		o.Scopes = append(o.Scopes, agent.Scope{Name: s.Name, Mode: mode, Closed: s.Fail == "closed", Deny: s.Untrusted == "deny", DenyDNS: s.EncryptedDNS == "deny", Canary: s.Canary,
			Match: agent.Match{Cgroup: s.Match.Cgroup, Unit: s.Match.Unit, UID: s.Match.UID, Exe: s.Match.Exe, LangChain: s.Match.LangChain}})
	}
	for _, e := range d.cfg.Endpoints {
		var ca []byte
		if e.UpstreamCA != "" {
			ca = d.upstreamCAs[e.UpstreamCA]
		}
		o.Endpoints = append(o.Endpoints, enrol.Endpoint{Name: e.Name, Host: e.Host, Protocol: e.Protocol, BasePath: e.BasePath, Port: e.Port, UpstreamCA: ca, Plain: e.Plain})
	}
	return o
}
