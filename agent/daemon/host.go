// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/agent/trust"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// BypassChange is one use of break glass: a line of the note beside the journal, then the body of an admin record.
type BypassChange struct {
	Action string        `json:"action"` // "bypass"
	Time   time.Time     `json:"time"`
	Scope  string        `json:"scope"`
	For    time.Duration `json:"for_ns"`
	Reason string        `json:"reason"`
	UID    int           `json:"uid"`
}

// bypassNote is where uses are noted while no daemon may be there to record them.
func bypassNote(cfg *config.Config) string {
	return filepath.Join(filepath.Dir(cfg.Record.Dir), "bypass.jsonl")
}

// Bypass lets the connections of a scope go direct for a while, with or without a daemon. It is noted on disk before it
// takes effect; the daemon, or the next one, moves the note into the journal.
func Bypass(cfg *config.Config, scope string, d time.Duration, reason string) error {
	for _, s := range cfg.Protect {
		if s.Name != scope {
			continue
		}
		line, err := json.Marshal(BypassChange{"bypass", time.Now(), scope, d, reason, os.Getuid()})
		if err != nil {
			return err
		}
		if err := appendSync(bypassNote(cfg), append(line, '\n')); err != nil {
			return fmt.Errorf("noting the bypass: %w", err)
		}
		return kernel.BypassName(cfg.Capture.PinDir, scope, d)
	}
	return &UsageError{fmt.Errorf("no scope is called %q: see protect[] in the configuration", scope)}
}

func appendSync(path string, line []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Sync(), f.Close())
}

// recordBypasses moves the notes into the journal. A note is removed only after it is on disk there: a crash in between
// records it twice, never not at all.
func (d *daemon) recordBypasses(ctx context.Context) error {
	note := bypassNote(d.cfg)
	taken := note + ".taken"
	if _, err := os.Stat(taken); errors.Is(err, os.ErrNotExist) {
		if err := os.Rename(note, taken); errors.Is(err, os.ErrNotExist) {
			return nil
		} else if err != nil {
			return fmt.Errorf("taking the notes of bypasses: %w", err)
		}
	}
	raw, err := os.ReadFile(taken)
	if err != nil {
		return fmt.Errorf("reading the notes of bypasses: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		var b BypassChange
		if err := json.Unmarshal([]byte(line), &b); err != nil {
			d.Log.Error("a note of a bypass cannot be read", telemetry.KeyPath, taken, telemetry.KeyError, err)
			b = BypassChange{Action: "bypass", Time: time.Now(), Reason: "unreadable note"}
		}
		b.Reason = d.words(b.Reason)
		if err := d.append(ctx, pipeline.Record{Kind: pipeline.KindAdmin, Time: b.Time, Body: b}); err != nil {
			return err
		}
		d.Log.Warn("a scope was bypassed", telemetry.KeyScope, b.Scope, telemetry.KeyDuration, b.For)
	}
	return os.Remove(taken)
}

// Uninstall takes out what a daemon leaves behind on purpose: programs and maps in the kernel, and changes of trust
// stores. It needs neither configuration nor daemon nor network, may be repeated, and says what it did, a line each.
func Uninstall(ctx context.Context, pinDir, ledger string, dry bool) (done []string, err error) {
	if pinDir == "" {
		pinDir = kernel.DefaultPinDir
	}
	if ledger == "" {
		ledger = trust.DefaultLedger
	}
	verb := "removed"
	if dry {
		verb = "would remove"
	}
	if _, serr := os.Stat(pinDir); serr == nil {
		if !dry {
			if err := kernel.Uninstall(pinDir); err != nil {
				return done, err
			}
		}
		done = append(done, verb+" programs and maps in "+pinDir)
	}
	dropIns := func(string) bool { return false }
	if dry {
		dropIns = func(string) bool { return true }
	}
	removed, err := removeDropIns(dropInFolders, dropIns)
	if done = append(done, removed...); err != nil {
		return done, err
	}
	t, err := trust.New(trust.Options{Ledger: ledger})
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, t.Close(ctx)) }()
	act := t.Remove
	if dry {
		act = func(context.Context) ([]trust.Change, error) { return t.Status() }
	}
	changes, err := act(ctx)
	for _, c := range changes {
		if strings.HasPrefix(c.State, "failed") {
			err = errors.Join(err, fmt.Errorf("%s%s: %s", c.Path, whose(c), c.State))
			continue
		}
		done = append(done, fmt.Sprintf("%s our roots from %s%s (%s)", verb, c.Path, whose(c), c.State))
	}
	if len(done) == 0 && err == nil {
		done = append(done, "nothing is installed")
	}
	return done, err
}

// whose says for which process a mount was made; files of the host are everybody's.
func whose(c trust.Change) string {
	if c.Kind != "mount" {
		return ""
	}
	return fmt.Sprintf(" of process %d", c.PID)
}
