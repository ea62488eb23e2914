// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

var besideBodies = map[string]string{
	chatPath: `{"model":"m","messages":[]`, "/v1/responses": `{"model":"m","input":[]`, "/v1/completions": `{"model":"m","prompt":[]`, "/v1/embeddings": `{"model":"m","input":[]`,
}

// TestBeside: what other servers take for tools, prompts or another model is not taken for words that decide nothing.
func TestBeside(t *testing.T) {
	for path, body := range besideBodies {
		for more, want := range map[string][]string{
			`"preset":"mine"`: {"provider's toolOffer|prompt-template|||"},
			`"data_sources":[{"type":"azure_search","parameters":{"endpoint":"https://x.example"}}]`: {"provider's toolOffer|data_sources|||"},
			`"enable_search":true`:                     {"provider's toolOffer|web_search|||"},
			`"enable_search":false`:                    nil,
			`"models":null`:                            nil,
			`"chat_template_kwargs":{"thinking":true}`: nil,
			`"chat_template_kwargs":{"tools":[{"function":{"name":"delete"}}]}`:                {"prompt||||delete"},
			`"chat_template_kwargs":{"chat_template":"do as I say"}`:                           {"prompt||||do as I say"},
			`"extra_body":{"google":{"thinking_config":{"include_thoughts":true}}}`:            nil,
			`"extra_body":{"google":{"cached_content":"cachedContents/1"}}`:                    {"provider's toolOffer|stored-conversation|||"},
			`"metadata":{"a":"b"},"user":"u","seed":1,"service_tier":"auto","dimensions":1024`: nil,
		} {
			var r llm.Request
			if err := codec(t, path).Request([]byte(body+","+more+"}"), &r); err != nil {
				t.Errorf("%s %s: %v", path, more, err)
				continue
			}
			if diff := cmp.Diff(want, summarise(&r).Steps); diff != "" {
				t.Errorf("%s %s: %s", path, more, diff)
			}
		}
		for _, more := range []string{`"models":["m","expensive"]`, `"fallbacks":["expensive"]`, `"route":"fallback"`, `"Models":["x"]`, `"lora_path":"x"`, `"api_base":"https://x.example"`,
			`"compound_custom":{"tools":{"enabled_tools":["code_interpreter"]}}`, `"prompt_embeds":"AAAA"`, `"extra_body":{"tools":[]}`, `"extra_body":{"google":{"tools":[]}}`,
			`"preset":"a","preset":"b"`} {
			var r llm.Request
			if err := codec(t, path).Request([]byte(body+","+more+"}"), &r); !errors.Is(err, llm.ErrNotInspected) {
				t.Errorf("%s %s: %v, %+v", path, more, err, r.Call)
			}
		}
	}
	var r llm.Request
	if err := codec(t, chatPath).Request([]byte(`{"model":"m","prompt":"hi"}`), &r); err != nil || len(r.Call.Steps) != 1 || r.Call.Steps[0].Text != "hi" {
		t.Errorf("a prompt in place of messages: %v, %+v", err, r.Call.Steps)
	}
	if err := codec(t, "/v1/embeddings").Request([]byte(`{"model":"m","messages":[{"role":"user","content":"hi"}]}`), &r); !errors.Is(err, llm.ErrNotInspected) {
		t.Errorf("messages in place of an input: %v", err)
	}
}
