// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/mask"
	"github.com/sallyport-dev/sallyport/pipeline/session"
)

// openJournal opens the record, and learns from it which sessions go on.
func (d *daemon) openJournal(ctx context.Context) (err error) {
	if !d.cfg.Record.Required {
		return &UsageError{errors.New("record.required: false is not supported yet: leave it out")}
	}
	key, err := d.fingerprintKey()
	if err != nil {
		return err
	}
	d.sessions = session.New(session.Options{Key: key})
	d.index = journal.NewIndex(0)
	d.index.Watch(d.sessions.Observe)
	o, err := d.journalOptions()
	if err != nil {
		return err
	}
	if d.journal, err = journal.Open(o); err != nil {
		return err
	}
	n, err := d.journal.CloseOpen(ctx)
	if err != nil {
		return fmt.Errorf("closing exchanges that the last run left open: %w", err)
	}
	if n > 0 {
		d.Log.Warn("exchanges were cut by the end of the last run", telemetry.KeyCount, n)
	}
	return errors.Join(d.restoreBudgets(), d.policy.begin(ctx, d.append), d.recordConfig(ctx))
}

// ConfigStart is the body of a config record: what this start of the daemon runs with. A configuration comes in force by a start only.
type ConfigStart struct {
	Path    string `json:"path,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // of the file
	Text    string `json:"text,omitempty"`   // of the file; secrets, should there be any, are masked
	Version string `json:"version"`          // of sallyportd
	PID     int    `json:"pid"`
	// Env has the variables of the environment that override the file.
	Env map[string]string `json:"env,omitempty"`
}

func (d *daemon) recordConfig(ctx context.Context) error {
	c := ConfigStart{Path: d.ConfigFile, Version: d.Version, PID: os.Getpid(), Env: config.Overrides(os.Getenv)}
	if raw, err := os.ReadFile(d.ConfigFile); err == nil { // else it runs with the defaults, or the file is gone since it was read
		sum := sha256.Sum256(raw)
		e, err := d.masking.base.engine.Plain()
		if err != nil {
			return err
		}
		c.SHA256, c.Text = hex.EncodeToString(sum[:]), withoutSecrets(e, d.withoutHook(raw))
	}
	return d.append(ctx, pipeline.Record{Kind: pipeline.KindConfig, Time: time.Now(), Body: c})
}

// words gives what people wrote, about whatever they did, as it is recorded: a reason or a query may hold the very key that it is about.
func (d *daemon) words(s string) string {
	if s == "" {
		return ""
	}
	if e := d.policy.engine(); e != nil {
		if t := withoutSecrets(e, []byte(s)); t != "" {
			return t
		}
	}
	return "[not masked]"
}

// withoutHook cuts path and query of the webhook's address out of a configuration, as some receivers keep a secret there. What they cannot be
// cut out of, because it writes them in another way, is left out as a whole.
func (d *daemon) withoutHook(raw []byte) []byte {
	if d.cfg == nil {
		return raw
	}
	whole := d.cfg.Approvals.Webhook.URL
	u, err := url.Parse(whole)
	if err != nil || u.Path+u.RawQuery+u.Fragment == "" || u.RequestURI() == "/" {
		return raw
	}
	if !bytes.Contains(raw, []byte(whole)) {
		return nil
	}
	return bytes.ReplaceAll(raw, []byte(whole), []byte(u.Scheme+"://"+u.Host+"/[path]"))
}

// withoutSecrets masks what looks like a secret, and nothing else: names and addresses are what the record is about. What cannot be
// masked is left out; its digest is there.
func withoutSecrets(e *mask.Engine, raw []byte) string {
	text, _, err := e.Mask(mask.CarrierArgs, string(raw), mask.StreamOptions{})
	if err != nil {
		return ""
	}
	return text
}
