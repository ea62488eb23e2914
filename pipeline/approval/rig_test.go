// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/approval"
)

// journal keeps records as the real one does: encoded, in order, acknowledged later.
type journal struct {
	mu      sync.Mutex
	records []pipeline.Record // with encoded bodies
	fail    error
	failAt  func(body string) error
	slow    time.Duration // until a record is on disk
	onDisk  int
}

func (j *journal) Append(r pipeline.Record) (pipeline.Position, <-chan error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	done := make(chan error, 1)
	if j.fail != nil {
		done <- j.fail
		return pipeline.Position{}, done
	}
	b, err := json.Marshal(r.Body)
	if err == nil && j.failAt != nil {
		err = j.failAt(string(b))
	}
	if err != nil {
		done <- err
		return pipeline.Position{}, done
	}
	r.Body = json.RawMessage(b)
	j.records = append(j.records, r)
	n := len(j.records)
	ack := func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.onDisk = max(j.onDisk, n)
		done <- nil
	}
	if j.slow == 0 {
		j.onDisk = n
		done <- nil
	} else {
		time.AfterFunc(j.slow, ack)
	}
	return pipeline.Position{}, done
}

func (j *journal) setFail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.fail = err
}

func (j *journal) len() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.records)
}

// decoded gives a record as a reader does.
func decoded(t testing.TB, r pipeline.Record) pipeline.Record {
	t.Helper()
	a := new(pipeline.Approval)
	if err := json.Unmarshal(r.Body.(json.RawMessage), a); err != nil {
		t.Fatal(err)
	}
	r.Body = a
	return r
}

// replay feeds records from one place to another to a desk.
func (j *journal) replay(t testing.TB, d *approval.Desk, from, to int) {
	t.Helper()
	j.mu.Lock()
	records := j.records[from:to]
	j.mu.Unlock()
	var newest time.Time
	for _, r := range records {
		if err := d.Fold(decoded(t, r)); err != nil {
			t.Fatal(err)
		}
		if r.Time.After(newest) {
			newest = r.Time
		}
	}
	if err := d.Restored(newest); err != nil {
		t.Fatal(err)
	}
}

// rig is a desk that runs.
type rig struct {
	t    testing.TB
	log  *journal
	o    approval.Options
	desk *approval.Desk
	skew time.Duration // of the wall clock
	mu   sync.Mutex
	stop func()
}

var key = []byte("0123456789abcdef0123456789abcdef")

func newRig(t testing.TB, s pipeline.ApprovalSettings, change ...func(*approval.Options)) *rig {
	r := &rig{t: t, log: new(journal)}
	r.o = approval.Options{Log: r.log, Default: s, Key: key, Wall: r.wall, Notice: func(err error) { t.Log("notice:", err) }}
	for _, c := range change {
		c(&r.o)
	}
	r.begin()
	return r
}

func (r *rig) wall() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.skew)
}

func (r *rig) set(skew time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skew = skew
}

func (r *rig) begin() {
	r.t.Helper()
	var err error
	if r.desk, err = approval.New(r.o); err != nil {
		r.t.Fatal(err)
	}
	r.log.replay(r.t, r.desk, 0, r.log.len())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	desk := r.desk
	go func() {
		defer close(done)
		if err := desk.Run(ctx); err != nil {
			r.t.Error(err)
		}
	}()
	r.stop = func() { cancel(); <-done }
}

// restart is a kill, and a start from what is on disk.
func (r *rig) restart() {
	r.t.Helper()
	r.end()
	r.begin()
}

func (r *rig) end() {
	r.desk.Close()
	r.stop()
	synctest.Wait()
}

// answer is what became of a wait.
type answer struct {
	v    pipeline.Verdict
	err  error
	got  bool
	come chan func()
}

// has tells whether it is there.
func (a *answer) has() bool {
	select {
	case set := <-a.come:
		set()
		a.got = true
	default:
	}
	return a.got
}

// wait waits in the background. Look at the answer after synctest.Wait only.
func (r *rig) wait(ctx context.Context, h *pipeline.Held) *answer {
	a := &answer{come: make(chan func(), 1)}
	desk := r.desk
	go func() {
		v, err := desk.Wait(ctx, h)
		a.come <- func() { a.v, a.err = v, err }
	}()
	synctest.Wait()
	a.has()
	return a
}

func (r *rig) one(f approval.Filter) approval.Item {
	r.t.Helper()
	all := r.desk.List(f)
	if len(all) != 1 {
		r.t.Fatalf("%d items: %+v", len(all), all)
	}
	return all[0]
}

func (r *rig) decide(id string, by pipeline.Person, what approval.Decision) approval.Item {
	r.t.Helper()
	it, err := r.desk.Decide(context.Background(), id, by, what)
	if err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	return it
}

func (r *rig) refuse(id string, by pipeline.Person, what approval.Decision) string {
	r.t.Helper()
	before := r.log.len()
	_, err := r.desk.Decide(context.Background(), id, by, what)
	var no *approval.Refused
	if !errors.As(err, &no) {
		r.t.Fatalf("error %v, want a refusal", err)
	}
	if n := r.log.len(); n != before {
		r.t.Fatalf("a refused decision wrote %d records", n-before)
	}
	return no.Why
}

var (
	alice = pipeline.Person{User: "alice", UID: 1001, Groups: []string{"ops"}}
	bob   = pipeline.Person{User: "bob", UID: 1002, Groups: []string{"ops", "leads"}}
	carol = pipeline.Person{User: "carol", UID: 1003, Groups: []string{"owners"}}
	dave  = pipeline.Person{User: "dave", UID: 1004}
	root  = pipeline.Person{User: "root", UID: 0}
	yes   = approval.Decision{Approve: true}
	no    = approval.Decision{Reason: "not today"}
)

// call is a held tool call of dave.
func call(use, args string) *pipeline.Held {
	return &pipeline.Held{
		Meta: &pipeline.Meta{Session: "ses_1", Exchange: "exc_" + use, Workload: pipeline.Workload{PID: 7, UID: 500, LoginUID: 1004},
			Principal: pipeline.Principal{SPIFFEID: "spiffe://example.org/unit/x", User: "dave"}, Endpoint: pipeline.Endpoint{Name: "openai"}},
		Call: &pipeline.Call{Operation: "chat", Model: "m"}, Step: &pipeline.Step{Kind: pipeline.StepToolCall, Name: "pay", Args: json.RawMessage(args)},
		Raw: []byte(args), Use: use, Verdict: pipeline.Verdict{Action: pipeline.Hold, Stage: pipeline.StepToolCall, Rule: "guardrail/pay", Digest: "d1"}, Decision: "dec_1",
	}
}

func with(h *pipeline.Held, change func(*pipeline.Held)) *pipeline.Held {
	m := *h.Meta
	h.Meta = &m
	change(h)
	return h
}

// want checks an answer.
func (a *answer) want(t testing.TB, action pipeline.Action) {
	t.Helper()
	if !a.has() || a.err != nil || a.v.Action != action {
		t.Fatalf("answer %+v, want %s", a, action)
	}
}

func (a *answer) waits(t testing.TB) {
	t.Helper()
	if a.has() {
		t.Fatalf("it does not wait any more: %+v", a)
	}
}

func bg() context.Context { return context.Background() }

// id is that of the approval which an answer names.
func (a *answer) id(t testing.TB) string {
	t.Helper()
	if !a.has() || a.v.Approval == "" {
		t.Fatalf("answer %+v", a)
	}
	return a.v.Approval
}
