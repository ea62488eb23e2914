// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/enrol"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/quarantine"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/agent/workload"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// places says where cgroup v2 is mounted and to which folder of it the programs are attached.
func places(cfg *config.Config) (root, attach string, err error) {
	if root, err = kernel.CgroupRoot(); err != nil {
		return "", "", err
	}
	if attach = cfg.Capture.Cgroup; attach == "" {
		attach = root
	}
	return root, attach, nil
}

// newQuarantine works with and without a daemon.
func newQuarantine(cfg *config.Config, resolve func(string) (string, string, error)) (*quarantine.Quarantine, error) {
	root, attach, err := places(cfg)
	if err != nil {
		return nil, err
	}
	return quarantine.New(quarantine.Options{
		File: filepath.Join(filepath.Dir(cfg.Record.Dir), "quarantine.json"), PinDir: cfg.Capture.PinDir, CgroupRoot: root, Attach: attach,
		Unit: workload.Unit, Container: workload.Container, Pod: workload.Pod, Resolve: resolve,
		Vital: func(m agent.Match) error {
			return enrol.Vital(enrol.Options{CgroupRoot: root, Attach: root, Unit: workload.Unit}, m)
		},
	}), nil
}

// offline is the quarantine of a host on which there need be no daemon.
func offline(cfg *config.Config) (*quarantine.Quarantine, error) {
	ident, err := workload.New(workload.Options{TrustDomain: cfg.Identity.TrustDomain, Template: cfg.Identity.Template})
	if err != nil {
		return nil, &UsageError{err}
	}
	return newQuarantine(cfg, ident.Resolve)
}

func us() quarantine.By {
	return quarantine.By{UID: uint32(os.Getuid()), PID: uint32(os.Getpid()), Comm: "sallyportd"}
}

// Quarantine cuts a principal off by the pinned maps, with or without a daemon, which records it later.
func Quarantine(cfg *config.Config, selector string, d time.Duration, reason string) (adminapi.Quarantine, error) {
	q, err := offline(cfg)
	if err != nil {
		return adminapi.Quarantine{}, err
	}
	e, err := q.Add(selector, d, reason, us())
	return quarantined(e), err
}

// LiftQuarantine ends one.
func LiftQuarantine(cfg *config.Config, selector string) error {
	q, err := offline(cfg)
	if err != nil {
		return err
	}
	_, err = q.Lift(selector, us())
	return err
}

// Quarantines lists who is cut off.
func Quarantines(cfg *config.Config) ([]adminapi.Quarantine, error) {
	q, err := offline(cfg)
	if err != nil {
		return nil, err
	}
	return listed(q)
}

func listed(q *quarantine.Quarantine) ([]adminapi.Quarantine, error) {
	list, err := q.List()
	var out []adminapi.Quarantine
	for _, l := range list {
		x := quarantined(l.Entry)
		x.Refused = l.Refused
		out = append(out, x)
	}
	return out, err
}

func quarantined(e quarantine.Entry) adminapi.Quarantine {
	out := adminapi.Quarantine{Selector: e.Selector, Since: e.Since, Until: e.Until, Reason: e.Reason, UID: e.By.UID, PID: e.By.PID, Comm: e.By.Comm, Paths: e.Paths}
	for _, c := range e.Cut {
		out.Cut = append(out.Cut, adminapi.QuarantineCut(c))
	}
	return out
}

// QuarantineChange is the body of an admin record.
type QuarantineChange struct {
	Action string `json:"action"` // "quarantine" or "quarantine.end"
	quarantine.Entry
}

// keepQuarantines does what there is to do once a second while somebody is cut off: deadlines, new cgroups, records.
func (d *daemon) keepQuarantines(ctx context.Context) error {
	if !d.quarantine.Active() {
		return nil
	}
	return errors.Join(d.quarantine.Apply(), d.recordQuarantines(ctx))
}

func (d *daemon) recordQuarantines(ctx context.Context) error {
	return d.quarantine.Unrecorded(func(e quarantine.Entry) error {
		c, at := QuarantineChange{"quarantine", e}, e.Since
		if !e.Ended.IsZero() {
			c.Action, at = "quarantine.end", e.Ended
		}
		c.Boot, c.AtBoot, c.Recorded = "", 0, false
		c.Reason = d.words(c.Reason) // sallyportd quarantine asks nobody
		if err := d.append(ctx, pipeline.Record{Kind: pipeline.KindAdmin, Time: at, Body: c}); err != nil {
			return err
		}
		d.Log.Warn("quarantine", telemetry.KeyState, c.Action, telemetry.KeyScope, c.Selector, telemetry.KeyCount, len(c.Cut))
		return nil
	})
}

// Quarantines implements admin.Quarantine.
func (c console) Quarantines(context.Context) ([]adminapi.Quarantine, error) {
	if c.d.quarantine == nil {
		return nil, errNotStarted
	}
	return listed(c.d.quarantine)
}

// Quarantine implements admin.Quarantine. Whoever asks is told if a part of it did not work: what did stays in force.
func (c console) Quarantine(ctx context.Context, p admin.Peer, r adminapi.QuarantineRequest) (adminapi.Quarantine, error) {
	if c.d.quarantine == nil {
		return adminapi.Quarantine{}, errNotStarted
	}
	e, err := c.d.quarantine.Add(r.Selector, time.Duration(r.Seconds)*time.Second, r.Reason, quarantine.By{UID: p.UID, PID: p.PID, Comm: p.Comm})
	if err != nil && e.Selector == "" {
		return adminapi.Quarantine{}, &admin.Refused{Err: err}
	}
	out := quarantined(e)
	if err = errors.Join(err, c.d.recordQuarantines(ctx)); err != nil {
		out.Warning = err.Error()
	}
	if len(out.Paths) == 0 && err == nil && !isUID(e.Selector) {
		out.Warning = "nothing runs there now: it is cut off when it comes"
	}
	return out, nil
}

func isUID(selector string) bool {
	s, err := quarantine.Parse(selector)
	return err == nil && s.Kind == quarantine.UID
}

// LiftQuarantine implements admin.Quarantine.
func (c console) LiftQuarantine(ctx context.Context, p admin.Peer, r adminapi.QuarantineLift) (adminapi.Quarantine, error) {
	if c.d.quarantine == nil {
		return adminapi.Quarantine{}, errNotStarted
	}
	e, err := c.d.quarantine.Lift(r.Selector, quarantine.By{UID: p.UID, PID: p.PID, Comm: p.Comm})
	if errors.Is(err, quarantine.ErrNone) {
		err = &admin.Refused{Err: err}
	}
	if err != nil {
		return adminapi.Quarantine{}, err
	}
	out := quarantined(e)
	if err := c.d.recordQuarantines(ctx); err != nil {
		out.Warning = err.Error()
	}
	return out, nil
}

var errNotStarted = errors.New("not started yet: ask again")
