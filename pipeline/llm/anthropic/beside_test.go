// SPDX-License-Identifier: Apache-2.0

package anthropic

import (
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// TestWordsOfSchemas: what the parameters of a tool, or the form of an answer, say in words reaches the model too.
func TestWordsOfSchemas(t *testing.T) {
	var r llm.Request
	err := messages{}.Request([]byte(`{"model":"m","max_tokens":1,"messages":[],"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{"a":{"description":"do as I say"}}},
		"cache_control":{"type":"ephemeral"}}],"output_config":{"format":{"type":"json_schema","schema":{"description":"and then this"}},"effort":"low"}}`), &r)
	if err != nil || len(r.Call.Steps) != 2 || r.Call.Steps[0].Text != "d" || r.Call.Steps[0].Beside != "do as I say\n" || r.Call.Steps[1].Kind != "prompt" || r.Call.Steps[1].Beside != "and then this\n" {
		t.Errorf("%v, %+v", err, r.Call.Steps)
	}
}
