// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/test/fakellm"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// sdk is a provider's own SDK under LangChain, as a program meets it.
type sdk struct {
	name     string
	host     string
	node     bool
	client   string // as agent.py and agent.mjs call it
	other    string // a model that no role grants
	protocol string
	raises   string // the SDK's exception for 403
}

var sdks = []sdk{
	{name: "openai, responses", host: "api.openai.com", client: "responses", other: "gpt-4o", protocol: "openai", raises: "PermissionDenied"},
	{name: "anthropic", host: "api.anthropic.com", client: "anthropic", other: "claude-opus-4-1", protocol: "anthropic", raises: "PermissionDenied"},
	{name: "ollama", host: "ollama.example.com", client: "ollama", other: "qwen3", protocol: "ollama", raises: "ResponseError"},
	{name: "openai, Node", host: "api.openai.com", node: true, client: "openai", other: "gpt-4o", protocol: "openai", raises: "403"},
	{name: "openai, responses, Node", host: "api.openai.com", node: true, client: "responses", other: "gpt-4o", protocol: "openai", raises: "403"},
	{name: "anthropic, Node", host: "api.anthropic.com", node: true, client: "anthropic", other: "claude-opus-4-1", protocol: "anthropic", raises: "403"},
}

const sdkPolicy = `apiVersion: sallyport.dev/v1alpha1
kind: Role
metadata: {name: support-bot}
spec:
  rules:
    - {endpoints: [provider], operations: [chat], models: ["gpt-4o-mini*", "claude-sonnet-*", "llama3*", "mistral-*"], tools: [search, delete_files]}
---
apiVersion: sallyport.dev/v1alpha1
kind: RoleBinding
metadata: {name: support-bot}
spec: {role: support-bot, subjects: [{unit: langchain-support.service}]}
---
apiVersion: sallyport.dev/v1alpha1
kind: Guardrail
metadata: {name: no-deleting}
spec: {on: [toolCall], match: {tools: ["delete_*"]}, action: deny, message: "Deleting is not allowed"}
`

// agent runs an agent of one SDK.
func (w *world) agent(s sdk, stream bool, args ...string) lab.App {
	dir := root(w.t)
	a := lab.App{Cgroup: enforced, Hosts: map[string]string{s.host: w.lab.Fake.String()},
		Env: []string{"OPENAI_API_KEY=" + key, "ANTHROPIC_API_KEY=" + key}}
	if s.node {
		a.Env = append(a.Env, "PATH="+os.Getenv("PATH"), "NODE_EXTRA_CA_CERTS="+filepath.Join(filepath.Dir(w.d.Socket), "roots.pem"))
		a.Args = []string{"/usr/bin/env", "node", filepath.Join(dir, "build/node-clients/agent.mjs")}
		if stream {
			a.Args = append(a.Args, "--stream")
		}
		a.Args = append(a.Args, s.client)
	} else {
		a.Args = []string{filepath.Join(dir, "build/venv-current/bin/python"), filepath.Join(dir, "test/e2e/python/agent.py"), "--client", s.client}
		if stream {
			a.Args = append(a.Args, "--stream")
		}
	}
	a.Args = append(a.Args, args...)
	return a
}

// TestSDKs runs agents of each provider's SDK: what a role grants works, a tool call that is refused is told and the agent goes on, a
// refused request is the SDK's own exception with our message in it, and reaches nobody.
func TestSDKs(t *testing.T) {
	for _, s := range sdks {
		t.Run(s.name, func(t *testing.T) {
			w := sdkWorld(t, s)
			for _, stream := range []bool{false, true} {
				how := map[bool]string{false: "plain", true: "stream"}[stream]
				t.Run("tool call allowed, "+how, func(t *testing.T) {
					out := w.run(w.agent(s, stream, `use tool search with {"query":"kites"}`))
					if !strings.Contains(out, `call: search {"query":`) || !strings.Contains(out, "result: search 3 pages about kites") || !strings.Contains(out, "answer: ") {
						t.Errorf("got %q", out)
					}
				})
				t.Run("tool call refused, "+how, func(t *testing.T) {
					out := w.run(w.agent(s, stream, `use tool delete_files with {"path":"/srv/data"}`))
					if strings.Contains(out, "ran delete_files") || strings.Contains(out, "/srv/data") {
						t.Errorf("the call, or its arguments, reached the program: %q", out)
					}
					if !refusedCall.MatchString(out) {
						t.Errorf("the program was not told why: %q", out)
					}
				})
				t.Run("one of two refused, "+how, func(t *testing.T) {
					out := w.run(w.agent(s, stream, `two tools: search and delete_files`))
					if strings.Contains(out, "ran delete_files") || strings.Contains(out, "call: delete_files") || !strings.Contains(out, "call: search") || !strings.Contains(out, "answer: ") {
						t.Errorf("got %q", out)
					}
				})
				t.Run("secrets masked, "+how, func(t *testing.T) {
					out := w.run(w.agent(s, stream, "leak a key"))
					if strings.Contains(out, fakellm.LeakedKey()) || !strings.Contains(out, "[OPENAI_KEY]") {
						t.Errorf("a secret reached the program, or no tag stands for it")
					}
				})
			}
			t.Run("model refused", func(t *testing.T) {
				before := len(w.fake.Requests())
				out, errOut, err := w.lab.Run(t.Context(), w.agent(s, false, "say: hello", s.other))
				if err == nil {
					t.Fatalf("the call went through: %q", out)
				}
				if !strings.Contains(errOut, s.raises) || !strings.Contains(errOut, "sallyport why dec_") {
					t.Errorf("the exception does not explain: %q", errOut)
				}
				if after := len(w.fake.Requests()); after != before {
					t.Errorf("%d requests reached the provider", after-before)
				}
			})
			for _, x := range w.exchanges() {
				if x.Response.Cut != "" || x.Operation != "chat" {
					t.Errorf("%s: operation %s, cut %q", x.ExchangeID, x.Operation, x.Response.Cut)
				}
			}
		})
	}
}

var refusedCall = regexp.MustCompile(`answer: .*\[sallyport\] tool delete_files was refused by rule guardrail/no-deleting \(dec_[0-9a-f-]+\)`)

// sdkWorld has one endpoint, that of the SDK's provider.
func sdkWorld(t *testing.T, s sdk) *world {
	t.Helper()
	w := newWorldOfAll(t)
	w.policy(sdkPolicy)
	w.conf = strings.NewReplacer("name: openai, host: api.openai.com", "name: provider, host: "+s.host, "protocol: openai", "protocol: "+s.protocol).Replace(w.conf)
	w.start()
	return w
}
