// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/test/fakellm"
)

// The two generations of langchain-openai read different trust stores: the current one the system's, 0.3 certifi's copy.
var generations = []string{"current", "0.3"}

// TestPrograms runs every kind of program in an enforcing scope, with an empty environment but for the key.
func TestPrograms(t *testing.T) {
	for _, venv := range generations {
		t.Run(venv, func(t *testing.T) {
			w := newWorld(t, "")

			t.Run("allowed call", func(t *testing.T) {
				if out := w.run(w.app(enforced, venv, "plain.py", "say: good morning")); out != "good morning\n" {
					t.Errorf("got %q", out)
				}
			})
			t.Run("embedding", func(t *testing.T) {
				if out := w.run(w.app(enforced, venv, "embed.py", "two words")); !strings.HasPrefix(out, "two words: ") {
					t.Errorf("got %q", out)
				}
			})
			t.Run("secrets masked in a stream", func(t *testing.T) {
				out := w.run(w.app(enforced, venv, "stream.py", "leak a key"))
				for _, secret := range []string{fakellm.LeakedKey(), fakellm.LeakedEmail()} {
					if strings.Contains(out, secret) {
						t.Errorf("the program saw a secret")
					}
				}
				for _, tag := range []string{"[OPENAI_KEY]", "[EMAIL]"} {
					if !strings.Contains(out, tag) {
						t.Errorf("no %s in %q", tag, out)
					}
				}
			})
			for _, kind := range []string{"plain", "stream"} {
				t.Run("tool call refused by rule, "+kind, func(t *testing.T) {
					args := []string{"agent.py", `use tool delete_files with {"path":"/srv/data"}`}
					if kind == "stream" {
						args = []string{"agent.py", "--stream", args[1]}
					}
					out := w.run(w.app(enforced, venv, args...))
					if strings.Contains(out, "ran delete_files") || strings.Contains(out, "/srv/data") {
						t.Errorf("the call, or its arguments, reached the program: %q", out)
					}
					if !regexp.MustCompile(`\[sallyport\] tool delete_files was refused by rule guardrail/no-deleting \(dec_[0-9a-f-]+\)`).MatchString(out) {
						t.Errorf("the program was not told why: %q", out)
					}
				})
			}
			t.Run("tool call allowed", func(t *testing.T) {
				out := w.run(w.app(enforced, venv, "agent.py", `use tool search with {"query":"kites"}`))
				if !strings.Contains(out, "3 pages about kites") {
					t.Errorf("got %q", out)
				}
			})
			t.Run("model refused by role", func(t *testing.T) {
				before := len(w.fake.Requests())
				out, errOut, err := w.lab.Run(t.Context(), w.app(enforced, venv, "plain.py", "say: hello", "gpt-4o"))
				if err == nil {
					t.Fatalf("the call went through: %q", out)
				}
				if !strings.Contains(errOut, "PermissionDenied") || !strings.Contains(errOut, "sallyport why dec_") {
					t.Errorf("the program's exception does not explain: %q", errOut)
				}
				if after := len(w.fake.Requests()); after != before {
					t.Errorf("%d requests reached the provider", after-before)
				}
				id := regexp.MustCompile(`dec_[0-9a-f-]+`).FindString(errOut)
				why, err := w.d.CLI(t.Context(), "why", id)
				if err != nil || !strings.Contains(why, "gpt-4o") {
					t.Errorf("why %s: %v: %q", id, err, why)
				}
			})
			t.Run("observe lets all of it pass", func(t *testing.T) {
				if out := w.run(w.app(observed, venv, "plain.py", "say: hello", "gpt-4o")); out != "hello\n" {
					t.Errorf("got %q", out)
				}
				if out := w.run(w.app(observed, venv, "stream.py", "leak a key")); !strings.Contains(out, fakellm.LeakedKey()) {
					t.Errorf("observe changed the answer: %q", out)
				}
				out := w.run(w.app(observed, venv, "agent.py", `use tool delete_files with {"path":"/srv/data"}`))
				if !strings.Contains(out, "ran delete_files on /srv/data") {
					t.Errorf("observe refused a tool call: %q", out)
				}
			})
			t.Run("record", func(t *testing.T) { w.checkRecord(t) })
		})
	}
}

// checkRecord compares the record with the provider's own log, and reads identities, verdicts and masks in it.
func (w *world) checkRecord(t *testing.T) {
	var sent, denied, wouldDeny, masked, toolsDenied int
	for _, x := range w.exchanges() {
		unit := enforced
		if x.Verdict.Mode == "observe" {
			unit = observed
		}
		if x.Workload.Unit != unit || x.Principal.SPIFFEID != "spiffe://example.org/unit/"+unit || x.Workload.PID == 0 {
			t.Errorf("%s: workload %+v, principal %+v", x.ExchangeID, x.Workload, x.Principal)
		}
		if x.Response.Cut != "" {
			t.Errorf("%s was cut: %s: %+v", x.ExchangeID, x.Response.Cut, x)
		}
		refused := x.Verdict.Action == "deny" && x.Verdict.Enforced && x.Response.Status == 403
		switch {
		case refused:
			denied++
		default:
			sent++
		}
		if x.Verdict.Action == "deny" && !x.Verdict.Enforced {
			wouldDeny++
		}
		for _, tool := range x.Tools {
			if tool.Action == "deny" {
				toolsDenied++
			}
		}
		if len(x.Masked) > 0 {
			masked++
		}
		if strings.Contains(x.Response.Text, fakellm.LeakedKey()) {
			t.Errorf("%s: the record holds the secret", x.ExchangeID)
		}
	}
	if got := len(w.fake.Requests()); got != sent {
		t.Errorf("the provider saw %d requests, %d are recorded as sent", got, sent)
	}
	if denied != 1 || wouldDeny < 2 || toolsDenied < 3 || masked < 2 {
		t.Errorf("denied %d, would deny %d, tools denied %d, masked %d", denied, wouldDeny, toolsDenied, masked)
	}
	if out, err := w.d.CLI(t.Context(), "journal", "verify", w.lab.State()+"/journal"); err != nil {
		t.Errorf("verify: %v: %s", err, out)
	}
}

// TestTwentyStarts starts a real program twenty times in a cgroup that no scope names: the LangChain mark alone must
// lead every one of them to the proxy.
func TestTwentyStarts(t *testing.T) {
	w := newWorld(t, "default_mode: observe, ---")
	const starts = 20
	errs := make(chan error, starts)
	gate := make(chan struct{}, 2) // as many at a time as there are cores
	for i := range starts {
		gate <- struct{}{}
		go func() {
			defer func() { <-gate }()
			out, errOut, err := w.lab.Run(t.Context(), w.app(marked, generations[i%2], "plain.py", fmt.Sprintf("say: start %d", i)))
			if err == nil && out != fmt.Sprintf("start %d\n", i) {
				err = fmt.Errorf("start %d: got %q", i, out)
			} else if err != nil {
				err = fmt.Errorf("start %d: %w: %s", i, err, errOut)
			}
			errs <- err
		}()
	}
	for range starts {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	var status struct {
		Flows    struct{ Seen, Proxied, Passed, Denied, Missed uint64 }
		Coverage struct{ Unexplained uint64 }
	}
	w.json(&status, "status", "-o", "json")
	if got := len(w.fake.Requests()); got != starts {
		t.Errorf("the provider saw %d requests, want %d", got, starts)
	}
	if status.Flows.Proxied != starts || status.Flows.Missed != 0 || status.Coverage.Unexplained != 0 {
		t.Errorf("%d of %d starts went through the proxy (%+v)", status.Flows.Proxied, starts, status)
	}
}
