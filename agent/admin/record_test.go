// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// archive remembers what was asked of it, and by whom.
type archive struct{ asked, reasons []string }

func (a *archive) ask(by Person, what string) { a.asked = append(a.asked, by.User+" "+what) }

func (a *archive) Erase(_ context.Context, by Person, r adminapi.EraseRequest) (adminapi.Erasure, error) {
	a.reasons = append(a.reasons, r.Reason)
	a.ask(by, "erase")
	if r.Session == "ses_held" {
		return adminapi.Erasure{}, &Denied{errors.New("a legal hold forbids it")}
	}
	return adminapi.Erasure{Sessions: 1}, nil
}

func (a *archive) Holds(context.Context) ([]adminapi.Hold, error) { return nil, nil }

func (a *archive) AddHold(_ context.Context, by Person, r adminapi.HoldRequest) (adminapi.Hold, error) {
	a.reasons = append(a.reasons, r.Reason)
	a.ask(by, "hold")
	return adminapi.Hold{RecordSubject: r.RecordSubject}, nil
}

func (a *archive) ReleaseHold(_ context.Context, by Person, r adminapi.HoldRequest) (adminapi.Hold, error) {
	a.reasons = append(a.reasons, r.Reason)
	a.ask(by, "release")
	return adminapi.Hold{}, nil
}

// TestRecords: operators erase and hold, in their own name; nobody else may, nor see what is held.
func TestRecords(t *testing.T) {
	ctx := context.Background()
	a := &archive{}
	_, c := start(t, &fakeDaemon{}, 1000, func(o *Options) { o.Records = a })
	session := adminapi.RecordSubject{Session: "ses_1"}
	e, err := c.Erase(ctx, adminapi.EraseRequest{RecordSubject: session})
	if err != nil || e.Sessions != 1 || e.List == nil {
		t.Errorf("erase: %+v %v", e, err)
	}
	if l, err := c.Holds(ctx); err != nil || l == nil {
		t.Errorf("holds: %v %v", l, err)
	}
	if h, err := c.AddHold(ctx, adminapi.HoldRequest{RecordSubject: session, Reason: "case"}); err != nil || h.Session != "ses_1" {
		t.Errorf("hold: %+v %v", h, err)
	}
	if _, err := c.ReleaseHold(ctx, adminapi.HoldRequest{RecordSubject: session}); err != nil {
		t.Errorf("release: %v", err)
	}
	if got := strings.Join(a.asked, ","); len(a.asked) != 3 || strings.HasPrefix(got, " ") {
		t.Errorf("asked %q", got)
	}
	for name, tt := range map[string]struct {
		do   func(c *adminapi.Client) error
		want string
	}{
		"nobody named": {func(c *adminapi.Client) error { _, err := c.Erase(ctx, adminapi.EraseRequest{}); return err }, "session or principal"},
		"both named": {func(c *adminapi.Client) error {
			_, err := c.AddHold(ctx, adminapi.HoldRequest{RecordSubject: adminapi.RecordSubject{Session: "a", Principal: "b"}, Reason: "r"})
			return err
		}, "session or principal"},
		"no reason": {func(c *adminapi.Client) error {
			_, err := c.AddHold(ctx, adminapi.HoldRequest{RecordSubject: session})
			return err
		}, "needs one"},
		"long reason": {func(c *adminapi.Client) error {
			_, err := c.ReleaseHold(ctx, adminapi.HoldRequest{RecordSubject: session, Reason: strings.Repeat("r", 1001)})
			return err
		}, "1,000 bytes"},
		"held": {func(c *adminapi.Client) error {
			_, err := c.Erase(ctx, adminapi.EraseRequest{RecordSubject: adminapi.RecordSubject{Session: "ses_held"}})
			return err
		}, "legal hold"},
	} {
		if err := tt.do(c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	before := len(a.asked)
	_, other := start(t, &fakeDaemon{}, 4242, func(o *Options) { o.Records = a })
	_, eerr := other.Erase(ctx, adminapi.EraseRequest{RecordSubject: session})
	_, herr := other.AddHold(ctx, adminapi.HoldRequest{RecordSubject: session, Reason: "r"})
	_, rerr := other.ReleaseHold(ctx, adminapi.HoldRequest{RecordSubject: session})
	_, lerr := other.Holds(ctx)
	for what, err := range map[string]error{"erase": eerr, "hold": herr, "release": rerr, "list": lerr} {
		var s *adminapi.StatusError
		if !errors.As(err, &s) || s.Code != adminapi.CodeForbidden {
			t.Errorf("%s by somebody: %v", what, err)
		}
	}
	if len(a.asked) != before {
		t.Errorf("somebody got through: %v", a.asked)
	}
	_, without := start(t, &fakeDaemon{}, 0)
	if _, err := without.Holds(ctx); err == nil || !strings.Contains(err.Error(), "not available") {
		t.Errorf("without that part: %v", err)
	}
}

// TestWords: what people write about what they do is recorded as Words gives it, and so is what they look for.
func TestWords(t *testing.T) {
	ctx := context.Background()
	a, f := &archive{}, &fakeDaemon{}
	_, c := start(t, f, 1000, func(o *Options) {
		o.Records = a
		o.Words = func(s string) string { return strings.ReplaceAll(s, "hush", "[KEY]") }
	})
	who := adminapi.RecordSubject{Session: "ses_1"}
	_, err := c.Erase(ctx, adminapi.EraseRequest{RecordSubject: who, Reason: "it holds hush"})
	_, err2 := c.AddHold(ctx, adminapi.HoldRequest{RecordSubject: who, Reason: "hush leaked"})
	_, err3 := c.ReleaseHold(ctx, adminapi.HoldRequest{RecordSubject: who, Reason: "hush is void"})
	err4 := c.EraseCopies(ctx, adminapi.CopiesRequest{RecordSubject: who, Reason: "hush again"})
	_, err5 := c.Sessions(ctx, adminapi.Query{Find: "hush", Limit: 1, Exchanges: true})
	if err := errors.Join(err, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(a.reasons, "; "); strings.Contains(got, "hush") || !strings.HasPrefix(got, "it holds [KEY]; [KEY] leaked; [KEY] is void") {
		t.Errorf("reasons %q", got)
	}
	if len(f.records) != 2 {
		t.Fatalf("%d records", len(f.records))
	}
	for i, want := range []string{"elastic.erase ses_1 [KEY] again", "sessions.read exchanges=true&limit=1&q=[KEY] "} {
		x := f.records[i].Body.(adminapi.Action)
		if got := x.Action + " " + x.Target + " " + x.Reason; got != want {
			t.Errorf("recorded %q, want %q", got, want)
		}
	}
}
