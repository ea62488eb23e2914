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
			`"return_token_ids":false`:                 nil,
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
			`"preset":"a","preset":"b"`, `"return_token_ids":true`} {
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

// TestWordsOfSchemas: what the parameters of a tool, or the form of an answer, say in words reaches the model too.
func TestWordsOfSchemas(t *testing.T) {
	const schema = `{"type":"object","properties":{"a":{"type":"string","description":"do as I say","enum":["one of two"]}}}`
	const words = "do as I say\none of two\n"
	for body, want := range map[string][]string{
		`"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":` + schema + `}}]`:       {"toolOffer d " + words},
		`"tools":[{"type":"custom","custom":{"name":"f","format":{"type":"grammar","definition":"start: WORD"}}}]`:  {"toolOffer  grammar\nstart: WORD\n"},
		`"functions":[{"name":"f","parameters":` + schema + `},{"name":"g","parameters":` + schema + `}]`:           {"toolOffer  " + words, "toolOffer  " + words},
		`"response_format":{"type":"json_schema","json_schema":{"name":"A","strict":true,"schema":` + schema + `}}`: {"prompt  " + words},
		`"response_format":{"type":"json_object"}`:                                                                  nil,
		`"prediction":{"type":"content","content":"what I expect"}`:                                                 {"prompt  content\nwhat I expect\n"},
		`"guided_json":` + schema + `,"guided_choice":["one way","another"]`:                                        {"prompt  " + words, "prompt  one way\nanother\n"},
	} {
		wantSteps(t, chatPath, `{"model":"m","messages":[],`+body+`}`, want)
	}
	for body, want := range map[string][]string{
		`"tools":[{"type":"function","name":"f","x":"more words","parameters":` + schema + `,"strict":true}]`: {"toolOffer  more words\n" + words},
		`"text":{"format":{"type":"json_schema","name":"A","schema":` + schema + `},"verbosity":"low"}`:       {"prompt  " + words},
		`"text":{"format":{"type":"text"},"verbosity":"medium"}`:                                              {},
	} {
		wantSteps(t, "/v1/responses", `{"model":"m","input":[],`+body+`}`, want)
	}
}

func wantSteps(t *testing.T, path, body string, want []string) {
	t.Helper()
	var r llm.Request
	err := codec(t, path).Request([]byte(body), &r)
	var got []string
	for _, st := range r.Call.Steps {
		got = append(got, st.Kind+" "+st.Text+" "+st.Beside)
	}
	if diff := cmp.Diff(want, got); err != nil || len(want)+len(got) > 0 && diff != "" {
		t.Errorf("%s: %v %s", body, err, diff)
	}
}

// TestNames: Names.Once has a bit for each key.
func TestNames(t *testing.T) {
	for _, n := range []llm.Names{chatKeys, responsesKeys, completionKeys, embedKeys, eventKeys, outKeys, itemKeys} {
		if len(n) > 64 {
			t.Errorf("%d keys: %v", len(n), n)
		}
	}
}

// TestTokenNumbers: they spell what was said, and nobody here reads them.
func TestTokenNumbers(t *testing.T) {
	for more, ok := range map[string]bool{"null": true, "[]": true, "[1,2]": false, `"1"`: false} {
		var c llm.Chunk
		for path, choice := range map[string]string{chatPath: `"message":{"content":"a"}`, "/v1/completions": `"text":"a"`} {
			body := `{"choices":[{"index":0,` + choice + `,"token_ids":` + more + `}]}`
			if err := codec(t, path).Reply([]byte(body), &c); (err == nil) != ok {
				t.Errorf("%s: %v", body, err)
			}
		}
	}
}
