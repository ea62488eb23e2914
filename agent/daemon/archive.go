// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/pipeline/archive"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// archivePause is how long a search store that failed is left alone.
const archivePause = time.Minute

// openArchive opens the search store. It is made from the journal: whatever is wrong with it stops nothing.
func (d *daemon) openArchive(ctx context.Context) error {
	if d.cfg.Archive.Off {
		return nil
	}
	a, err := archive.Open(ctx, archive.Options{Path: d.cfg.Archive.Path, Retain: d.retained(), Log: d.Log})
	if err != nil {
		d.Log.Warn("there is no search store: only the newest sessions can be listed", telemetry.KeyError, err)
		return nil
	}
	d.archive = a
	return nil
}

// runArchive feeds the search store until ctx ends.
func (d *daemon) runArchive(ctx context.Context) error {
	defer func() {
		if err := d.archive.Close(); err != nil {
			d.Log.Warn("closing the search store", telemetry.KeyError, err)
		}
	}()
	for {
		err := d.archive.Follow(ctx, d.journal)
		if err == nil {
			return nil
		}
		d.archiveDown.Store(true)
		d.Log.Warn("the search store does not take exchanges; they are in the journal", telemetry.KeyError, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(archivePause):
		}
		d.archiveDown.Store(false)
	}
}

// archiveStatus is the state of the search store.
func (d *daemon) archiveStatus(ctx context.Context) adminapi.Archive {
	if d.archive == nil {
		return adminapi.Archive{State: "off"}
	}
	out := adminapi.Archive{State: "ok"}
	st, err := d.archive.Stats(ctx)
	if err != nil || d.archiveDown.Load() {
		out.State = "stopped"
	}
	out.Exchanges, out.Bytes, out.Oldest = st.Exchanges, st.Bytes, st.Oldest
	return out
}

var errNoArchive = errors.New("this daemon has no search store (archive.off, or it could not be opened: see its log)")

// query reads a query for the search store.
func (c console) query(s string) (*archive.Query, error) {
	if c.d.archive == nil {
		return nil, &admin.QueryError{Err: errNoArchive}
	}
	q, err := archive.Parse(s, time.Now())
	if err != nil {
		return nil, &admin.QueryError{Err: err}
	}
	return q, nil
}

// asked turns what is wrong with a query itself into the asker's error.
func unanswered(err error) error {
	var q *archive.QueryError
	if errors.As(err, &q) || errors.Is(err, archive.ErrDeadline) {
		return &admin.QueryError{Err: err}
	}
	return err
}

// Search implements admin.Archive.
func (c console) Search(ctx context.Context, s adminapi.Search) (adminapi.Found, error) {
	var out adminapi.Found
	q, err := c.query(s.Query)
	if err != nil {
		return out, err
	}
	before, err := archive.Number(s.Before)
	if err != nil {
		return out, unanswered(err)
	}
	p, err := c.d.archive.Search(ctx, q, before, cmp.Or(s.Limit, 50))
	if err != nil {
		return out, unanswered(err)
	}
	for i := range p.Hits {
		out.Exchanges = append(out.Exchanges, hit(&p.Hits[i]))
	}
	if p.Next > 0 {
		out.Next = strconv.FormatInt(p.Next, 10)
	}
	return out, nil
}

func hit(h *archive.Hit) adminapi.Hit {
	return adminapi.Hit{SessionID: h.Session, ExchangeID: h.Exchange, Parent: h.Parent, Time: h.Time, Principal: adminapi.Principal{SPIFFEID: h.Principal, User: h.User},
		Tenant: h.Tenant, Workload: h.Workload, UID: h.UID, Scope: h.Scope, Mode: h.Mode, Endpoint: h.Endpoint, Operation: h.Operation, Model: h.Model,
		Tools: append([]string{}, strings.Fields(h.Tools)...), Action: h.Action, Rule: h.Rule, Enforced: h.Enforced, Status: h.Status, Cut: h.Cut, Masked: h.Masked,
		Input: h.Input, Output: h.Output, Cached: h.Cached, Estimated: h.Estimated, DurationMS: h.Duration.Milliseconds()}
}

// Usage implements admin.Archive.
func (c console) Usage(ctx context.Context, query string, days bool) (adminapi.UsageReport, error) {
	var out adminapi.UsageReport
	q, err := c.query(query)
	if err != nil {
		return out, err
	}
	rows, err := c.d.archive.Usage(ctx, q, days)
	if err != nil {
		return out, unanswered(err)
	}
	for _, u := range rows {
		out.Rows = append(out.Rows, adminapi.UsageRow{Day: u.Day, Principal: adminapi.Principal{SPIFFEID: u.Principal, User: u.User}, Tenant: u.Tenant,
			Endpoint: u.Endpoint, Model: u.Model, Exchanges: u.Exchanges, Input: u.Input, Output: u.Output, Cached: u.Cached, Estimated: u.Estimated})
	}
	keys, err := c.d.archive.SharedKeys(ctx, q.Since)
	for _, k := range keys {
		out.SharedKeys = append(out.SharedKeys, adminapi.SharedKey(k))
	}
	return out, unanswered(err)
}

// found lists the sessions of a query, newest first.
func (c console) found(ctx context.Context, query adminapi.Query) ([]adminapi.Session, error) {
	q, err := c.query(query.Find)
	if err != nil {
		return nil, err
	}
	if query.Since.After(q.Since) {
		q.Since = query.Since
	}
	list, _, err := c.d.archive.Sessions(ctx, q, 0, query.Limit)
	if err != nil {
		return nil, unanswered(err)
	}
	out := []adminapi.Session{}
	for _, s := range list {
		if query.Exchanges {
			full, err := c.session(ctx, s.ID)
			if err != nil {
				return nil, err
			}
			out = append(out, full)
			continue
		}
		h := &s.Newest
		out = append(out, adminapi.Session{ID: s.ID, Started: s.Started, Last: s.Last, Models: []string{h.Model}, Count: s.Exchanges, Denied: s.Denied, Masked: s.Masked,
			Principal: adminapi.Principal{SPIFFEID: h.Principal, User: h.User}, Workload: adminapi.Workload{UID: h.UID, Comm: h.Workload}})
	}
	return out, nil
}

// archived reads the exchanges of a session, or one by its ID, that the index does not know any more.
func (c console) archived(ctx context.Context, id string) ([]*journal.Parts, error) {
	if c.d.archive == nil {
		return nil, admin.ErrNotFound
	}
	hits, err := c.d.archive.Of(ctx, id)
	if errors.Is(err, archive.ErrNotFound) {
		return nil, admin.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	l := journal.NewLoader(c.d.journal.Dir())
	defer l.Close()
	var out []*journal.Parts
	for i := range hits {
		p, err := l.Load(&hits[i].Records)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
