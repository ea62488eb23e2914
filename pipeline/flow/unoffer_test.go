// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// TestUnofferElsewhere: tools that a role lacks leave the offers of responses and of Ollama too, and what is left is sent.
func TestUnofferElsewhere(t *testing.T) {
	flat := func(name string) string { return `{"type":"function","name":"` + name + `","parameters":{}}` }
	for name, c := range map[string]struct {
		ollama   bool
		in, want string
	}{
		"responses, one of two": {in: `{"model":"m","input":"hi","tools":[` + flat("bad") + `,` + flat("c") + `],"tool_choice":"auto"}`,
			want: `{"model":"m","input":"hi","tools":[` + flat("c") + `],"tool_choice":"auto"}`},
		"responses, all": {in: `{"tools":[` + flat("bad") + `,{"type":"web_search_2025_08_26"}],"tool_choice":"required","model":"m","input":"hi","parallel_tool_calls":true}`,
			want: `{"model":"m","input":"hi"}`},
		"responses, a server": {in: `{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"wiki","server_url":"https://wiki.example"},` + flat("c") + `]}`,
			want: `{"model":"m","input":"hi","tools":[` + flat("c") + `]}`},
		"responses, a server among allowed tools": {in: `{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"wiki","server_url":"https://wiki.example"},` + flat("c") +
			`],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"mcp","server_label":"wiki"},{"type":"function","name":"c"}]}}`,
			want: `{"model":"m","input":"hi","tools":[` + flat("c") + `]}`},
		"responses, a dated type among allowed tools": {in: `{"model":"m","input":"hi","tools":[{"type":"web_search_2025_08_26"},` + flat("c") +
			`] , "tool_choice" : {"type":"allowed_tools","mode":"auto","tools":[{"type":"web_search_2025_08_26"},{"type":"function","name":"c"}]}}`,
			want: `{"model":"m","input":"hi","tools":[` + flat("c") + `]}`},
		"responses, an escaped name among allowed tools": {in: `{"model":"m","tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"b\u0061d"},{"type":"function","name":"c"}]},"input":"hi","tools":[` +
			flat("bad") + `,` + flat("c") + `]}`, want: `{"model":"m","input":"hi","tools":[` + flat("c") + `]}`},
		"responses, others among allowed tools": {in: `{"model":"m","tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"c"}]},"input":"hi","tools":[` +
			flat("bad") + `,` + flat("c") + `]}`, want: `{"model":"m","tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"c"}]},"input":"hi","tools":[` + flat("c") + `]}`},
		"ollama, one of two": {ollama: true, in: `{"model":"m","messages":[],"tools":[` + function("bad") + `,` + function("c") + `]}`,
			want: `{"model":"m","messages":[],"tools":[` + function("c") + `]}`},
		"ollama, all": {ollama: true, in: `{"model":"m","messages":[],"tools":[` + function("bad") + `]}`, want: `{"model":"m","messages":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := responsesRig(t, newItems().message("hello").end())
			if c.ollama {
				r = ollamaRig(t, r.meta.Mode, last)
			}
			r.client.Payload = []byte(c.in)
			r.opts.Decider = lacking("", "bad", "web_search", "mcp/wiki")
			r.must()
			if len(r.up.Sent) != 1 || string(r.up.Sent[0]) != c.want {
				t.Errorf("sent %s", r.up.Sent)
			}
		})
	}
	// A tool that is demanded cannot be taken out.
	r := responsesRig(t)
	r.client.Payload = []byte(`{"model":"m","input":"hi","tools":[` + flat("bad") + `,` + flat("c") + `],"tool_choice":{"type":"function","name":"bad"}}`)
	r.opts.Decider = lacking("", "bad")
	r.wantDenied("sallyport_denied")
}

// TestUnofferServer: a server that is refused for its address goes with its tools.
func TestUnofferServer(t *testing.T) {
	r := blockRig(t, false)
	r.reply(200, "application/json", blockReply("end_turn", says("hi")))
	r.client.Payload = []byte(`{"model":"m","max_tokens":1,"messages":[],"mcp_servers":[{"type":"url","name":"wiki","url":"https://bad.example"}],"tools":[{"type":"mcp_toolset","mcp_server_name":"wiki"},{"name":"c","input_schema":{}}]}`)
	r.opts.Decider = fakes.Decider(func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		if s != nil && s.Kind == pipeline.StepToolOffer && strings.Contains(s.Text, "bad.example") {
			return pipeline.Verdict{Action: pipeline.Deny, Stage: s.Kind, Rule: "guardrail/bad"}
		}
		return pipeline.Verdict{}
	})
	r.must()
	if want := `{"model":"m","max_tokens":1,"messages":[],"tools":[{"name":"c","input_schema":{}}]}`; len(r.up.Sent) != 1 || string(r.up.Sent[0]) != want {
		t.Errorf("sent %s", r.up.Sent)
	}
}
