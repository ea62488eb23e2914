// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/config"
)

// TestDropIns: each unit that a scope names waits for the guard, and what no scope names any more is taken away again.
func TestDropIns(t *testing.T) {
	dir, units := t.TempDir(), t.TempDir()
	for _, name := range []string{"my-chain.service", "chain.socket", "other.service"} {
		if err := os.WriteFile(filepath.Join(units, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	scope := func(unit, mode, fail string) config.Scope {
		return config.Scope{Name: "s-" + mode, Mode: mode, Fail: fail, Match: config.Match{Unit: unit}}
	}
	run := func(scopes ...config.Scope) (done []string) {
		t.Helper()
		done, err := DropIns(&config.Config{Protect: scopes}, dir, []string{units, filepath.Join(units, "missing")})
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	there := func() map[string]string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dir, "*.d", "*"))
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, f := range files {
			raw, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(dir, f)
			out[rel] = string(raw)
		}
		return out
	}
	all := []config.Scope{scope("app.service", "enforce", "closed"), scope("app.service", "observe", "open"), scope("langchain-*.service", "observe", "closed"),
		scope("bot@*.service", "observe", "open"), scope("*chain.service", "enforce", "closed"), scope("session-*.scope", "enforce", "closed"), scope("off.service", "off", "open"),
		{Name: "by user", Mode: "enforce"}}
	done := run(all...)
	got := there()
	for name, need := range map[string]string{"app.service": "Requires", "langchain-.service": "Requires", "bot@.service": "Wants", "my-chain.service": "Requires"} {
		text := got[name+".d/50-sallyport.conf"]
		if !strings.Contains(text, "\n[Unit]\n"+need+"=sallyport-guard.service\n") || !strings.Contains(text, "\nAfter=sallyport-guard.service sallyport.service\n") {
			t.Errorf("%s: %q", name, text)
		}
	}
	if len(got) != 4 || !strings.Contains(done[0], "covers only the units that there are now") {
		t.Errorf("wrote %v; said %q", got, done)
	}
	if done := run(all...); len(done) != 1 { // but for the warning, nothing to do
		t.Errorf("a second time: %q", done)
	}
	strange := filepath.Join(dir, "mine.service.d", "50-sallyport.conf")
	if err := os.MkdirAll(filepath.Dir(strange), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(strange, []byte("[Unit]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	done = run(scope("bot@*.service", "observe", "open"))
	if got := there(); len(done) != 3 || len(got) != 2 || got["mine.service.d/50-sallyport.conf"] == "" {
		t.Errorf("left %v; said %q", got, done)
	}
	if done, err := removeDropIns([]string{dir}, func(string) bool { return false }); err != nil || len(done) != 1 {
		t.Errorf("uninstall: %q, %v", done, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left after uninstall: %v, %v", entries, err)
	}
}

func TestUnitNames(t *testing.T) {
	for _, c := range []struct {
		pattern string
		want    []string
		whole   bool
	}{
		{"app.service", []string{"app.service"}, true},
		{`a\x2db.service`, []string{`a\x2db.service`}, true},
		{"app-*.service", []string{"app-.service"}, true},
		{"app@*.service", []string{"app@.service"}, true},
		{"user@1000.service", []string{"user@1000.service"}, true},
		{"*.scope", nil, true},
		{"app*.service", nil, false},
		{"a[bc]-*.service", nil, false},
		{"*", nil, false},
	} {
		got, whole, err := unitNames(c.pattern, []string{t.TempDir()})
		if err != nil || !slices.Equal(got, c.want) || whole != c.whole {
			t.Errorf("%s: %q, %v, %v", c.pattern, got, whole, err)
		}
	}
}
