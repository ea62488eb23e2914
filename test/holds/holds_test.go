// SPDX-License-Identifier: Apache-2.0

package holds

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/llm/openai"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

const (
	request = `{"model":"m","stream":true,"messages":[{"role":"user","content":"pay"}]}`
	text    = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"I pay"},"finish_reason":null}]}` + "\n\n"
	tool    = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"%s","type":"function","function":{"name":"pay","arguments":"{\"to\":\"x\"}"}}]},"finish_reason":null}]}` + "\n\n"
	end     = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}` + "\n\ndata: [DONE]\n\n"
)

var (
	key   = []byte("0123456789abcdef0123456789abcdef")
	alice = pipeline.Person{User: "alice", UID: 1001}
)

// host is a journal folder with what runs over it.
type host struct {
	t    *testing.T
	dir  string
	log  *journal.Journal
	desk *approval.Desk
	flow *flow.Flow
	feed *approval.Feed
	stop func()
	down bool
	n    int // tool calls so far: models give each an ID of its own
}

func boot(t *testing.T, dir string) *host {
	t.Helper()
	h := &host{t: t, dir: dir}
	var err error
	if h.log, err = journal.Open(journal.Options{Dir: dir, SegmentBytes: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	h.desk, err = approval.New(approval.Options{Log: h.log, Key: key, Notice: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	newest, err := journal.Approvals(dir, time.Time{}, h.desk.Fold)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.desk.Restored(newest); err != nil {
		t.Fatal(err)
	}
	if err := h.desk.Snapshot(); err != nil {
		t.Fatal(err)
	}
	h.feed = h.desk.Changes()
	h.flow, err = flow.New(flow.Options{
		Decider: fakes.Decider(func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
			if s != nil && s.Kind == pipeline.StepToolCall {
				return pipeline.Verdict{Action: pipeline.Hold, Rule: "guardrail/pay", Digest: "d1"}
			}
			return pipeline.Verdict{Rule: "role/r"}
		}),
		Masker: fakes.Masker{Words: []string{"hunter2hunter2"}, With: "x"}, Log: h.log, Sessions: fakes.Sessions("ses_1"),
		Codecs: llm.Registry{"openai": openai.Provider{}}, Holder: h.desk, Notice: func(stage string, err error) { t.Log(stage, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.desk.Run(ctx) }()
	h.stop = func() { cancel(); <-done }
	t.Cleanup(h.halt)
	return h
}

func (h *host) halt() {
	if h.down {
		return
	}
	h.down = true
	h.desk.Close()
	h.stop()
	h.feed.Close()
	if err := h.log.Close(); err != nil {
		h.t.Error(err)
	}
}

// run is one exchange.
type run struct {
	client *fakes.Client
	err    chan error
	leave  context.CancelCauseFunc
}

func (h *host) run() *run {
	h.n++
	r := &run{err: make(chan error, 1), client: &fakes.Client{Payload: []byte(request), Request: pipeline.Head{Method: "POST", Target: "/v1/chat/completions",
		Fields: []pipeline.Field{{Name: "Content-Type", Value: "application/json"}}}}}
	up := &fakes.Upstream{Head: pipeline.Head{Status: 200, Fields: []pipeline.Field{{Name: "Content-Type", Value: "text/event-stream"}}},
		Pieces: [][]byte{[]byte(text), []byte(fmt.Sprintf(tool, fmt.Sprint("call_", h.n, "_", time.Now().UnixNano()))), []byte(end)}}
	m := &pipeline.Meta{Mode: pipeline.ModeEnforce, Scope: "s", Workload: pipeline.Workload{PID: 7, UID: 500, LoginUID: 1004},
		Principal: pipeline.Principal{User: "dave"}, Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai"}}
	ctx, cancel := context.WithCancelCause(context.Background())
	r.leave = cancel
	go func() { r.err <- h.flow.Serve(ctx, m, r.client, up) }()
	return r
}

// passes waits until the call has reached the application.
func (r *run) passes(t *testing.T) {
	t.Helper()
	if err := <-r.err; err != nil {
		t.Fatal(err)
	}
	if got := string(r.client.Got); !strings.Contains(got, `{\"to\":\"x\"}`) || !strings.HasSuffix(got, end) {
		t.Fatalf("got %s", got)
	}
}

