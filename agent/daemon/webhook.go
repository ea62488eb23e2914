// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/agent/webhook"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
	"github.com/sallyport-dev/sallyport/pipeline/secretfile"
)

// openWebhook makes the notifier if it is configured. The receiver need not be there.
func (d *daemon) openWebhook() (err error) {
	c := d.cfg.Approvals.Webhook
	if c.URL == "" {
		return nil
	}
	o := webhook.Options{URL: c.URL, Version: d.Version, Log: d.Log}
	value, err := secretfile.Read(c.SecretFile, "the secret of the webhook")
	if err != nil {
		return &UsageError{err}
	}
	if o.Secret, err = webhook.ParseSecret(value); err != nil {
		return &UsageError{fmt.Errorf("the secret of the webhook %s: %w", c.SecretFile, err)}
	}
	if c.CAFile != "" {
		if o.CA, err = os.ReadFile(c.CAFile); err != nil {
			return &UsageError{fmt.Errorf("approvals.webhook.ca_file: %w", err)}
		}
	}
	if d.notifier, err = webhook.New(o); err != nil {
		return &UsageError{err}
	}
	return nil
}

// told are the changes that are worth a message: something is asked, nobody has decided, or it is over.
var told = []string{"asked", "escalated", pipeline.ApprovalApproved, pipeline.ApprovalDenied, pipeline.ApprovalExpired, pipeline.ApprovalWithdrawn,
	pipeline.ApprovalRevoked, pipeline.ApprovalEnded}

// Announcement is the body of a message to the webhook (docs/webhook.md).
type Announcement struct {
	Type      string             `json:"type"` // "approval.asked", "elevation.approved" …
	Timestamp time.Time          `json:"timestamp"`
	ID        string             `json:"id"`
	Kind      string             `json:"kind"` // "toolCall", "request" or "elevation"
	State     string             `json:"state"`
	Principal adminapi.Principal `json:"principal"`
	Unit      string             `json:"unit,omitempty"`
	Tool      string             `json:"tool,omitempty"`
	Operation string             `json:"operation,omitempty"`
	Model     string             `json:"model,omitempty"`
	Role      string             `json:"role,omitempty"`
	Seconds   int64              `json:"seconds,omitempty"`
	Rule      string             `json:"rule,omitempty"`
	Reason    string             `json:"reason,omitempty"` // of the rule, or of who asks for a role
	Groups    []string           `json:"groups"`           // whose members decide; none: operators
	Needed    int                `json:"needed"`
	Given     int                `json:"given"`
	Expires   time.Time          `json:"expires"`
	Command   string             `json:"command"` // that decides it
	Link      string             `json:"link"`    // to the console if there is one, else the command
	Content   *Content           `json:"content,omitempty"`
}

// Content is what is to be released, masked; only where the configuration says so.
type Content struct {
	Args json.RawMessage `json:"args,omitempty"`
	Text string          `json:"text,omitempty"`
	Body string          `json:"body,omitempty"`
	Cut  bool            `json:"cut,omitempty"` // there is more
}

// maxContent bounds each part of a Content: messages are meant to be small.
const maxContent = 16 << 10

// announce makes the message about a change. Of equal changes it has the same ID, before and after a restart.
func announce(what string, it *approval.Item, include, console string, at time.Time) webhook.Message {
	a := Announcement{Timestamp: at.UTC(), ID: it.ID, Kind: it.Of, State: it.State, Principal: adminapi.NewPrincipal(it.Principal), Unit: it.Workload.Unit,
		Operation: it.Operation, Model: it.Model, Role: it.Role, Seconds: int64(it.For / time.Second), Rule: it.Rule, Reason: it.Reason,
		Groups: slices.Clone(it.Groups), Needed: it.Need, Given: it.Have, Expires: it.Deadline.UTC()}
	if a.Groups == nil {
		a.Groups = []string{}
	}
	of, verb := "approval", "approvals"
	if it.Of == pipeline.ApprovalOfElevation {
		of, verb = "elevation", "grants"
		a.Rule = ""
		if s := it.Subject; s != nil {
			a.Principal = adminapi.Principal{SPIFFEID: s.SPIFFEID, User: s.User}
		}
	}
	a.Type = of + "." + what
	a.Command = fmt.Sprintf("sallyport %s approve %s", verb, it.ID)
	a.Link = a.Command
	if console != "" {
		a.Link = strings.TrimRight(console, "/") + "/" + of + "s/" + it.ID
	}
	if it.Step != nil {
		a.Tool = it.Step.Name
	}
	if include == "masked" && it.Of != pipeline.ApprovalOfElevation {
		a.Content = contentOf(it)
	}
	m := webhook.Message{ID: strings.ReplaceAll(what+"-"+it.ID, ".", "_"), Body: a}
	if it.State == pipeline.ApprovalWaiting {
		m.Expires = it.Deadline
	}
	if what == "escalated" {
		m.ID += fmt.Sprintf("-%d", len(it.Groups))
	}
	return m
}

func contentOf(it *approval.Item) *Content {
	c := &Content{Cut: it.Cut}
	cut := func(s string) string {
		if len(s) > maxContent {
			c.Cut = true
			s = strings.ToValidUTF8(s[:maxContent], "")
		}
		return s
	}
	c.Body = cut(it.Body)
	if s := it.Step; s != nil {
		c.Text = cut(s.Text)
		if c.Args = adminapi.Valid(s.Args); len(c.Args) > maxContent {
			c.Args = adminapi.Valid([]byte(cut(string(s.Args))))
		}
	}
	return c
}

// watchDesk tells the webhook what happens at the desk, and first of all what waits already: messages of an earlier process
// may not have arrived.
func (d *daemon) watchDesk(ctx context.Context) error {
	if d.notifier == nil {
		return nil
	}
	feed := d.desk.Changes()
	defer feed.Close()
	send := func(what string, it *approval.Item) {
		d.notifier.Send(announce(what, it, d.cfg.Approvals.Webhook.Include, d.cfg.Approvals.ConsoleURL, time.Now()))
	}
	waiting := func() {
		for _, it := range d.desk.List(approval.Filter{States: []string{pipeline.ApprovalWaiting}}) {
			send("asked", &it)
		}
	}
	waiting()
	for {
		c, err := feed.Next(ctx)
		if err != nil {
			return nil //nolint:nilerr // ctx has ended
		}
		if c.Missed > 0 {
			waiting()
		}
		if slices.Contains(told, c.What) {
			send(c.What, &c.Item)
		}
	}
}

func (d *daemon) runWebhook(ctx context.Context) error {
	if d.notifier == nil {
		return nil
	}
	return d.notifier.Run(ctx)
}

func (d *daemon) webhookStatus() adminapi.Webhook {
	if d.notifier == nil {
		return adminapi.Webhook{State: "off"}
	}
	s := d.notifier.State()
	out := adminapi.Webhook{State: "ok", Queued: s.Queued, Sent: s.Sent, Failed: s.Failed, Dropped: s.Dropped, Last: s.Last, Error: s.Error}
	if s.Error != "" {
		out.State = "retrying"
	}
	return out
}
