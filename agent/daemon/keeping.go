// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
	"github.com/sallyport-dev/sallyport/pipeline/journal/original"
)

func (d *daemon) journalOptions() (journal.Options, error) {
	o := journal.Options{Dir: d.cfg.Record.Dir, MaxBytes: d.cfg.Record.MaxBytes, Index: d.index, Beside: d.pred != nil,
		Notice: func(err error) { d.notice("journal", err) }}
	if d.cfg.Record.Anchors != "" {
		o.Anchors = anchor.Open(d.cfg.Record.Anchors)
	}
	if d.cfg.Record.Original != "" {
		s, err := original.New(d.cfg.Record.Recipients)
		if err != nil {
			return o, &UsageError{fmt.Errorf("record.recipients: %w", err)}
		}
		o.Seal, d.originals = s.Seal, s
	}
	return o, nil
}

// expireEvery is how often the journal is looked through for what is due.
const expireEvery = time.Hour

// keepRetention destroys what is due, once at the start and then each hour, until ctx ends.
func (d *daemon) keepRetention(ctx context.Context) error {
	for next := time.Minute; ; next = expireEvery { // not while a start has so much else to read
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
		if err := d.expire(ctx); err != nil && ctx.Err() == nil {
			d.notice("journal", fmt.Errorf("retention: %w", err))
		}
	}
}

func (d *daemon) expire(ctx context.Context) error {
	var needed uint64
	if d.elastic != nil {
		needed = d.elastic.Needed()
	}
	x, err := d.journal.Expire(ctx, journal.Retention(d.cfg.Record.Retention), needed)
	if x != (journal.Expired{}) {
		d.Log.Info("records expired", telemetry.KeyCount, x.Keys, telemetry.KeySegments, x.Segments)
	}
	return err
}

func recordSubject(s adminapi.RecordSubject) journal.Subject {
	return journal.Subject{Session: s.Session, Principal: s.Principal}
}

// Erase implements admin.Records. Whoever confirmed a list erases that one and no other.
func (c console) Erase(ctx context.Context, by admin.Person, r adminapi.EraseRequest) (adminapi.Erasure, error) {
	s := recordSubject(r.RecordSubject)
	e, err := c.d.journal.Find(ctx, s)
	if err == nil && !r.DryRun {
		if r.Digest != "" && r.Digest != e.Digest {
			return adminapi.Erasure{}, &admin.Conflict{Err: errors.New("there are other sessions than those that were confirmed: look again with --dry-run")}
		}
		c.d.sessions.Forget(e.All) // what comes while it is erased says all that it has itself
		e, err = c.d.journal.Erase(ctx, s, deciding(by), r.Reason)
		c.d.sessions.Forget(e.All)
	}
	out := adminapi.Erasure{RecordSubject: r.RecordSubject, Sessions: e.Sessions, List: e.List, Digest: e.Digest, Keys: e.Keys, DryRun: r.DryRun}
	switch {
	case errors.Is(err, journal.ErrHeld):
		return out, &admin.Denied{Err: err}
	case errors.Is(err, journal.ErrNothing):
		return out, admin.ErrNotFound
	case err == nil && !r.DryRun:
		c.d.Log.Warn("contents were erased", telemetry.KeyCount, e.Keys)
		if err := c.d.forget(ctx, e.All); err != nil {
			return out, err
		}
	}
	return out, err
}

// forget takes the words of erased sessions out of the search store too.
func (d *daemon) forget(ctx context.Context, sessions []string) error {
	if d.archive == nil {
		return nil
	}
	for _, s := range sessions {
		if err := d.archive.Forget(ctx, d.journal.Dir(), s); err != nil {
			return fmt.Errorf("the contents are erased, but for the words in the search store: stop sallyportd, remove %s, start it: %w", d.cfg.Archive.Path, err)
		}
	}
	return nil
}

// retained is how long the search store may know words: no longer than contents are kept.
func (d *daemon) retained() time.Duration {
	content, words := d.cfg.Record.Retention.Content, d.cfg.Archive.Retain
	if words == 0 || content > 0 && content < words {
		return content
	}
	return words
}

func holdOf(h journal.Hold) adminapi.Hold {
	return adminapi.Hold{RecordSubject: adminapi.RecordSubject{Session: h.Session, Principal: h.Principal}, Reason: h.Reason, Since: h.Since, User: h.By.User, UID: h.By.UID}
}

// Holds implements admin.Records.
func (c console) Holds(context.Context) (out []adminapi.Hold, err error) {
	for _, h := range c.d.journal.Holds() {
		out = append(out, holdOf(h))
	}
	return out, nil
}

// AddHold implements admin.Records.
func (c console) AddHold(_ context.Context, by admin.Person, r adminapi.HoldRequest) (adminapi.Hold, error) {
	h, err := c.d.journal.AddHold(recordSubject(r.RecordSubject), deciding(by), r.Reason)
	return holdOf(h), refusedHold(err)
}

// ReleaseHold implements admin.Records.
func (c console) ReleaseHold(_ context.Context, by admin.Person, r adminapi.HoldRequest) (adminapi.Hold, error) {
	h, err := c.d.journal.ReleaseHold(recordSubject(r.RecordSubject), deciding(by), r.Reason)
	return holdOf(h), refusedHold(err)
}

func refusedHold(err error) error {
	if errors.Is(err, journal.ErrHold) {
		return &admin.Refused{Err: err}
	}
	return err
}
