// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/llm/openai"
	"github.com/sallyport-dev/sallyport/pipeline/policy/replay"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// varied has a rule of each kind.
const varied = `apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: r}
spec: {rules: [{endpoints: [openai], operations: [chat], models: [good], tools: [search, bash, ask, "x*"]}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: b}
spec: {role: r, subjects: [{uid: 1000}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: covered}
spec: {on: [prompt, toolResult, toolCall], match: {regex: 'badger'}, action: mask}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: refused}
spec: {on: [prompt, toolResult, toolCall, response], match: {regex: 'weasel'}, action: deny}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: held}
spec: {on: [prompt, toolCall], match: {regex: 'otter'}, action: hold}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: told}
spec: {on: [prompt, toolResult, toolCall, toolOffer, response], match: {regex: 'ferret|xtool'}, action: alert}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: watched}
spec: {on: [toolOffer, toolCall], match: {tools: [search]}, action: deny, enforcement: observe}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: watched-words}
spec: {on: [prompt, toolResult, response], match: {regex: stoat}, action: deny, enforcement: observe}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: no-x}
spec: {on: [toolOffer], match: {tools: ["xno"]}, action: deny}
`

// people hold nothing for long: they approve or refuse by chance.
type people struct{ r *rand.Rand }

func (p people) Wait(_ context.Context, h *pipeline.Held) (pipeline.Verdict, error) {
	v := h.Verdict
	if p.r.IntN(2) == 0 {
		return pipeline.Verdict{Action: pipeline.Allow, Stage: v.Stage, Rule: v.Rule}, nil
	}
	return pipeline.Verdict{Action: pipeline.Deny, Stage: v.Stage, Rule: v.Rule, Reason: "no"}, nil
}

// TestReplayOfFlow lets exchanges of all kinds run through flow, in both modes, and replays the record against the policy under
// which they ran: nothing may differ.
func TestReplayOfFlow(t *testing.T) {
	dir, log := t.TempDir(), filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(varied), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Options{Dir: log, BootID: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	p := &policies{dir: dir, log: slog.New(slog.DiscardHandler)}
	if err := p.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	f, err := flow.New(flow.Options{Decider: p, Holder: people{r}, Masker: fakes.Masker{Words: []string{"secret"}, With: "[MASKED]"}, Log: j, Sessions: fakes.Sessions("ses_1"),
		Codecs: llm.Registry{"openai": openai.Provider{}}, Notice: func(stage string, err error) { t.Logf("%s: %v", stage, err) }})
	if err != nil {
		t.Fatal(err)
	}
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	words := func() string {
		return pick("hello", "hello", "hello", "a badger", "a weasel", "an otter", "a ferret", "a stoat", "the secret badger", "hello hello")
	}
	tool := func() string { return pick("search", "search", "bash", "ask", "sql", "xtool", "xno") }
	type object = map[string]any
	text := func(v any) []byte {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	const exchanges = 1500
	for n := range exchanges {
		messages := []object{{"role": "system", "content": "hello"}, {"role": "user", "content": words()}}
		if r.IntN(3) == 0 {
			name := tool()
			messages = append(messages, object{"role": "assistant", "content": nil, "tool_calls": []object{{"id": "c0", "type": "function", "function": object{"name": name, "arguments": `{"q":"` + words() + `"}`}}}},
				object{"role": "tool", "tool_call_id": "c0", "content": words()})
		}
		body := object{"model": pick("good", "good", "good", "good", "good", "bad"), "messages": messages}
		if r.IntN(2) == 0 {
			var tools []object
			for range 1 + r.IntN(3) {
				tools = append(tools, object{"type": "function", "function": object{"name": tool(), "parameters": object{"type": "object"}}})
			}
			body["tools"] = tools
			if r.IntN(4) == 0 {
				body["tool_choice"] = object{"type": "function", "function": object{"name": tools[0]["function"].(object)["name"]}}
			}
		}
		message := object{"role": "assistant", "content": words()}
		if r.IntN(2) == 0 {
			var calls []object
			for i := range 1 + r.IntN(3) {
				calls = append(calls, object{"id": fmt.Sprint("c", i), "type": "function", "function": object{"name": tool(), "arguments": `{"q":"` + words() + `"}`}})
			}
			message["content"], message["tool_calls"] = nil, calls
		}
		reply := text(object{"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": []object{{"index": 0, "message": message, "finish_reason": "stop"}}})
		client := fakes.Client{Payload: text(body), Request: pipeline.Head{Method: "POST", Target: "/v1/chat/completions", Fields: []pipeline.Field{{Name: "content-type", Value: "application/json"}}}}
		up := fakes.Upstream{Head: pipeline.Head{Status: 200, Fields: []pipeline.Field{{Name: "content-type", Value: "application/json"}}}, Pieces: [][]byte{reply}}
		m := pipeline.Meta{Mode: []pipeline.Mode{pipeline.ModeEnforce, pipeline.ModeObserve}[r.IntN(2)], Scope: "agents", Exchange: fmt.Sprint("exc_", n), Workload: pipeline.Workload{PID: 1, UID: 1000},
			Principal: pipeline.Principal{SPIFFEID: fmt.Sprint("spiffe://example.org/", n/50)}, Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai"}}
		if err := f.Serve(context.Background(), &m, &client, &up); err != nil {
			t.Fatalf("exchange %d: %v", n, err)
		}
	}
	f.Flush()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	c := replay.New(p.Set(), replay.Options{Has: func(string) bool { return true }})
	records, folder, loader := reader(t, log), journal.NewFolder(), journal.NewLoader(log)
	defer records.Close()
	defer loader.Close()
	for {
		e, err := records.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if ref := folder.Add(e); ref != nil {
			parts, err := loader.Load(ref)
			if err != nil {
				t.Fatal(err)
			}
			x := &replay.Exchange{ID: parts.Exchange, Time: parts.Time, Intent: parts.Intent, Outcome: parts.Outcome}
			for _, d := range parts.Decisions {
				x.Decisions = append(x.Decisions, d.Decision)
			}
			before := len(c.Report().Changes)
			c.Add(x)
			for _, ch := range c.Report().Changes[before:] {
				if before < 5 {
					t.Logf("%s", text(object{"change": ch, "mode": x.Intent.Mode, "body": x.Intent.Body, "decisions": x.Decisions, "tools": x.Outcome.Tools, "text": x.Outcome.Text}))
				}
			}
		}
	}
	rep := c.Report()
	if len(rep.Changes) > 0 || rep.Exchanges != exchanges || rep.Uninspected > 0 || rep.Covered == 0 || len(rep.Observed) == 0 {
		rep.Changes = nil
		t.Errorf("%+v", rep)
	}
}

func reader(t *testing.T, dir string) *journal.Reader {
	t.Helper()
	r, err := journal.OpenReader(dir, pipeline.Position{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
