// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
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
	d.archive = a
	if err != nil {
		d.archiveFails(err)
		d.Log.Warn("the search store cannot be opened now, and is tried again: until then only the newest sessions can be listed", telemetry.KeyError, err)
	}
	return nil
}

// archiveFails notes why the search store takes nothing.
func (d *daemon) archiveFails(err error) {
	d.archiveWhy.Store(&err)
	d.archiveDown.Store(true)
}

// runArchive feeds the search store until ctx ends.
func (d *daemon) runArchive(ctx context.Context) error {
	defer func() {
		if err := d.archive.Close(); err != nil {
			d.Log.Warn("closing the search store", telemetry.KeyError, err)
		}
	}()
	d.feed(ctx, d.archive)
	return nil
}

// store is a search store as feed sees it.
type store interface {
	Follow(context.Context, *journal.Journal) error
	Renew(context.Context) error
}

// feed keeps a search store fed until ctx ends or the journal is closed. One that is damaged is built anew: at once, unless that has just been
// tried, and again until it works. It then begins with the oldest record, so that nothing is lost that came meanwhile.
func (d *daemon) feed(ctx context.Context, a store) {
	renew, renewed := false, time.Time{}
	for ctx.Err() == nil {
		var err error
		if renew {
			renewed = time.Now()
			err = a.Renew(ctx)
			renew = err != nil
		}
		if err == nil {
			d.archiveDown.Store(false)
			if err = a.Follow(ctx, d.journal); err == nil {
				return
			}
		}
		d.archiveFails(err)
		if archive.IsDamaged(err) {
			renew = true
		}
		if renew && time.Since(renewed) > archivePause {
			d.Log.Warn("the search store is damaged and is built anew", telemetry.KeyError, err)
			continue
		}
		d.Log.Warn("the search store does not take exchanges; they are in the journal", telemetry.KeyError, err)
		select {
		case <-ctx.Done():
		case <-time.After(archivePause):
		}
	}
}

// archiveStatus is the state of the search store.
func (d *daemon) archiveStatus(ctx context.Context) adminapi.Archive {
	if d.archive == nil {
		return adminapi.Archive{State: "off"}
	}
	out := adminapi.Archive{State: "ok"}
	st, err := d.archive.Stats(ctx)
	if down := d.archiveDown.Load(); err != nil || down {
		out.State = "stopped"
		if why := d.archiveWhy.Load(); down && why != nil {
			err = *why
		}
		if err != nil {
			out.Error = err.Error()
		}
	}
	out.Exchanges, out.Bytes, out.Oldest, out.Rebuilt = st.Exchanges, st.Bytes, st.Oldest, st.Renewed
	return out
}

// archiveWarnings are what people are to know of the search store.
func archiveWarnings(a *adminapi.Archive) (out []string) {
	if a.State == "stopped" {
		out = append(out, "the search store takes no exchanges now (they are in the journal; it is tried again each minute): "+a.Error)
	}
	if a.Rebuilt > 0 {
		out = append(out, fmt.Sprintf("the search store could not be used and was built anew from the journal %d time(s) since the start: look at the disk of its file", a.Rebuilt))
	}
	return out
}

var errNoArchive = errors.New("this daemon has no search store (archive.off)")

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

// unanswered turns what is wrong with a query itself into the asker's error.
func unanswered(err error) error {
	var q *archive.QueryError
	if errors.As(err, &q) || errors.Is(err, archive.ErrDeadline) || errors.Is(err, archive.ErrBusy) {
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

// found lists the sessions of a query, newest first, without their exchanges.
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
	for i := range list {
		s, h := &list[i], &list[i].Newest
		models := []string{}
		if h.Model != "" {
			models = append(models, h.Model)
		}
		out = append(out, adminapi.Session{ID: s.ID, Started: s.Started, Last: s.Last, Models: models, Count: s.Exchanges, Denied: s.Denied, Masked: s.Masked,
			Principal: adminapi.Principal{SPIFFEID: h.Principal, User: h.User}, Workload: adminapi.Workload{UID: h.UID, Comm: h.Workload}})
	}
	return out, nil
}

// whole gives sessions their exchanges.
func (c console) whole(ctx context.Context, list []adminapi.Session) ([]adminapi.Session, error) {
	out := []adminapi.Session{}
	for i := range list {
		full, err := c.session(ctx, list[i].ID)
		if errors.Is(err, admin.ErrNotFound) {
			continue // retention removed it since
		}
		if err != nil {
			return nil, err
		}
		out = append(out, full)
	}
	return out, nil
}

// completed adds to a listing of the index, which knows the newest exchanges only, what the search store knows: of sessions that it has in part,
// how they began and how much there is of them; and the sessions before. open has the number of exchanges of each that have not ended, which the
// search store does not know. Without the search store the listing stays as it is.
func (c console) completed(ctx context.Context, q adminapi.Query, known []adminapi.Session, open map[string]int) ([]adminapi.Session, error) {
	var ids []string
	have := map[string]bool{}
	for i := range known {
		ids, have[known[i].ID] = append(ids, known[i].ID), true
	}
	all, err := c.d.archive.Known(ctx, ids)
	var more []adminapi.Session
	if err == nil && len(known) < q.Limit {
		more, err = c.found(ctx, q)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		c.d.Log.Warn("older sessions cannot be listed", telemetry.KeyError, err)
	}
	for i := range known {
		if s, ok := all[known[i].ID]; ok {
			k := &known[i]
			if s.Started.Before(k.Started) {
				k.Started = s.Started
			}
			k.Count, k.Denied, k.Masked = max(k.Count, s.Exchanges+open[k.ID]), max(k.Denied, s.Denied), max(k.Masked, s.Masked)
		}
	}
	for i := range more {
		if !have[more[i].ID] && len(known) < q.Limit {
			known = append(known, more[i])
		}
	}
	return known, nil
}

// archived adds to the exchanges of a session those that the index does not know any more. id may also be that of one exchange.
func (c console) archived(ctx context.Context, id string, known []*journal.Parts) ([]*journal.Parts, error) {
	var hits []archive.Hit
	if c.d.archive != nil {
		var err error
		if hits, err = c.d.archive.Of(ctx, id); err != nil && !errors.Is(err, archive.ErrNotFound) && len(known) == 0 {
			return nil, err // else what the index has is shown, whatever is wrong with the search store
		}
	}
	have := map[string]bool{}
	for _, p := range known {
		have[p.Exchange] = true
	}
	l := journal.NewLoader(c.d.journal.Dir())
	defer l.Close()
	var older []*journal.Parts
	for i := range hits {
		if have[hits[i].Exchange] {
			continue
		}
		p, err := l.Load(&hits[i].Records)
		if errors.Is(err, fs.ErrNotExist) {
			continue // retention removed it since
		}
		if err != nil {
			return nil, err
		}
		older = append(older, p)
	}
	out := append(older, known...)
	if len(out) == 0 {
		return nil, admin.ErrNotFound
	}
	slices.SortStableFunc(out, func(a, b *journal.Parts) int { return a.Time.Compare(b.Time) })
	return out, nil
}
