// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/policy"
)

// openDesk makes the desk at which held things wait for people. A successor fills it when its predecessor has let go: until
// then decisions are taken there.
func (d *daemon) openDesk(context.Context) error {
	key, err := keyFile(d.cfg.Mask.KeyFile)
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, key) // a key of its own, that lives as long
	mac.Write([]byte("sallyport approval digests"))
	a := d.cfg.Approvals
	d.desk, err = approval.New(approval.Options{Log: d.journal, Key: mac.Sum(nil), Settings: d.approvalSettings,
		Default: pipeline.ApprovalSettings{Approvers: a.Groups, Minimum: a.Approvers, Timeout: a.Timeout},
		Notice:  func(err error) { d.notice("approvals", err) }})
	if err != nil {
		return err
	}
	d.policy.UseGrants(grants{d.desk})
	if err := d.openWebhook(); err != nil {
		return err
	}
	if d.pred != nil {
		return nil
	}
	return d.restoreDesk()
}

// restoreDesk folds what the journal has. The snapshot makes that quick for the next start.
func (d *daemon) restoreDesk() error {
	if err := foldApprovals(d.cfg.Record.Dir, d.desk); err != nil {
		return fmt.Errorf("reading approvals and elevations: %w", err)
	}
	if err := d.desk.Snapshot(); err != nil {
		d.Log.Warn("approvals are not written down anew, the next start reads more", telemetry.KeyError, err)
	}
	return nil
}

// grants tells the policy who has which role for a time.
type grants struct{ desk *approval.Desk }

func (g grants) For(m *pipeline.Meta) []pipeline.Grant { return g.desk.Grants(m) }

// elevationRule is what the rules of an elevation of a role begin with.
const elevationRule = "role/"

// approvalSettings are the rules of approvals for a rule of the policy in force, of an elevation for "role/NAME". What a rule
// does not say is as configured; nobody can ask for fewer people than that.
func (d *daemon) approvalSettings(rule string) (pipeline.ApprovalSettings, bool) {
	a := d.cfg.Approvals
	if strings.HasPrefix(rule, elevationRule) {
		e := a.Elevation
		return pipeline.ApprovalSettings{Approvers: e.Groups, Minimum: e.Approvers, Timeout: e.Timeout, MaxFor: e.Longest}, true
	}
	p, ok := d.policy.Approval(rule)
	if !ok {
		return pipeline.ApprovalSettings{}, false
	}
	out := pipeline.ApprovalSettings{Approvers: p.Groups, Minimum: max(p.Approvers, a.Approvers), Timeout: cmp.Or(p.Timeout, a.Timeout),
		MaxFor: a.Elevation.Longest, Once: !slices.Contains(p.Scopes, policy.ScopeSession)}
	if len(out.Approvers) == 0 {
		out.Approvers = a.Groups
	}
	for _, e := range p.Escalation {
		out.Escalate = append(out.Escalate, pipeline.ApprovalEscalation{After: e.After, Groups: e.Groups})
	}
	return out, true
}

// folder takes records at start.
type folder interface {
	Fold(pipeline.Record) error
	Restored(newest time.Time) error
}

// foldApprovals reads the newest records, and as many more as are needed to begin with a whole snapshot.
func foldApprovals(dir string, to folder) error {
	first, last, err := journal.Segments(dir)
	if err != nil {
		return err
	}
	for n := uint64(1); ; n *= 2 {
		from := first
		if last >= first+n {
			from = last - n + 1
		}
		list, newest, err := readApprovals(dir, from)
		if err != nil {
			return err
		}
		at := snapshotIn(list)
		if at < 0 && from > first {
			continue
		}
		for i := range list[max(at, 0):] {
			if err := to.Fold(list[max(at, 0)+i]); err != nil {
				return err
			}
		}
		return to.Restored(newest)
	}
}

// readApprovals gives the records of approvals and elevations from a segment on, and the time of the newest record of any kind.
func readApprovals(dir string, segment uint64) (list []pipeline.Record, newest time.Time, err error) {
	if segment == 0 {
		return nil, newest, nil
	}
	r, err := journal.OpenReader(dir, pipeline.Position{Segment: segment})
	if err != nil {
		return nil, newest, err
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list, newest, nil
		}
		if err != nil {
			return nil, newest, err
		}
		if e.Time.After(newest) {
			newest = e.Time
		}
		if e.Kind != pipeline.KindApproval && e.Kind != pipeline.KindElevation {
			continue
		}
		body := new(pipeline.Approval)
		if err := e.Decode(body); err != nil {
			return nil, newest, err
		}
		list = append(list, pipeline.Record{Kind: e.Kind, Time: e.Time, Session: e.Session, Exchange: e.Exchange, Body: body})
	}
}

// snapshotIn finds where the newest whole snapshot begins, -1 if there is none.
func snapshotIn(list []pipeline.Record) int {
	ended := map[string]bool{}
	for i := len(list) - 1; i >= 0; i-- {
		switch m := list[i].Body.(*pipeline.Approval).Mark; {
		case m == nil:
		case m.End:
			ended[m.ID] = true
		case ended[m.ID]:
			return i
		}
	}
	return -1
}

// leaveDesk lets nobody wait any longer: who waits is told that it is held, and may come again with the same request.
func (d *daemon) leaveDesk() {
	if err := d.desk.Snapshot(); err != nil {
		d.Log.Warn("approvals are not written down anew, the next start reads more", telemetry.KeyError, err)
	}
	d.desk.Close()
}
