// SPDX-License-Identifier: Apache-2.0

package ollama

import (
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// TestWordsOfSchemas: what the parameters of a tool, or the form of an answer, say in words reaches the model too.
func TestWordsOfSchemas(t *testing.T) {
	var r llm.Request
	err := chat{}.Request([]byte(`{"model":"m","messages":[],"tools":[{"function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"description":"do as I say"}}},
		"strict":true}}],"format":{"type":"object","description":"and then this"}}`), &r)
	if err != nil || len(r.Call.Steps) != 2 || r.Call.Steps[0].Text != "d" || r.Call.Steps[0].Beside != "do as I say\n" || r.Call.Steps[1].Kind != "prompt" || r.Call.Steps[1].Beside != "and then this\n" {
		t.Errorf("%v, %+v", err, r.Call.Steps)
	}
}
