// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/llm/openai"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// allowing is a policy that allows some models to user 1000.
func allowing(models string) string {
	return `apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: r}
spec: {rules: [{endpoints: [openai], operations: [chat], models: [` + models + `]}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: b}
spec: {role: r, subjects: [{uid: 1000}]}
`
}

// rulesRig is a policy folder with its keeper.
type rulesRig struct {
	t      *testing.T
	dir    string
	p      *policies
	log    bytes.Buffer
	kept   []PolicyChange
	refuse error // of the record
}

func newRulesRig(t *testing.T) *rulesRig {
	r := &rulesRig{t: t, dir: t.TempDir()}
	r.write("p.yaml", allowing("a"))
	r.p = &policies{dir: r.dir, log: slog.New(slog.NewTextHandler(&r.log, nil))}
	r.must(r.p.open(t.Context()))
	r.must(r.p.begin(t.Context(), func(_ context.Context, rec pipeline.Record) error {
		if r.refuse == nil {
			r.kept = append(r.kept, rec.Body.(PolicyChange))
		}
		return r.refuse
	}))
	return r
}

func (r *rulesRig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rulesRig) write(name, text string) {
	r.t.Helper()
	r.must(os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600))
}

// allows says whether the policy in force allows a model.
func (r *rulesRig) allows(model string) bool {
	m := pipeline.Meta{Workload: pipeline.Workload{PID: 1, UID: 1000}, Endpoint: pipeline.Endpoint{Name: "openai"}}
	return r.p.Decide(&m, &pipeline.Call{Operation: pipeline.OpChat, Model: model}, nil).Action == pipeline.Allow
}

func (r *rulesRig) looks(n int) {
	for range n {
		r.p.look(r.t.Context())
	}
}

func (r *rulesRig) mistake() string { return r.p.state.Load().Error }

func TestPolicyFolder(t *testing.T) {
	r := newRulesRig(t)
	old := r.p.Version()
	if len(r.kept) != 1 || r.kept[0].Cause != causeStart || r.kept[0].Version != old || len(r.kept[0].Files) != 1 {
		t.Fatalf("at the start: %+v", r.kept)
	}
	r.looks(3)
	r.write("p.yaml", allowing("b"))
	r.write("q.yaml", "")
	r.looks(1)
	if r.allows("b") {
		t.Fatal("in force before it came to rest")
	}
	r.looks(1)
	if !r.allows("b") || r.allows("a") || len(r.kept) != 2 {
		t.Fatalf("not in force: %+v", r.kept)
	}
	c := r.kept[1]
	if c.Cause != causeFile || c.Previous != old || c.Version != r.p.Version() || len(c.Files) != 2 || c.Files[0].Change != "changed" || c.Files[1].Change != "added" ||
		c.Files[0].UID != uint32(os.Getuid()) || c.Files[0].Modified.IsZero() || len(c.Files[0].SHA256) != 64 || c.Files[0].Text == "" {
		t.Errorf("recorded %+v", c)
	}
	if s := r.p.state.Load(); s.Version != c.Version || s.Cause != causeFile || s.Loaded.IsZero() {
		t.Errorf("status %+v", s)
	}
	// Touched: nothing to record.
	r.write("p.yaml", allowing("b"))
	r.looks(3)
	if len(r.kept) != 2 {
		t.Errorf("recorded %+v", r.kept[2:])
	}
	// A reload is recorded in any case: somebody asked for it.
	r.p.reload(t.Context(), causeReload)
	if len(r.kept) != 3 || r.kept[2].Cause != causeReload || len(r.kept[2].Files) != 0 {
		t.Errorf("recorded %+v", r.kept[2:])
	}
	r.must(os.Remove(filepath.Join(r.dir, "q.yaml")))
	r.looks(2)
	if n := len(r.kept); n != 4 || r.kept[3].Files[0].Change != "removed" || r.kept[3].Files[0].SHA256 != "" {
		t.Errorf("recorded %+v", r.kept[3:])
	}
}

