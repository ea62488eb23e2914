// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// plainPatience is when a plain call is answered that it is held.
const plainPatience = 110 * time.Second

// TestHolds holds a tool call of every SDK's agent for HOLD (3 s; ten minutes with make holds), all at once, and approves them then.
// A stream goes on as if nothing had been. A plain call goes on too if that is within 110 s; else it ends in 403, and the same question
// asked again after the approval gets the reply that was kept.
func TestHolds(t *testing.T) {
	hold := 3 * time.Second
	if v := os.Getenv("HOLD"); v != "" {
		var err error
		hold, err = time.ParseDuration(v)
		must(t, err)
	}
	w := holdWorld(t)
	all := append([]sdk{{name: "openai", host: "api.openai.com", client: "openai"}}, sdks...)
	prompt := func(s sdk, stream bool) string {
		how := "plain"
		if stream {
			how = "stream"
		}
		return `use tool delete_files with {"path":"/srv/` + how + "-" + strings.NewReplacer(" ", "", ",", "-").Replace(s.name) + `"}`
	}
	began := time.Now()
	ends := map[string]<-chan outcome{}
	start := func(s sdk, stream bool) {
		a := w.agent(s, stream, prompt(s, stream))
		a.Args = login(workerID, true, a.Args...)
		ends[prompt(s, stream)] = w.begin(a)
	}
	for _, s := range all {
		start(s, true)
		start(s, false)
	}
	ids := w.held(2*len(all), ends)
	if rest := hold - time.Since(began); rest > 0 {
		select {
		case <-time.After(rest):
		case <-t.Context().Done():
		}
	}
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			if out, err := w.as(bossID, "approvals", "approve", id); err != nil {
				t.Errorf("%s: %s, %v", id, out, err)
			}
		})
	}
	wg.Wait()
	asked := len(w.fake.Requests())
	for _, s := range all {
		for _, stream := range []bool{true, false} {
			p := prompt(s, stream)
			o := <-ends[p]
			if !stream && s.client != "ollama" && hold > plainPatience { // langchain-ollama asks for a stream always
				if o.err == nil || !strings.Contains(o.errOut, "approval") || !strings.Contains(o.errOut, "sallyport why dec_") {
					t.Errorf("%s, plain: want 403 that it is held: %+v", s.name, o)
				}
				before := len(w.fake.Requests())
				start(s, false)
				if o = <-ends[p]; o.err == nil && len(w.fake.Requests()) != before+1 { // the question after the tool's result
					t.Errorf("%s, plain: the provider was asked again", s.name)
				}
			}
			if o.err != nil || !strings.Contains(o.out, "ran delete_files on /srv/") || !strings.Contains(o.out, "answer: ") {
				t.Errorf("%s, stream %v, after %s: %+v", s.name, stream, hold, o)
			}
		}
	}
	t.Logf("%d programs held for %s; %d requests until then", 2*len(all), hold, asked)
}

// held waits until so many things wait for people, and returns their IDs.
func (w *world) held(n int, ends map[string]<-chan outcome) (ids []string) {
	w.t.Helper()
	for deadline := time.Now().Add(100 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		var list []struct{ ID string }
		w.json(&list, "approvals", "list", "--state", "waiting", "-o", "json")
		if len(list) >= n {
			for _, a := range list {
				ids = append(ids, a.ID)
			}
			return ids
		}
		for p, end := range ends {
			select {
			case o := <-end:
				w.t.Fatalf("%s: the program did not wait: %+v", p, o)
			default:
			}
		}
	}
	w.t.Fatalf("fewer than %d things wait", n)
	return nil
}

// holdWorld has the endpoints of all SDKs and holds deletions.
func holdWorld(t *testing.T) *world {
	t.Helper()
	w := newWorldOfAll(t)
	w.letIn()
	w.policy(strings.NewReplacer("endpoints: [provider]", `endpoints: ["*"]`, "name: no-deleting", "name: ask-first",
		"action: deny", "action: hold, approval: {groups: [www-data], timeout: 30m}").Replace(sdkPolicy))
	ca := filepath.Join(filepath.Dir(w.d.Config), "fake-ca.pem")
	w.conf = strings.Replace(w.conf, "endpoints: [", "endpoints:\n  - {name: anthropic, host: api.anthropic.com, port: 443, protocol: anthropic, upstream_ca: "+ca+
		"}\n  - {name: ollama, host: ollama.example.com, port: 443, protocol: ollama, upstream_ca: "+ca+"}\n  - ", 1)
	w.conf = strings.Replace(w.conf, "}]\nidentity:", "}\nidentity:", 1)
	w.start()
	return w
}
