// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/agent/trust"
)

// unitFolder is where drop-ins go.
func unitFolder(cfg *config.Config) string {
	if cfg.Trust.Persistent {
		return "/etc/systemd/system"
	}
	return "/run/systemd/system"
}

func rootsFile(cfg *config.Config) string {
	return filepath.Join(filepath.Dir(cfg.Admin.Socket), "roots.pem")
}

// openTrust also does what trust.host asks for, before programs are looked at: more roots harm nobody, so it makes no
// difference that a predecessor may still lead.
func (d *daemon) openTrust(ctx context.Context) (err error) {
	d.openInspector()
	d.trust, err = trust.New(trust.Options{Opens: opens{d}, Ledger: d.cfg.Trust.Ledger, Roots: d.ca.RootsPEM(), RootsFile: rootsFile(d.cfg),
		Host: trust.HostMode(d.cfg.Trust.Host), UnitDir: unitFolder(d.cfg)})
	if err != nil {
		return err
	}
	if err := d.trust.PrepareHost(ctx, unitPatterns(d.cfg)); err != nil {
		d.Log.Warn("the host's trust stores are not complete: programs that read them are refused or passed unread", telemetry.KeyError, err)
	}
	return nil
}

// unitPatterns are the units that scopes name in which TLS is opened.
func unitPatterns(cfg *config.Config) []string {
	var out []string
	for _, s := range cfg.Protect {
		if s.Match.Unit != "" && (s.Mode == "observe" || s.Mode == "enforce") {
			out = append(out, s.Match.Unit)
		}
	}
	return out
}

// named says whether a scope names the unit: no other unit is given mounts of its own.
func named(cfg *config.Config, unit string) bool {
	for _, p := range unitPatterns(cfg) {
		if ok, err := path.Match(p, unit); err == nil && ok {
			return true
		}
	}
	return false
}

// watchTrust puts roots in again that upgrades of packages take out.
func (d *daemon) watchTrust(ctx context.Context) error {
	return d.trust.WatchHost(ctx, func(problems map[string]error, err error) {
		if err != nil {
			d.Log.Error("looking at the host's trust stores", telemetry.KeyError, err)
		}
		for p, e := range problems {
			d.Log.Warn("a trust store lacks our roots", telemetry.KeyPath, p, telemetry.KeyError, e)
		}
	})
}

// Units prints the drop-ins that trust.host: unit writes, and changes nothing.
func Units(cfg *config.Config, out io.Writer) error {
	dir, err := os.MkdirTemp("", "sallyport")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t, err := trust.New(trust.Options{Ledger: filepath.Join(dir, "ledger"), Copies: trust.CopiesOf(cfg.Trust.Ledger), UnitDir: unitFolder(cfg), RootsFile: rootsFile(cfg)})
	if err != nil {
		return err
	}
	defer t.Close(context.Background()) // nothing is under way
	n := 0
	for _, p := range unitPatterns(cfg) {
		for _, u := range t.MatchUnits(p) {
			n++
			d, err := t.PlanUnit(u, nil)
			if err != nil {
				fmt.Fprintf(out, "# %s: nothing: %v\n", u, err)
				continue
			}
			fmt.Fprintf(out, "# %s\n%s", d.Path, d.Text)
			for p, e := range d.Skipped {
				fmt.Fprintf(out, "# not covered: %s: %v\n", p, e)
			}
		}
	}
	if n == 0 {
		fmt.Fprintln(out, "# no unit is named by a scope that observes or enforces")
	}
	return nil
}
