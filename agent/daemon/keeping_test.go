// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/session"
)

// Erasing, holding and expiring, from the admin API and the clock down to the journal.
func TestRecordKeeping(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	index := journal.NewIndex(0)
	j, err := journal.Open(journal.Options{Dir: t.TempDir(), Index: index, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, id := range []string{"ses_1", "ses_2", "ses_3"} {
		_, done := j.Append(pipeline.Record{Kind: pipeline.KindIntent, Time: now, Session: id, Exchange: "exc_" + id,
			Body: &pipeline.Intent{Principal: pipeline.Principal{User: "ada"}, Body: []byte(`{"say":"it"}`)}})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	d := &daemon{cfg: &config.Config{Record: config.Record{Retention: config.Retention{Content: 24 * time.Hour}}}, Options: Options{Log: slog.New(slog.DiscardHandler)}, journal: j, index: index,
		sessions: session.New(session.Options{Key: []byte("key")})}
	leans := func(id, parent string) int {
		n, _ := d.sessions.Recorded(&pipeline.Meta{Session: id, Exchange: "exc_" + id + parent, Parent: parent, Shared: 1}, []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "it"}})
		return n
	}
	for _, id := range []string{"ses_2", "ses_3"} {
		leans(id, "")
	}
	c, ada := console{d}, admin.Person{User: "ada", ID: 1001}
	content := func(session string) string {
		x, err := c.Session(ctx, session)
		if err != nil || len(x.Exchanges) != 1 {
			t.Fatal(x, err)
		}
		if x.Exchanges[0].Content == "" && !strings.Contains(string(x.Exchanges[0].Request.Body), "say") {
			t.Errorf("%s: no body", session)
		}
		return x.Exchanges[0].Content
	}
	one, all := adminapi.RecordSubject{Session: "ses_1"}, adminapi.RecordSubject{Principal: "ada"}
	found, err := c.Erase(ctx, ada, adminapi.EraseRequest{RecordSubject: all, DryRun: true})
	if err != nil || found.Sessions != 3 || !found.DryRun || content("ses_1") != "" {
		t.Fatalf("%+v %v", found, err)
	}
	if _, err := c.AddHold(ctx, ada, adminapi.HoldRequest{RecordSubject: one, Reason: "case"}); err != nil {
		t.Fatal(err)
	}
	var denied *admin.Denied
	if _, err := c.Erase(ctx, ada, adminapi.EraseRequest{RecordSubject: all, Digest: found.Digest}); !errors.As(err, &denied) {
		t.Errorf("of what is held: %v", err)
	}
	var refused *admin.Refused
	if _, err := c.AddHold(ctx, ada, adminapi.HoldRequest{RecordSubject: one, Reason: "case"}); !errors.As(err, &refused) {
		t.Errorf("held twice: %v", err)
	}
	var conflict *admin.Conflict
	two := adminapi.RecordSubject{Session: "ses_2"}
	if _, err := c.Erase(ctx, ada, adminapi.EraseRequest{RecordSubject: two, Digest: found.Digest}); !errors.As(err, &conflict) {
		t.Errorf("another list than was confirmed: %v", err)
	}
	if e, err := c.Erase(ctx, ada, adminapi.EraseRequest{RecordSubject: two}); err != nil || e.Keys != 1 || content("ses_2") != journal.ContentErased {
		t.Errorf("%+v %v", e, err)
	}
	if two, three := leans("ses_2", "exc_ses_2"), leans("ses_3", "exc_ses_3"); two != 0 || three != 1 {
		t.Errorf("%d messages are left to what was erased, %d to what was not", two, three)
	}
	if _, err := c.Erase(ctx, ada, adminapi.EraseRequest{RecordSubject: two}); !errors.Is(err, admin.ErrNotFound) {
		t.Errorf("what is erased already: %v", err)
	}
	if content("ses_3") != "" {
		t.Error("another session was erased")
	}
	now = now.Add(49 * time.Hour)
	if err := d.expire(ctx); err != nil || content("ses_3") != journal.ContentErased || content("ses_1") != "" {
		t.Errorf("expired: %v, held %q", err, content("ses_1"))
	}
	if h, err := c.Holds(ctx); err != nil || len(h) != 1 || h[0].User != "ada" {
		t.Errorf("holds %+v %v", h, err)
	}
	if _, err := c.ReleaseHold(ctx, ada, adminapi.HoldRequest{RecordSubject: one}); err != nil {
		t.Error(err)
	}
	if err := d.expire(ctx); err != nil || content("ses_1") != journal.ContentErased {
		t.Errorf("after the release: %v", err)
	}
}

// Each start records what it runs with: configuration by digest and text, policy documents by digest and text, without secrets.
func TestStartIsRecorded(t *testing.T) {
	ctx := context.Background()
	secret := "sk-" + "ant-api03-" + strings.Repeat("Ab3dEf6hIj", 9) + "AA-AAAAAA" + "AA"
	file, dir := filepath.Join(t.TempDir(), "config.yaml"), t.TempDir()
	text := "# the key was " + secret + "\nadmin: {admins: [1000]} # ada@example.org\napprovals: {webhook: {url: 'https://hooks.example.org/services/hush?k=hush'}}\n"
	t.Setenv("SALLYPORT_POLICY_DIR", "/srv/other")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	d := maskDaemon(t, "", func(*config.Mask) {})
	d.Options, d.journal = Options{ConfigFile: file, Version: "v1"}, j
	d.cfg.Approvals.Webhook.URL = "https://hooks.example.org/services/hush?k=hush"
	if err := errors.Join(d.recordConfig(ctx), j.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := journal.OpenReader(dir, pipeline.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if err != nil {
			t.Fatal("there is no config record")
		}
		if e.Kind != pipeline.KindConfig {
			continue
		}
		var c ConfigStart
		if err := e.Decode(&c); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(text))
		if strings.Contains(c.Text, secret) || !strings.Contains(c.Text, "ada@example.org") || c.SHA256 != hex.EncodeToString(sum[:]) || c.Version != "v1" {
			t.Errorf("recorded %+v", c)
		}
		if strings.Contains(c.Text, "hush") || !strings.Contains(c.Text, "https://hooks.example.org/[path]") {
			t.Errorf("the address of the webhook is recorded: %s", c.Text)
		}
		if len(c.Env) != 1 || c.Env["SALLYPORT_POLICY_DIR"] != "/srv/other" {
			t.Errorf("the environment is recorded as %q", c.Env)
		}
		return
	}
}
