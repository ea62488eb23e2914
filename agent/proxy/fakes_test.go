// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// origins plays the kernel: every connection wanted to go to dest, unless it is told to forget.
type origins struct {
	mu   sync.Mutex
	dest netip.AddrPort
	err  error
}

func (o *origins) Take(netns uint64, conn *net.TCPConn) (agent.Conn, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return agent.Conn{}, o.err
	}
	if netns == 0 || conn == nil {
		return agent.Conn{}, errors.New("bad key")
	}
	return agent.Conn{Orig: o.dest, Proc: agent.Process{TGID: 42, Start: 7, UID: 1000, Comm: "python", NetNS: netns}}, nil
}

// identifier knows process 42.
type identifier struct{ err error }

func (i identifier) Identify(_ context.Context, p agent.Process) (pipeline.Workload, pipeline.Principal, error) {
	return pipeline.Workload{PID: p.TGID, Start: p.Start, UID: p.UID, Unit: "agent.service"}, pipeline.Principal{SPIFFEID: "spiffe://test/agent"}, i.err
}

// router answers from a table of names; the name "" stands for no TLS, "*" for the rest.
type router struct {
	mu         sync.Mutex
	table      map[string]proxy.Route
	handshakes []error
	asked      []string
	conns      []agent.Conn
	workloads  []pipeline.Workload
}

func (r *router) Route(c agent.Conn, w *pipeline.Workload, sni string, tls bool) proxy.Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, sni)
	r.conns, r.workloads = append(r.conns, c), append(r.workloads, *w)
	key := sni
	if tls && sni == "" {
		key = "no name"
	}
	if rt, ok := r.table[key]; ok {
		return rt
	}
	return r.table["*"]
}

func (r *router) Handshake(_ agent.Conn, _ string, err error) (bool, string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handshakes = append(r.handshakes, err)
	return proxy.Distrust(err), "restart it"
}

// ledger keeps records.
type ledger struct {
	mu    sync.Mutex
	flows []pipeline.Flow
}

func (l *ledger) Flow(r pipeline.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flows = append(l.flows, r.Body.(pipeline.Flow))
}

func (l *ledger) all() []pipeline.Flow {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.flows)
}