// until waits for a change.
func (h *host) until(what string) approval.Item {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		c, err := h.feed.Next(ctx)
		if err != nil {
			h.t.Fatalf("waiting for %s: %v", what, err)
		}
		if c.What == what {
			return c.Item
		}
	}
}

func (h *host) approve(id string) {
	h.t.Helper()
	if _, err := h.desk.Decide(context.Background(), id, alice, approval.Decision{Approve: true}); err != nil {
		h.t.Fatal(err)
	}
}

// image copies the journal as it is on disk now, while it is written, and starts from the copy.
func (h *host) image() *host {
	h.t.Helper()
	dir := filepath.Join(h.t.TempDir(), "journal")
	if err := os.CopyFS(dir, os.DirFS(h.dir)); err != nil {
		h.t.Fatal(err)
	}
	return boot(h.t, dir)
}

// TestKilled takes what is on disk at each stage of an approval, and goes on from there.
func TestKilled(t *testing.T) {
	h := boot(t, filepath.Join(t.TempDir(), "journal"))
	r := h.run()
	asked := h.until("asked")
	if string(asked.Step.Args) != `{"to":"x"}` || asked.Waiters != 1 {
		t.Fatalf("asked %+v", asked)
	}

	// Killed while it waits: the application asks its model again, which calls the same; people are asked the same.
	waiting := h.image()
	again := waiting.run()
	waiting.approve(asked.ID) // it may be there before the call is
	again.passes(t)
	if it, err := waiting.desk.Get(asked.ID); err != nil || it.State != pipeline.ApprovalUsed {
		t.Errorf("%+v, %v", it, err)
	}

	// Killed after the decision, before its use.
	r.leave(pipeline.ErrClientGone)
	if err := <-r.err; err == nil {
		t.Error("no error")
	}
	if strings.Contains(string(r.client.Got), "to") {
		t.Errorf("released %s", r.client.Got)
	}
	h.approve(asked.ID)
	decided := h.image()
	decided.run().passes(t)
	if it, err := decided.desk.Get(asked.ID); err != nil || it.State != pipeline.ApprovalUsed {
		t.Errorf("%+v, %v", it, err)
	}

	// Killed after its use: nothing is left of it, however often it starts.
	used := decided.image().image()
	third := used.run()
	if it := used.until("asked"); it.ID == asked.ID {
		t.Error("an approval was used twice")
	} else {
		used.approve(it.ID)
	}
	third.passes(t)

	// A snapshot and what came after it are the same as everything from the beginning.
	fresh, err := approval.New(approval.Options{Log: used.log, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	all, err := journal.OpenReader(used.dir, pipeline.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	var newest time.Time
	for e, err := all.Next(); err == nil; e, err = all.Next() {
		body := new(pipeline.Approval)
		if newest = e.Time; e.Kind == pipeline.KindApproval {
			if err := e.Decode(body); err != nil {
				t.Fatal(err)
			}
		}
		if err := fresh.Fold(pipeline.Record{Kind: e.Kind, Time: e.Time, Session: e.Session, Exchange: e.Exchange, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if err := fresh.Restored(newest); err != nil {
		t.Fatal(err)
	}
	for _, want := range used.desk.List(approval.Filter{All: true}) {
		if got, err := fresh.Get(want.ID); err != nil || got.State != want.State || len(got.Votes) != len(want.Votes) || len(got.Uses) != len(want.Uses) {
			t.Errorf("%s: %+v, %v; want %+v", want.ID, got, err, want)
		}
	}
}

func TestHandover(t *testing.T) {
	h := boot(t, filepath.Join(t.TempDir(), "journal"))
	r := h.run()
	asked := h.until("asked")
	h.desk.Close()
	if err := <-r.err; err != nil {
		t.Fatal(err)
	}
	if got := string(r.client.Got); strings.Contains(got, `{\"to`) || !strings.Contains(got, "is held for approval") {
		t.Errorf("got %s", got)
	}
	h.halt()
	next := boot(t, h.dir)
	next.approve(asked.ID)
	next.run().passes(t)
}
