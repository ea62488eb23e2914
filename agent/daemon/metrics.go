// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/sallyport-dev/sallyport/agent/metrics"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
)

// openMetrics makes what is counted, and the listener where it is asked for.
func (d *daemon) openMetrics(ctx context.Context) (err error) {
	a := d.cfg.Admin
	if a.Traces != "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("asking for the name of this host: %w", err)
		}
		if d.traces, err = metrics.NewTraces(ctx, a.Traces, d.Version, host, func(err error) { d.notice("traces", err) }); err != nil {
			return err
		}
	}
	if a.Metrics == "" {
		return nil
	}
	o := metrics.Options{Version: d.Version, State: d.state}
	for _, s := range d.cfg.Protect {
		o.Scopes = append(o.Scopes, s.Name)
	}
	for _, e := range d.cfg.Endpoints {
		o.Endpoints = append(o.Endpoints, e.Name)
	}
	seen := map[string]bool{}
	for _, r := range d.masking.base.engine.Rules() {
		if !seen[r.Type] {
			seen[r.Type] = true
			o.Types = append(o.Types, r.Type)
		}
	}
	d.metrics = metrics.New(o)
	return nil
}

// watchers are told of exchanges: sessions, and who counts.
func (d *daemon) watchers() flow.Sessions {
	if d.metrics == nil && d.traces == nil {
		return d.sessions
	}
	return watched{d.sessions, d.metrics, d.traces}
}

type watched struct {
	flow.Sessions
	metrics *metrics.Metrics
	traces  *metrics.Traces
}

// Answered implements flow.Sessions.
func (w watched) Answered(m *pipeline.Meta, c *pipeline.Call, o *pipeline.Outcome, used pipeline.Usage) {
	w.Sessions.Answered(m, c, o, used)
	if w.metrics != nil {
		w.metrics.Answered(m, o, used)
	}
	if w.traces != nil {
		w.traces.Answered(m, c, o)
	}
}

// runMetrics serves metrics, and sends traces, until ctx ends. A listener that cannot be had is tried again: a predecessor may still have it.
func (d *daemon) runMetrics(ctx context.Context) error {
	if d.traces != nil {
		defer func() {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := d.traces.Close(end); err != nil {
				d.Log.Warn("the last traces were not sent", telemetry.KeyError, err)
			}
		}()
	}
	if d.metrics == nil {
		<-ctx.Done()
		return nil
	}
	var lc net.ListenConfig
	told := false
	for {
		l, err := lc.Listen(ctx, "tcp", d.cfg.Admin.Metrics)
		if err == nil {
			return d.metrics.Serve(ctx, l)
		}
		if !told && ctx.Err() == nil && (d.pred == nil || !errors.Is(err, syscall.EADDRINUSE)) {
			d.Log.Warn("nobody can ask for metrics yet", telemetry.KeyAddress, d.cfg.Admin.Metrics, telemetry.KeyError, err)
			told = true
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// state is what metrics are made from at each scrape.
func (d *daemon) state(ctx context.Context) (metrics.State, error) {
	s, err := console{d}.Status(ctx)
	if err != nil {
		return metrics.State{}, err
	}
	flag := map[bool]float64{true: 1}
	out := metrics.State{Ready: s.Ready, Modes: map[string]string{}, Values: map[string]float64{
		"connections_seen_total": float64(s.Flows.Seen), "connections_proxied_total": float64(s.Flows.Proxied), "connections_passed_total": float64(s.Flows.Passed),
		"connections_denied_total": float64(s.Flows.Denied), "connections_missed_total": float64(s.Flows.Missed),
		"connections_unexplained": float64(s.Coverage.Unexplained), "connections_bypassed_total": float64(s.Coverage.Bypassed),
		"journal_bytes": float64(s.Journal.Bytes), "journal_full": flag[d.journal.State().Full],
		"approvals_waiting": float64(s.Approvals.Waiting), "elevations_active": float64(s.Approvals.Active),
		"untrusted_processes": float64(len(s.Untrusted)), "quarantined": float64(len(s.Quarantine)),
	}}
	errs := uint64(0)
	for _, n := range s.Kernel.Errors {
		errs += n
	}
	out.Values["kernel_errors_total"] = float64(errs)
	if d.archive != nil {
		out.Values["archive_exchanges"], out.Values["archive_bytes"] = float64(s.Archive.Exchanges), float64(s.Archive.Bytes)
		out.Values["archive_stopped"], out.Values["archive_rebuilds_total"] = flag[s.Archive.State == "stopped"], float64(s.Archive.Rebuilt)
	}
	if d.elastic != nil {
		e := d.elastic.State()
		out.Values["elasticsearch_lag_records"], out.Values["elasticsearch_documents_total"], out.Values["elasticsearch_dead_letters_total"] = float64(e.Lag), float64(e.Acked), float64(e.Dead)
	}
	for i, r := range d.ca.Roots() {
		left := time.Until(r.NotAfter).Seconds()
		if first := out.Values["certificate_expiry_seconds"]; i == 0 || left < first {
			out.Values["certificate_expiry_seconds"] = left
		}
	}
	for _, sc := range s.Scopes {
		out.Modes[sc.Name] = sc.Mode
	}
	return out, nil
}
