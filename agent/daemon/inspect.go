// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/agent/trust/inspector"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// The bounds of adding our roots to a running Node.js program, its turn in the queue included.
const (
	inspectLimit = 30 * time.Second
	recoverEvery = 30 * time.Second
)

// openInspector readies the inspector, if it is wanted.
func (d *daemon) openInspector() {
	if d.cfg.Trust.NodeInspector {
		d.inspector = inspector.New(filepath.Join(filepath.Dir(d.cfg.Trust.Ledger), "inspector.open"))
	}
}

// watchInspector closes, at start and now and then, inspectors that were left open or that opened late.
func (d *daemon) watchInspector(ctx context.Context) error {
	if d.inspector == nil {
		return nil
	}
	tick := time.NewTicker(recoverEvery)
	defer tick.Stop()
	for {
		if _, err := d.inspector.Recover(ctx); err != nil && ctx.Err() == nil {
			d.Log.Error("closing the inspector of a program", telemetry.KeyError, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// inspect adds our roots to a running Node.js program that is not known to trust them. Both that it is done and what came
// of it are recorded. It says whether the program trusts them now.
func (d *daemon) inspect(ctx context.Context, p agent.Process) bool {
	if d.inspector == nil || d.trust.Kind(int(p.TGID), p.Start) != "node" {
		return false
	}
	known, err := d.kernel.Proofs(int(p.TGID), p.Start)
	if err != nil {
		return false // it ended; or what we add could not be remembered
	}
	roots := d.trust.Roots()
	lacks := func(r agent.RootID) bool {
		_, opened := known.Opened(r)
		return !opened && !slices.Contains(known.Good, r)
	}
	if !slices.ContainsFunc(roots, lacks) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, inspectLimit)
	defer cancel()
	record := func(what string) error {
		return d.append(ctx, pipeline.Record{Kind: pipeline.KindAdmin, Time: time.Now(), Body: adminapi.Action{Action: "trust.inspector", Target: what, UID: p.UID, PID: p.TGID, Comm: p.Comm}})
	}
	if err := record("opening"); err != nil {
		return false // what cannot be recorded does not happen
	}
	how, err := d.inspector.Add(ctx, inspector.Process{PID: int(p.TGID), Start: p.Start}, d.ca.RootsPEM())
	log := d.Log.With(telemetry.KeyPID, p.TGID, telemetry.KeyComm, p.Comm)
	if how != "" {
		for _, r := range roots {
			if serr := d.kernel.Shaken(int(p.TGID), p.Start, r, true); serr != nil {
				log.Debug("a proof is not noted", telemetry.KeyError, serr)
			}
		}
	}
	outcome := how
	if err != nil {
		outcome = "failed: " + err.Error()
		log.Warn("our roots were not added through the inspector", telemetry.KeyError, err)
	} else {
		log.Info("our roots were added to a running program through its inspector", telemetry.KeyState, how)
	}
	if err := record(outcome); err != nil && ctx.Err() == nil {
		log.Error("the use of an inspector is not on record", telemetry.KeyError, err)
	}
	return how != ""
}
