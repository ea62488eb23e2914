// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
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
	key, err := d.fingerprintKey()
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

// longestHold is beyond what a rule may let anything wait for people.
const longestHold = 31 * 24 * time.Hour

// restoreDesk folds what the journal has. The snapshot makes that quick for the next start.
func (d *daemon) restoreDesk() error {
	newest, err := journal.Approvals(d.cfg.Record.Dir, time.Now().Add(-longestHold-d.cfg.Approvals.Elevation.Longest), d.desk.Fold)
	if err == nil {
		err = d.desk.Restored(newest)
	}
	if err != nil {
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

// leaveDesk lets nobody wait any longer: who waits is told that it is held, and may come again with the same request.
func (d *daemon) leaveDesk() {
	if err := d.desk.Snapshot(); err != nil {
		d.Log.Warn("approvals are not written down anew, the next start reads more", telemetry.KeyError, err)
	}
	d.desk.Close()
}
