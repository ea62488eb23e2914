// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/fakellm"
)

// TestProviderLies: a provider that stalls, resets, hangs up, lies about lengths or sends more than it was asked for. What is not
// a whole answer is none to the program; nothing unmasked reaches it; the question after that gets its own answer; and the record
// says of each exchange how it ended, and why.
func TestProviderLies(t *testing.T) {
	w := newWorld(t, "")
	must(t, w.d.Stop(t.Context()))
	w.conf = strings.Replace(w.conf, "proxy: {", "proxy: {upstream_timeout: 2s, ", 1)
	w.start()
	cases := []struct{ word, cut, why string }{ // cut "": a whole answer
		{"hang", "upstream", "upstream_timeout"},
		{"stall", "upstream", "upstream_timeout"},
		{"reset", "upstream", "connection reset"},
		{"cut", "upstream", "EOF"},
		{"lie", "upstream", "malformed chunk"},
		{"surplus", "", ""},
	}
	for _, how := range []string{"plain", "stream"} {
		args := []string{"asks.py", how}
		for i, c := range cases {
			args = append(args, "leak a key, "+c.word, fmt.Sprint("say: answer ", i))
		}
		lines := strings.Split(strings.TrimSpace(w.run(w.app(enforced, "current", args...))), "\n")
		if len(lines) != 2*len(cases) {
			t.Fatalf("%s: %q", how, lines)
		}
		for i, c := range cases {
			got, next := lines[2*i], lines[2*i+1]
			if failed := strings.Contains(got, "Error"); failed != (c.cut != "") || c.cut == "" && !strings.Contains(got, "[EMAIL]") {
				t.Errorf("%s, %s: %q", how, c.word, got)
			}
			if next != fmt.Sprint("answer ", i) {
				t.Errorf("%s, after %s: %q", how, c.word, next)
			}
		}
		if all := strings.Join(lines, "\n"); strings.Contains(all, fakellm.LeakedKey()[:16]) || strings.Contains(all, fakellm.LeakedEmail()) || strings.Contains(all, "evil") {
			t.Errorf("%s: a program has read what it should not: %.2000q", how, all)
		}
	}
	w.verified()
	out := outcomes(t, filepath.Join(w.lab.State(), "journal"))
	if len(out) != 4*len(cases) {
		t.Fatalf("%d outcomes, want %d", len(out), 4*len(cases))
	}
	for i, c := range cases {
		for k, how := range []string{"plain", "stream"} {
			o := out[2*len(cases)*k+2*i]
			if c.word == "lie" && how == "plain" { // all that was announced came, and is no JSON
				if o.Verdict.Action != pipeline.Deny || !strings.Contains(o.Verdict.Reason, "JSON ends early") {
					t.Errorf("%s, %s: %+v", how, c.word, o)
				}
				continue
			}
			if o.Cut != c.cut || !strings.Contains(o.CutReason, c.why) {
				t.Errorf("%s, %s: cut by %q: %q", how, c.word, o.Cut, o.CutReason)
			}
		}
	}
}

// outcomes reads how the exchanges of a journal ended, in order.
func outcomes(t *testing.T, dir string) (out []pipeline.Outcome) {
	t.Helper()
	r, err := journal.OpenReader(dir, pipeline.Position{})
	must(t, err)
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		must(t, err)
		if e.Kind == pipeline.KindOutcome {
			var o pipeline.Outcome
			must(t, e.Decode(&o))
			out = append(out, o)
		}
	}
}
