// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"strings"
	"sync"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// fakeDaemon is all parts of a daemon that the server asks.
type fakeDaemon struct {
	mu       sync.Mutex
	records  []pipeline.Record
	readonly error // what Record returns
	removed  bool
	applied  []Peer
	scoped   map[uint32]bool
	scopeErr error
	block    chan struct{} // if set, Status waits for it
	entered  chan struct{}
}

func (f *fakeDaemon) Status(ctx context.Context) (adminapi.Status, error) {
	if f.block != nil {
		f.entered <- struct{}{}
		select {
		case <-f.block:
		case <-ctx.Done():
			return adminapi.Status{}, ctx.Err()
		}
	}
	return adminapi.Status{Ready: true, Version: "v1"}, nil
}

func (f *fakeDaemon) Doctor(context.Context) (adminapi.Doctor, error) {
	return adminapi.Doctor{Checks: []adminapi.Check{{Name: "kernel", State: adminapi.CheckOK}}}, nil
}

func (f *fakeDaemon) Sessions(_ context.Context, q adminapi.Query) ([]adminapi.Session, error) {
	s := adminapi.Session{ID: "ses_1", Started: q.Since, Count: q.Limit}
	if q.Exchanges {
		s.Exchanges = []adminapi.Exchange{{ExchangeID: "exc_1"}}
	}
	return []adminapi.Session{s}, nil
}

func (f *fakeDaemon) Session(_ context.Context, id string) (adminapi.Session, error) {
	if id != "ses_1" {
		return adminapi.Session{}, ErrNotFound
	}
	return adminapi.Session{ID: id, Exchanges: []adminapi.Exchange{{ExchangeID: "exc_1"}}}, nil
}

func (f *fakeDaemon) Decision(_ context.Context, id string) (adminapi.Decision, error) {
	if id != "dec_1" {
		return adminapi.Decision{}, ErrNotFound
	}
	return adminapi.Decision{ID: id, UID: 4242, Rule: "role/support"}, nil
}

func (f *fakeDaemon) Trust(context.Context) (adminapi.Trust, error) { return adminapi.Trust{}, nil }

func (f *fakeDaemon) TrustRemove(_ context.Context, r adminapi.TrustRemoveRequest) (adminapi.TrustRemoved, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removed = f.removed || !r.DryRun
	return adminapi.TrustRemoved{DryRun: r.DryRun}, nil
}

func (f *fakeDaemon) TrustApply(_ context.Context, p Peer, _ string) (adminapi.TrustApplied, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied = append(f.applied, p)
	return adminapi.TrustApplied{RootsFile: "/roots.pem"}, nil
}

func (f *fakeDaemon) Explain(_ context.Context, r adminapi.ExplainRequest) (adminapi.Explanation, error) {
	return adminapi.Explanation{Policy: r.Call.Model}, nil
}

func (f *fakeDaemon) Record(_ context.Context, r pipeline.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readonly != nil {
		return f.readonly
	}
	f.records = append(f.records, r)
	return nil
}

func (f *fakeDaemon) Scoped(pid uint32) (bool, error) { return f.scoped[pid], f.scopeErr }

func (f *fakeDaemon) actions() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.records {
		a := r.Body.(adminapi.Action)
		out = append(out, strings.TrimSpace(r.Kind+" "+a.Action+" "+a.Target))
	}
	return out
}