func TestPolicyRefused(t *testing.T) {
	r := newRulesRig(t)
	for _, c := range []struct {
		name   string
		do     func()
		reload bool
		want   string
	}{
		{"a mistake", func() { r.write("p.yaml", "kind: Rule\n") }, false, "p.yaml:1"},
		{"a mistake, reloaded", func() { r.write("p.yaml", "kind: Rules\n") }, true, `"Rules"`},
		{"the folder is gone", func() { r.must(os.Rename(r.dir, r.dir+".old")) }, false, "no such file"},
		{"it is back, with the mistake", func() { r.must(os.Rename(r.dir+".old", r.dir)) }, false, `"Rules"`},
		{"a file that is still being written", func() {
			f, err := os.OpenFile(filepath.Join(r.dir, "p.yaml"), os.O_WRONLY|os.O_TRUNC, 0)
			r.must(err)
			t.Cleanup(func() { r.must(f.Close()) })
			_, err = f.WriteString(allowing("b"))
			r.must(err)
		}, true, "open for writing"},
	} {
		r.log.Reset()
		c.do()
		if c.reload {
			r.p.reload(t.Context(), causeReload)
		} else {
			r.looks(5)
		}
		if !r.allows("a") || r.allows("b") || !strings.Contains(r.mistake(), c.want) || len(r.kept) != 1 {
			t.Errorf("%s: %q, %d records", c.name, r.mistake(), len(r.kept))
		}
		if n := strings.Count(r.log.String(), "refused"); n != 1 {
			t.Errorf("%s: told %d times:\n%s", c.name, n, &r.log)
		}
	}
	r.looks(restless + 2)
	if !strings.Contains(r.mistake(), "does not come to rest") || !r.allows("a") {
		t.Errorf("%q", r.mistake())
	}
	// Mended by a rename, as editors do it.
	r.write(".p.yaml.swp", allowing("c"))
	r.must(os.Rename(filepath.Join(r.dir, ".p.yaml.swp"), filepath.Join(r.dir, "p.yaml")))
	r.looks(2)
	if !r.allows("c") || r.mistake() != "" {
		t.Errorf("%q", r.mistake())
	}
}

// A mistake that was only somebody at work is taken back when they are done, also if nothing came of it.
func TestPolicyAtRest(t *testing.T) {
	r := newRulesRig(t)
	f, err := os.OpenFile(filepath.Join(r.dir, "p.yaml"), os.O_WRONLY, 0)
	r.must(err)
	r.p.reload(t.Context(), causeReload)
	if !strings.Contains(r.mistake(), "open for writing") {
		t.Fatalf("%q", r.mistake())
	}
	r.must(f.Close())
	r.looks(3)
	if r.mistake() != "" || !r.allows("a") || len(r.kept) != 1 {
		t.Errorf("%q, %+v", r.mistake(), r.kept)
	}
}

// What cannot be recorded does not come into force, and is tried again.
func TestPolicyNotRecorded(t *testing.T) {
	r := newRulesRig(t)
	r.refuse = errors.New("the journal is full")
	r.write("p.yaml", allowing("b"))
	r.looks(4)
	r.p.reload(t.Context(), causeReload)
	if !r.allows("a") || r.allows("b") || !strings.Contains(r.mistake(), "journal is full") {
		t.Fatalf("%q", r.mistake())
	}
	r.refuse = nil
	r.looks(2)
	if !r.allows("b") || r.mistake() != "" || len(r.kept) != 2 {
		t.Errorf("%q, %+v", r.mistake(), r.kept)
	}
}

