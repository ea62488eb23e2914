// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// besideKeys are keys of any request that OpenAI's own API does not have, and that other servers and gateways take for another
// model, for tools that they run, or for a prompt; and those that say in what form an answer is to be, which reaches the model too.
var besideKeys = llm.Names{"models", "fallbacks", "route", "lora_path", "api_base", "base_url", "compound_custom", "prompt_embeds", "extra_body",
	"preset", "prompt_id", "data_sources", "dataSources", "vector_store_ids", "enable_search", "enable_code_interpreter", "chat_template_kwargs", "tool_prompt",
	"response_format", "prediction", "structured_outputs", "guided_json", "guided_choice", "guided_regex", "guided_grammar", "json_schema", "grammar", "return_token_ids", "return_hidden_states"}

// with are the keys of an operation and those beside them.
func with(own llm.Names) llm.Names { return slices.Concat(own, besideKeys) }

// dataSources is what some servers look into before they answer.
const dataSources = "data_sources"

// beside reads the value of one of besideKeys.
func (rd *reader) beside(key string) error {
	if null, err := rd.Null(); null || err != nil {
		return err
	}
	feature := ""
	switch key {
	case "chat_template_kwargs", "tool_prompt":
		return rd.all(pipeline.Step{Kind: pipeline.StepPrompt, Index: -1}, itemHosted)
	case "response_format", "prediction", "structured_outputs", "guided_json", "guided_choice", "guided_regex", "guided_grammar", "json_schema", "grammar":
		return rd.Form()
	case "extra_body":
		return rd.extraBody()
	case "return_token_ids", "return_hidden_states": // they spell what is masked or refused, and come before it
		if rd.Peek() == llm.Bool {
			if on, err := rd.Bool(); !on || err != nil {
				return err
			}
		}
		return llm.NotInspected("request asks for %s", key)
	case "preset", "prompt_id":
		feature = promptTemplate
	case "data_sources", "dataSources":
		feature = dataSources
	case "vector_store_ids":
		feature = "file_search"
	case "enable_search":
		feature = "web_search"
	case "enable_code_interpreter":
		feature = "code_interpreter"
	default:
		return llm.NotInspected("request asks for %s", key)
	}
	if rd.Peek() == llm.Bool {
		if on, err := rd.Bool(); !on || err != nil {
			return err
		}
		rd.Feature(feature)
		return nil
	}
	rd.Feature(feature)
	return rd.Rest()
}

// extraBody reads what Gemini takes beside the API: how it thinks, and the name of what was said before, which is at the provider.
func (rd *reader) extraBody() error {
	return rd.Object(func(m llm.Member) error {
		if string(m.Key) != "google" {
			return llm.NotInspected("request with extra_body.%s", m.Key)
		}
		return rd.Object(func(m llm.Member) error {
			switch string(m.Key) {
			case "thinking_config":
			case "cached_content":
				rd.Feature(storedConversation)
			default:
				return llm.NotInspected("request with extra_body.google.%s", m.Key)
			}
			return rd.Rest()
		})
	})
}
