// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/enrol"
	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/agent/trust"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// opens is the kernel, once there is one, for trust, which is built before it.
type opens struct{ d *daemon }

func (o opens) Cover(f agent.StoreFile, roots []agent.RootID) error {
	if o.d.kernel == nil {
		return &agent.Unsupported{Feature: "seeing which trust stores a program opens"}
	}
	return o.d.kernel.Cover(f, roots)
}

func (o opens) Watch(pid int, start uint64) error {
	if o.d.kernel == nil {
		return &agent.Unsupported{Feature: "seeing which trust stores a program opens"}
	}
	return o.d.kernel.Watch(pid, start)
}

// shown is the certificate that clients of a host are shown, and the root that it is under.
type shown struct {
	leaf *tls.Certificate
	root agent.RootID
}

// rootOf names the root of the certificate that a client of a host is shown now; 0 if there is none.
func (d *daemon) rootOf(host string) agent.RootID {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	leaf, err := d.leaves.Leaf(ctx, host)
	if err != nil || len(leaf.Certificate) < 2 {
		return 0
	}
	if x, ok := d.shown.Load(host); ok && x.(shown).leaf == leaf {
		return x.(shown).root
	}
	issuer, err := x509.ParseCertificate(leaf.Certificate[1])
	if err != nil {
		return 0
	}
	for _, r := range d.ca.Roots() {
		if bytes.Equal(r.SubjectKeyId, issuer.AuthorityKeyId) {
			sum := sha256.Sum256(r.Raw)
			id := agent.RootID(binary.BigEndian.Uint64(sum[:]))
			d.shown.Store(host, shown{leaf, id}) // one for each endpoint: no other name has a leaf
			return id
		}
	}
	return 0
}

// tries remembers when trust was last given to a process at a connection: a program whose stores cannot be changed must
// not make us read them at each.
type tries struct {
	mu sync.Mutex
	of map[try]time.Time
}

type try struct {
	pid   uint32
	start uint64
}

const (
	tryEvery = 10 * time.Second
	maxTries = 4096 // then all are forgotten
)

func (t *tries) again(pid uint32, start uint64, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := try{pid, start}
	if last, ok := t.of[k]; ok && now.Sub(last) < tryEvery {
		return false
	}
	if t.of == nil || len(t.of) >= maxTries {
		t.of = map[try]time.Time{}
	}
	t.of[k] = now
	return true
}

// trustNow gives trust to a process at its first connection, if nothing did before: a program that reads its stores while
// it verifies, as Go does, is in time. It says whether something was changed.
func (r *router) trustNow(c agent.Conn, missing bool) bool {
	if !r.tries.again(c.Proc.TGID, c.Proc.Start, time.Now()) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if r.d.inspect(ctx, c.Proc) {
		return true
	}
	if !missing {
		return false
	}
	res, err := r.d.trust.Apply(ctx, int(c.Proc.TGID), c.Proc.Start, nil)
	if err != nil {
		r.d.Log.Debug("trust was not given at a connection", telemetry.KeyPID, c.Proc.TGID, telemetry.KeyError, err)
		return false
	}
	// Covered without a change: another program's start in this namespace was in time, or one of this process's own past.
	return res.Outcome == trust.Covered || slices.ContainsFunc(res.Stores, func(s trust.Store) bool { return s.New })
}

// Handshake implements proxy.Router.
func (r *router) Handshake(c agent.Conn, host string, err error) (untrusted bool, mend string) {
	switch {
	case err == nil:
		return r.enrol.Handshake(c, host, enrol.Completed)
	case proxy.Distrust(err):
		return r.enrol.Handshake(c, host, enrol.Distrust)
	case proxy.Silent(err):
		return r.enrol.Handshake(c, host, enrol.Vanished)
	}
	return false, ""
}

// trusting lists processes in the shape of the API.
func (d *daemon) trusting() []adminapi.TrustProcess {
	var out []adminapi.TrustProcess
	for _, t := range d.enrol.Trusting() {
		if t.Kind == "" {
			t.Kind = d.trust.Kind(int(t.Process.TGID), t.Process.Start)
		}
		out = append(out, adminapi.TrustProcess{PID: t.Process.TGID, Comm: t.Process.Comm, UID: t.Process.UID, Kind: t.Kind, Host: t.Host,
			Proven: t.State.Proven(), State: string(t.State), Why: t.Why, Mend: t.Mend, Conns: t.Conns, Last: t.Last})
	}
	return out
}

// trustOf explains the trust of a process in the form of a decision.
func (c console) trustOf(pid string) (adminapi.Decision, error) {
	if c.d.enrol == nil {
		return adminapi.Decision{}, admin.ErrNotFound
	}
	for _, t := range c.d.enrol.Trusting() {
		if strconv.FormatUint(uint64(t.Process.TGID), 10) != pid {
			continue
		}
		out := adminapi.Decision{ID: "pid_" + pid, Time: t.Last, Action: pipeline.Deny.String(), Stage: "trust", Rule: "builtin/trust-" + string(t.State),
			Reason: t.Why, Endpoint: t.Host, UID: t.Process.UID, Enforced: true}
		if t.Mend != "" && !strings.Contains(t.Why, "sallyport run") {
			out.Reason += ": " + t.Mend
		}
		if t.State.Proven() {
			out.Action, out.Reason = pipeline.Allow.String(), "its trust in our root is proven ("+string(t.State)+")"
		}
		return out, nil
	}
	return adminapi.Decision{}, admin.ErrNotFound
}