// TestReloadUnderLoad changes the policy hundreds of times while exchanges run: each exchange is answered and recorded in full,
// each decision is of one of the two policies, and what one of them refuses is refused only under that one.
func TestReloadUnderLoad(t *testing.T) {
	const changes, workers = 300, 4
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "journal")
	put := func(models string) { // by a rename, so that no look sees a half of it
		tmp := filepath.Join(dir, ".new")
		if err := errors.Join(os.WriteFile(tmp, []byte(allowing(models)), 0o600), os.Rename(tmp, filepath.Join(dir, "p.yaml"))); err != nil {
			t.Error(err)
		}
	}
	j, err := journal.Open(journal.Options{Dir: log, BootID: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	put("both, one")
	p := &policies{dir: dir, log: slog.New(slog.DiscardHandler)}
	d := &daemon{journal: j, policy: p}
	if err := errors.Join(p.open(t.Context()), p.begin(t.Context(), d.append)); err != nil {
		t.Fatal(err)
	}
	f, err := flow.New(flow.Options{Decider: p, Masker: fakes.Masker{}, Log: j, Sessions: fakes.Sessions("ses_1"), Codecs: llm.Registry{"openai": openai.Provider{}},
		Notice: func(stage string, err error) { t.Errorf("%s: %v", stage, err) }})
	if err != nil {
		t.Fatal(err)
	}
	const reply = `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}`
	stop, completed := make(chan struct{}), make(chan struct{}, 16*workers) // changes and exchanges keep pace
	var asked, passed, refused atomic.Int64
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case completed <- struct{}{}:
				}
				model := []string{"both", "one"}[n%2]
				client := fakes.Client{Payload: []byte(`{"model":"` + model + `","messages":[{"role":"user","content":"hello"}]}`), Request: pipeline.Head{Method: "POST",
					Target: "/v1/chat/completions", Fields: []pipeline.Field{{Name: "content-type", Value: "application/json"}}}}
				up := fakes.Upstream{Head: pipeline.Head{Status: 200, Fields: []pipeline.Field{{Name: "content-type", Value: "application/json"}}}, Pieces: [][]byte{[]byte(reply)}}
				m := pipeline.Meta{Mode: pipeline.ModeEnforce, Scope: "agents", Exchange: fmt.Sprintf("exc_%d_%d", w, n), Workload: pipeline.Workload{PID: 1, UID: 1000},
					Principal: pipeline.Principal{SPIFFEID: fmt.Sprintf("spiffe://example.org/%d/%d", w, n/100)}, // who is refused too often is not read any more
					Endpoint:  pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai"}}
				asked.Add(1)
				if err := f.Serve(context.Background(), &m, &client, &up); err != nil {
					t.Errorf("%s: %v", m.Exchange, err)
					return
				}
				switch {
				case client.Reply.Status == 200 && string(client.Got) == reply:
					passed.Add(1)
				case client.Reply.Status == 403 && model == "one" && len(up.Sent) == 0:
					refused.Add(1)
				default:
					t.Errorf("%s for %s: %d %s", m.Exchange, model, client.Reply.Status, client.Got)
				}
			}
		})
	}
	versions := []string{p.Version()}
	for i := range changes {
		for range workers {
			<-completed
		}
		put([]string{"both", "both, one"}[i%2])
		p.reload(t.Context(), causeReload)
		if v := p.Version(); !slices.Contains(versions, v) {
			versions = append(versions, v)
		}
	}
	close(stop)
	running.Wait()
	if s := p.state.Load(); s.Error != "" || len(versions) != 2 {
		t.Errorf("%q, %d versions", s.Error, len(versions))
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	outcomes, records := map[string]int{}, 0
	r, err := journal.OpenReader(log, pipeline.Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e.Kind {
		case pipeline.KindPolicy:
			records++
		case pipeline.KindOutcome:
			outcomes[e.Exchange]++
		case pipeline.KindIntent:
			var in pipeline.Intent
			if err := e.Decode(&in); err != nil || !slices.Contains(versions, in.Policy) {
				t.Errorf("an exchange under policy %q: %v", in.Policy, err)
			}
		}
	}
	if records != changes+1 || int64(len(outcomes)) != asked.Load() || passed.Load()+refused.Load() != asked.Load() || refused.Load() == 0 || passed.Load() <= asked.Load()/2 {
		t.Errorf("%d changes on record, want %d; of %d exchanges %d have an outcome, %d passed, %d were refused", records, changes+1, asked.Load(), len(outcomes), passed.Load(), refused.Load())
	}
	for id, n := range outcomes {
		if n != 1 {
			t.Errorf("%s has %d outcomes", id, n)
		}
	}
	t.Logf("%d exchanges over %d changes", asked.Load(), changes)
}
