// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/admin"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
	"github.com/sallyport-dev/sallyport/pipeline/session"
)

// recordRig is the part of a daemon that records and shows: journal, index, search store, policy and admin socket.
type recordRig struct {
	t       *testing.T
	dir     string
	policy  string // folder
	d       *daemon
	sign    time.Duration
	indexed int       // exchanges that the index knows at most
	reads   int64     // of the journal into the index at a start, in bytes
	at      time.Time // of the next exchange
	n       int
	stop    func()
	socket  string
}

func newRecordRig(t *testing.T, indexed int) *recordRig {
	r := &recordRig{t: t, dir: t.TempDir(), policy: t.TempDir(), indexed: indexed, sign: 100 * time.Millisecond, at: time.Now().Add(-time.Hour).UTC().Truncate(time.Second)}
	r.socket = filepath.Join(r.dir, "admin.sock")
	t.Cleanup(func() { r.end() })
	return r
}

func (r *recordRig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// start opens all of it, as a start of the daemon does.
func (r *recordRig) start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d := &daemon{cfg: archiveAt(filepath.Join(r.dir, "archive.db")), Options: Options{Log: slog.New(slog.DiscardHandler)}, sessions: session.New(session.Options{Key: []byte("key")})}
	d.ready.set("")
	d.sessions = session.New(session.Options{Key: make([]byte, 32)})
	r.d, d.index = d, journal.NewIndex(r.indexed)
	var err error
	d.journal, err = journal.Open(journal.Options{Dir: filepath.Join(r.dir, "journal"), Index: d.index, IndexBytes: r.reads, SignEvery: r.sign, Anchors: anchor.Open(filepath.Join(r.dir, "anchors")), EventDelay: time.Microsecond})
	r.must(err)
	_, err = d.journal.CloseOpen(ctx)
	r.must(err)
	d.policy = &policies{dir: r.policy, log: d.Log}
	if entries, err := os.ReadDir(r.policy); err == nil && len(entries) > 0 {
		r.must(d.policy.open(ctx))
		r.must(d.policy.begin(ctx, d.append))
	}
	r.must(d.openArchive(ctx))
	c := console{d}
	d.admin, err = admin.New(admin.Options{Socket: r.socket, Admins: []uint32{uint32(os.Getuid())}, Sessions: c, Archive: c, Records: c, Recorder: c})
	r.must(err)
	ended := make(chan error, 2)
	go func() { ended <- d.runArchive(ctx) }()
	go func() { ended <- d.admin.Serve() }()
	r.stop = func() {
		cancel()
		err := d.admin.Shutdown(context.Background())
		if err = errors.Join(err, <-ended, <-ended, d.journal.Close()); err != nil {
			r.t.Error(err)
		}
	}
}

func (r *recordRig) end() {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

// said is one exchange.
type said struct {
	session, user, prompt, answer, tool string
	deny, open                          bool
	lasts                               time.Duration // a second
}

// say records exchanges, a minute after each other, and gives their IDs.
func (r *recordRig) say(list ...said) (ids []string) {
	r.t.Helper()
	var last <-chan error
	for _, s := range list {
		r.n++
		id := "exc_" + string(rune('a'+r.n/26/26%26)) + string(rune('a'+r.n/26%26)) + string(rune('a'+r.n%26))
		ids = append(ids, id)
		r.at = r.at.Add(time.Minute)
		body, err := json.Marshal(map[string]string{"say": s.prompt})
		r.must(err)
		in := &pipeline.Intent{Scope: "agents", Mode: pipeline.ModeEnforce, Method: "POST", Target: "/v1/chat/completions", Workload: pipeline.Workload{PID: 7, UID: 1000, Unit: "support.service", Exe: "/usr/bin/python3"},
			Principal: pipeline.Principal{User: s.user}, Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443},
			Call: pipeline.Call{Operation: pipeline.OpChat, Model: "gpt-4o", Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: s.prompt}}}, Body: body, BodyBytes: int64(len(body))}
		if r.d.policy.Engine != nil {
			in.Policy = r.d.policy.Version()
		}
		_, last = r.d.journal.Append(pipeline.Record{Kind: pipeline.KindIntent, Time: r.at, Session: s.session, Exchange: id, Body: in})
		o := &pipeline.Outcome{Status: 200, Text: s.answer, ResponseID: "r", Finish: []string{"stop"}, BytesReleased: 100, DurationMS: 1000, Enforced: true}
		if s.tool != "" {
			o.Tools = []pipeline.Step{{Kind: pipeline.StepToolCall, Name: s.tool, ID: "c1", Args: json.RawMessage(`{"cmd":"` + s.prompt + `"}`)}}
		}
		if s.deny {
			v := pipeline.Verdict{Action: pipeline.Deny, Stage: pipeline.StepToolCall, Rule: "guardrail/no-shell", Reason: "no shell"}
			o.Verdict, o.Decision = v, "dec_"+id[4:]
			step := pipeline.Step{Kind: pipeline.StepToolCall, Name: s.tool}
			if len(o.Tools) > 0 {
				step = o.Tools[0]
			}
			_, last = r.d.journal.Append(pipeline.Record{Kind: pipeline.KindDecision, Time: r.at, Session: s.session, Exchange: id,
				Body: &pipeline.Decision{ID: o.Decision, Verdict: v, Mode: in.Mode, Enforced: true, Step: &step, Policy: in.Policy, UID: 1000}})
		}
		if s.open {
			continue
		}
		if s.answer != "" {
			r.d.journal.Append(pipeline.Record{Kind: pipeline.KindEvent, Time: r.at, Session: s.session, Exchange: id, Body: &pipeline.Event{Bytes: len(s.answer), Data: s.answer}})
		}
		_, last = r.d.journal.Append(pipeline.Record{Kind: pipeline.KindOutcome, Time: r.at.Add(cmp.Or(s.lasts, time.Second)), Session: s.session, Exchange: id, Body: o})
	}
	r.must(<-last)
	return ids
}

// until waits for something that comes about by itself.
func (r *recordRig) until(what string, holds func() bool) {
	r.t.Helper()
	for late := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			r.t.Fatalf("it did not come about: %s", what)
		}
	}
}

// archived waits until the search store has so many exchanges.
func (r *recordRig) archived(n int64) {
	r.t.Helper()
	r.until("the search store catches up", func() bool {
		st, err := r.d.archive.Stats(r.t.Context())
		return err == nil && st.Exchanges == n
	})
}

// signed waits until a signed checkpoint covers all that is in the journal now.
func (r *recordRig) signed() {
	r.t.Helper()
	head := r.d.journal.State().Head
	r.until("a signature", func() bool {
		in := reader(r.t, r.d.journal.Dir())
		defer in.Close()
		for seen := false; ; {
			e, err := in.Next()
			if errors.Is(err, io.EOF) {
				return false
			}
			r.must(err)
			var c journal.Checkpoint
			if e.Kind == pipeline.KindCheckpoint {
				r.must(e.Metadata(&c))
			}
			if seen = seen || e.Hash == head; seen && c.Signed != nil {
				return true
			}
		}
	})
}

func archiveAt(path string) *config.Config {
	return &config.Config{Archive: config.Archive{Path: path}}
}
