// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/dns"
	"github.com/sallyport-dev/sallyport/agent/enrol"
	"github.com/sallyport-dev/sallyport/agent/kernel/learn"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// ports are the captured ones: those that are configured, those of endpoints, and where a scope enforces that of DNS over TLS, so
// that it is on record.
func (d *daemon) ports() []uint16 {
	out := slices.Clone(d.cfg.Capture.Ports)
	for _, e := range d.cfg.Endpoints {
		out = append(out, e.Port)
	}
	if slices.ContainsFunc(d.cfg.Protect, func(s config.Scope) bool { return s.Mode == agent.ModeEnforce.String() }) {
		out = append(out, enrol.PortDoT)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// nameEndpoints tells the kernel which names and addresses are endpoints.
func (d *daemon) nameEndpoints() error {
	var out []learn.Endpoint
	for _, e := range d.cfg.Endpoints {
		out = append(out, learn.Endpoint{Host: e.Host, Port: e.Port, TLS: !e.Plain})
	}
	return d.kernel.Learner().SetEndpoints(out)
}

// newAudit makes the second look at DNS.
func (d *daemon) newAudit() *dns.Audit {
	var hosts []string
	for _, e := range d.cfg.Endpoints {
		hosts = append(hosts, e.Host)
	}
	return dns.New(dns.Options{Book: d.kernel.Learner(), Hosts: hosts, Tell: d.foundInDNS})
}

// foundInDNS logs what an audit of DNS found, and records it.
func (d *daemon) foundInDNS(f dns.Finding) {
	d.Log.Warn("DNS: "+f.Detail, telemetry.KeyHost, f.Name, telemetry.KeyComponent, string(f.Kind), telemetry.KeyCount, f.Count)
	d.journal.Append(pipeline.Record{Kind: pipeline.KindGap, Time: time.Now(), Body: pipeline.Gap{Reason: "dns " + string(f.Kind) + " of " + f.Name + ": " + f.Detail, Count: f.Count}})
}

// sweepEvery is after how many seconds addresses that are out of date are forgotten. The programs do not use them until then either.
const sweepEvery = 30

func (d *daemon) sweep() {
	if err := d.kernel.Learner().Sweep(); err != nil {
		d.Log.Error("forgetting addresses of endpoints", telemetry.KeyError, err)
	}
}

// addresses gives the proxy other addresses of a provider, once there is a kernel part.
type addresses struct{ d *daemon }

// verifiedFor is how long an address at which a provider proved its name counts as its own.
const verifiedFor = 10 * time.Minute

func (a addresses) Verified(netns uint64, host string, at netip.Addr) {
	if err := a.d.kernel.Learner().Learn(netns, at, host, verifiedFor); err != nil && !errors.Is(err, learn.ErrFull) { // which is counted
		a.d.Log.Warn("an address of an endpoint is not noted", telemetry.KeyHost, host, telemetry.KeyError, err)
	}
}

func (a addresses) Addresses(netns uint64, host string) []netip.Addr {
	return a.d.kernel.Learner().Addresses(netns, host)
}
