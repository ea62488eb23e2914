// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/test/fakellm"
)

const (
	claude  = "claude-sonnet-4-5"
	refusal = `\[sallyport\] tool delete_files was refused by rule guardrail/no-deleting \(dec_[0-9a-f-]+\)`
)

// TestAnthropic is TestPrograms for langchain-anthropic.
func TestAnthropic(t *testing.T) {
	const venv = "anthropic"
	w := newWorld(t, "")
	t.Run("allowed call", func(t *testing.T) {
		if out := w.run(w.app(enforced, venv, "plain.py", "say: good morning", claude)); out != "good morning\n" {
			t.Errorf("got %q", out)
		}
	})
	t.Run("secrets masked in a stream", func(t *testing.T) {
		out := w.run(w.app(enforced, venv, "stream.py", "leak a key", claude))
		if strings.Contains(out, fakellm.LeakedKey()) || strings.Contains(out, fakellm.LeakedEmail()) || !strings.Contains(out, "[OPENAI_KEY]") || !strings.Contains(out, "[EMAIL]") {
			t.Errorf("got %q", out)
		}
	})
	for _, kind := range []string{"plain", "stream"} {
		app := func(prompt string) string {
			args := []string{"agent.py", prompt, claude}
			if kind == "stream" {
				args = append(args, "--stream")
			}
			return w.run(w.app(enforced, venv, args...))
		}
		t.Run("tool call refused by rule, "+kind, func(t *testing.T) {
			out := app(`use tool delete_files with {"path":"/srv/data"}`)
			if strings.Contains(out, "ran delete_files") || strings.Contains(out, "/srv/data") {
				t.Errorf("the call, or its arguments, reached the program: %q", out)
			}
			if !regexp.MustCompile(refusal).MatchString(out) {
				t.Errorf("the program was not told why: %q", out)
			}
		})
		t.Run("one of two calls refused, "+kind, func(t *testing.T) {
			out := app("two tools: use tool delete_files, use tool search")
			if strings.Contains(out, "delete_files") || !strings.Contains(out, "result: search 3 pages about example") || !strings.Contains(out, "The tool answered: 3 pages about example") {
				t.Errorf("got %q", out)
			}
		})
	}
	t.Run("model refused by role", func(t *testing.T) {
		before := len(w.fake.Requests())
		out, errOut, err := w.lab.Run(t.Context(), w.app(enforced, venv, "plain.py", "say: hello", "claude-opus-4-5"))
		if err == nil {
			t.Fatalf("the call went through: %q", out)
		}
		if !strings.Contains(errOut, "PermissionDenied") || !strings.Contains(errOut, "sallyport why dec_") {
			t.Errorf("the program's exception does not explain: %q", errOut)
		}
		if after := len(w.fake.Requests()); after != before {
			t.Errorf("%d requests reached the provider", after-before)
		}
	})
	t.Run("observe lets all of it pass", func(t *testing.T) {
		if out := w.run(w.app(observed, venv, "plain.py", "say: hello", "claude-opus-4-5")); out != "hello\n" {
			t.Errorf("got %q", out)
		}
		if out := w.run(w.app(observed, venv, "stream.py", "leak a key", claude)); !strings.Contains(out, fakellm.LeakedKey()) {
			t.Errorf("observe changed the answer: %q", out)
		}
		if out := w.run(w.app(observed, venv, "agent.py", `use tool delete_files with {"path":"/srv/data"}`, claude)); !strings.Contains(out, "ran delete_files on /srv/data") {
			t.Errorf("observe refused a tool call: %q", out)
		}
	})
	t.Run("record", func(t *testing.T) { w.checkRecord(t) })
}
