// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// stored tells whether the files of the archive hold some bytes.
func (r *rig) stored(s string) bool {
	r.t.Helper()
	for _, end := range []string{"", "-wal"} {
		b, err := os.ReadFile(filepath.Join(r.dir, "archive.db") + end)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			r.t.Fatal(err)
		}
		if bytes.Contains(b, []byte(s)) {
			return true
		}
	}
	return false
}

// until follows the journal until a condition holds.
func (r *rig) until(holds func() bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	follow, stop := context.WithCancel(ctx)
	go func() { done <- r.a.Follow(follow, r.j) }()
	for !holds() {
		if ctx.Err() != nil {
			r.t.Error("it did not come about")
			break
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		r.t.Error(err)
	}
}

// TestErased: the words of what was erased are not found and are in no file, also after a rebuild; that there was an exchange, and what was
// decided, is still found.
func TestErased(t *testing.T) {
	const secret = "zyxquartz"
	for _, c := range []struct {
		name    string
		subject journal.Subject
	}{{"session", journal.Subject{Session: "ses_x"}}, {"principal", journal.Subject{Principal: "eve"}}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.write(samples()...)
			r.write(x{session: "ses_x", user: "eve", unit: "ops.service", model: "gpt-4o", prompts: []string{"say " + secret}, answer: secret + " it is", tool: "shell", args: `{"c":"` + secret + `"}`,
				action: pipeline.Deny, rule: "guardrail/no-shell"})
			r.follow(5)
			if got := r.find(secret); got != "5" || !r.stored(secret[1:]) {
				t.Fatalf("before: found %q, stored %t", got, r.stored(secret[1:]))
			}
			if _, err := r.j.Erase(t.Context(), c.subject, pipeline.Person{User: "dpo"}, "asked for"); err != nil {
				t.Fatal(err)
			}
			check := func(when string) {
				t.Helper()
				for q, want := range map[string]string{secret: "", "session:ses_x verdict:deny tool:shell": "5", "principal:e*": "5", "transfer": "1"} {
					if got := r.find(q); got != want {
						t.Errorf("%s: %s: found %q, want %q", when, q, got, want)
					}
				}
			}
			r.until(func() bool { return r.find(secret) == "" && !r.stored(secret[1:]) })
			check("after")
			if err := r.a.Rebuild(t.Context(), r.j.Dir(), nil); err != nil {
				t.Fatal(err)
			}
			check("rebuilt")
			if r.stored(secret[1:]) {
				t.Error("it is in the file that was rebuilt")
			}
		})
	}
}

// TestForget: who erased need not wait for the record of it to be read.
func TestForget(t *testing.T) {
	r := newRig(t)
	r.write(samples()...)
	r.follow(4)
	if err := r.a.Forget(t.Context(), r.j.Dir(), "ses_a"); err != nil || r.find("transfer") != "1" {
		t.Fatalf("what was not erased is forgotten: %v", err)
	}
	if _, err := r.j.Erase(t.Context(), journal.Subject{Session: "ses_a"}, pipeline.Person{User: "dpo"}, ""); err != nil {
		t.Fatal(err)
	}
	if err := r.a.Forget(t.Context(), r.j.Dir(), "ses_a"); err != nil || r.find("transfer") != "" {
		t.Fatalf("found %q, %v", r.find("transfer"), err)
	}
	if s, err := r.a.Stats(t.Context()); err != nil || s.Exchanges != 4 || s.Sessions != 3 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestDamagedInUse: a file that is damaged while it is open is found to be, and is replaced.
func TestDamagedInUse(t *testing.T) {
	r := newRig(t)
	for range 100 {
		r.write(samples()...)
	}
	r.follow(400)
	if err := r.a.Close(); err != nil {
		t.Fatal(err)
	}
	r.open(Options{})
	path := filepath.Join(r.dir, "archive.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(b); i++ {
		b[i] = 0xA5
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b[4096:], 4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	go func() { done <- r.a.Follow(ctx, r.j) }()
	var failed error
	select {
	case failed = <-done:
	case <-time.After(100 * time.Millisecond): // it waits for records: a query finds out
		r.find("transfer")
		failed = <-done
	}
	if !IsDamaged(failed) {
		t.Fatalf("follow ended with %v", failed)
	}
	if err := r.a.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.follow(400)
	if got := r.find("session:ses_a exchange:exc_1"); got != "1" {
		t.Errorf("found %q", got)
	}
}
