// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"fmt"
	"strings"
)

// chatReply and chatEvents are replies of chat completions around the members of a choice.
func chatReply(choice, more string) string {
	return `{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,` + choice + `,"finish_reason":"stop"}]` + more + `}`
}

func chatMessage(members string) string {
	return chatReply(`"message":{"role":"assistant",`+members+`}`, "")
}

func chatEvents(choices ...string) string {
	var b strings.Builder
	for _, c := range append(choices, `"delta":{}`) {
		b.WriteString(`data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,` + c + `,"finish_reason":null}]}` + "\n\n")
	}
	return b.String() + delta(0, "{}", "stop") + done
}

// chatDeltas are the events of deltas with a member in two parts.
func chatDeltas(member string) string {
	return chatEvents(`"delta":{`+strings.Replace(member, "{V}", "so: {1}", 1)+`}`, `"delta":{`+strings.Replace(member, "{V}", "{2}, see", 1)+`}`)
}

func chatError(rest string) string {
	return `{"error":{"message":"Incorrect API key provided: {V}."` + rest + `}}`
}

func responsesReply(items, more string) string {
	return `{"id":"resp_1","object":"response","status":"completed","model":"m","output":[` + items + `]` + more + `}`
}

// responsesEvents are the events of one item: its beginning, what is said of it, and itself, which the last event says again.
func responsesEvents(begins, item string, events ...string) string {
	b := rev("response.created", `"response":{"id":"resp_1","object":"response","status":"in_progress","model":"m","output":[]}`)
	b += rev("response.output_item.added", `"output_index":0,"item":`+begins) + strings.Join(events, "")
	b += rev("response.output_item.done", `"output_index":0,"item":`+item)
	return b + rev("response.completed", `"response":`+responsesReply(item, ""))
}

func responsesMessage(part string) string {
	return `{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[` + part + `]}`
}

// responsesText are the events of a text in two parts.
func responsesText(kind, key, of, part string) string {
	place := `"output_index":0,"item_id":"x_1","` + of + `_index":0,`
	return rev("response."+kind+".delta", place+`"delta":"so: {1}"`) + rev("response."+kind+".delta", place+`"delta":"{2}, see"`) +
		rev("response."+kind+".done", place+`"`+key+`":"so: {V}, see"`)
}

func anthropicReply(blocks, more string) string {
	return `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[` + blocks + `],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}` + more + `}`
}

func anthropicEvents(block string, deltas ...string) string {
	b := ev("message_start", `"message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}`)
	b += start(0, block)
	for _, d := range deltas {
		b += ev("content_block_delta", `"index":0,"delta":`+d)
	}
	return b + stop(0) + ev("message_delta", `"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}`) + ev("message_stop", "")
}

func ollamaLines(members ...string) string {
	var b strings.Builder
	for _, m := range members {
		b.WriteString(line(`"content":""`+m, `,"done":false`))
	}
	return b.String() + last
}

func generated(members string, ended bool) string {
	reason := ""
	if ended {
		reason = `,"done_reason":"stop"`
	}
	return fmt.Sprintf(`{"model":"m","created_at":"2026-01-01T00:00:00Z",%s,"done":%t%s}`, members, ended, reason)
}

const tokens = `[{"token":"so: ","logprob":-1,"bytes":null,"top_logprobs":[{"token":"to","logprob":-2,"bytes":[116]}]},` +
	`{"token":"{1}","logprob":-1,"bytes":[{B1}],"top_logprobs":[{"token":"{1}","logprob":-2,"bytes":[{B1}]}]},` +
	`{"token":"{2}","logprob":-1,"bytes":[{B2}],"top_logprobs":[{"token":"{2}","logprob":-2,"bytes":[{B2}]}]},{"token":", see","logprob":-1}]`

const (
	firstTokens = `[{"token":"so: ","logprob":-1},{"token":"{1}","logprob":-1,"bytes":[{B1}],"top_logprobs":[{"token":"{1}","logprob":-2}]}]`
	nextTokens  = `[{"token":"{2}","logprob":-1,"bytes":[{B2}],"top_logprobs":[]},{"token":", see","logprob":-1}]`
)

var carriers = []carrying{
	// OpenAI, chat completions
	{protocol: "openai", operation: "chat", carrier: "text", where: "`message.content`, `delta.content`",
		whole: chatMessage(`"content":"so: {V}, see"`), stream: chatDeltas(`"content":"{V}"`)},
	{protocol: "openai", operation: "chat", carrier: "reasoning", where: "`reasoning_content`", whole: chatMessage(`"content":"","reasoning_content":"so: {V}"`), stream: chatDeltas(`"reasoning_content":"{V}"`)},
	{protocol: "openai", operation: "chat", carrier: "reasoning", where: "`reasoning`", whole: chatMessage(`"content":"","reasoning":"so: {V}"`), stream: chatDeltas(`"reasoning":"{V}"`)},
	{protocol: "openai", operation: "chat", carrier: "reasoning", where: "`reasoning_details[].text`", whole: chatMessage(`"content":"","reasoning_details":[{"type":"reasoning.text","text":"so: {V}"}]`),
		stream: chatDeltas(`"reasoning_details":[{"type":"reasoning.text","text":"{V}"}]`)},
	{protocol: "openai", operation: "chat", carrier: "refusal", where: "`refusal`", whole: chatMessage(`"content":null,"refusal":"so: {V}"`), stream: chatDeltas(`"refusal":"{V}"`)},
	{protocol: "openai", operation: "chat", carrier: "args", where: "`tool_calls[].function.arguments`",
		whole:  chatMessage(`"tool_calls":[{"id":"c1","type":"function","function":{"name":"find","arguments":"{\"q\":\"{V}\"}"}}]`),
		stream: chatEvents(`"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"find","arguments":"{\"q\":\"{1}"}}]}`, `"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{2}\"}"}}]}`)},
	{protocol: "openai", operation: "chat", carrier: "args", where: "`tool_calls[].custom.input`",
		whole:  chatMessage(`"tool_calls":[{"id":"c1","type":"custom","custom":{"name":"run","input":"echo {V}"}}]`),
		stream: chatEvents(`"delta":{"tool_calls":[{"index":0,"id":"c1","type":"custom","custom":{"name":"run","input":"echo {1}"}}]}`, `"delta":{"tool_calls":[{"index":0,"custom":{"input":"{2} end"}}]}`)},
	{protocol: "openai", operation: "chat", carrier: "args", where: "`function_call.arguments`",
		whole:  chatMessage(`"content":null,"function_call":{"name":"find","arguments":"{\"q\":\"{V}\"}"}`),
		stream: chatEvents(`"delta":{"function_call":{"name":"find","arguments":"{\"q\":\"{1}"}}`, `"delta":{"function_call":{"arguments":"{2}\"}"}}`)},
	{protocol: "openai", operation: "chat", carrier: "logprobs", where: "`logprobs.content[]`, `logprobs.refusal[]`",
		whole:  chatReply(`"message":{"role":"assistant","content":"so: {V}, see"},"logprobs":{"content":`+tokens+`,"refusal":null}`, ""),
		stream: chatEvents(`"delta":{"content":"so: {1}"},"logprobs":{"content":`+firstTokens+`,"refusal":null}`, `"delta":{"content":"{2}, see"},"logprobs":{"content":`+nextTokens+`,"refusal":null}`)},
	{protocol: "openai", operation: "chat", carrier: "citation", where: "`annotations[]`", whole: chatMessage(`"content":"so","annotations":[{"type":"url_citation","url_citation":{"start_index":0,"end_index":2,"url":"https://x/?k={V}","title":"{V}"}}]`),
		stream: chatEvents(`"delta":{"content":"so","annotations":[{"type":"url_citation","url_citation":{"start_index":0,"end_index":2,"url":"https://x/?k={V}","title":"{V}"}}]}`)},
	{protocol: "openai", operation: "chat", carrier: "citation", where: "`citations[]` beside `choices`", whole: chatReply(`"message":{"role":"assistant","content":"so"}`, `,"citations":["https://x/{V}"]`),
		stream: strings.Replace(chatEvents(`"delta":{"content":"so"}`), `,"choices"`, `,"citations":["https://x/{V}"],"choices"`, 1)},
	{protocol: "openai", operation: "chat", carrier: "result", where: "`search_results[]`", whole: chatReply(`"message":{"role":"assistant","content":"so"}`, `,"search_results":[{"title":"{V}"}]`),
		stream: strings.Replace(chatEvents(`"delta":{"content":"so"}`), `,"choices"`, `,"search_results":[{"title":"{V}"}],"choices"`, 1)},
	{protocol: "openai", operation: "chat", carrier: "error", where: "`error` of a failure, or in a stream", status: 401, whole: chatError(`,"type":"invalid_request_error","param":null,"code":"invalid_api_key"`),
		stream: text(0, "so") + "data: " + chatError("") + "\n\n"},
	{protocol: "openai", operation: "chat", carrier: "metadata", where: "members not known, and their keys", whole: chatReply(`"message":{"role":"assistant","content":"so","extra_content":{"note":"{V}"}},"note":{"{V}":1}`, `,"more":["{V}"]`),
		stream: chatEvents(`"delta":{"content":"so"},"note":{"{V}":"{V}"}`)},
	{protocol: "openai", operation: "chat", carrier: "reasoning", where: "`reasoning_details[].data`, `thought_signature`: what is encrypted", whole: "=" + chatMessage(`"content":"so","reasoning_details":[{"type":"reasoning.encrypted","data":"{O}"}],"thought_signature":"{O}"`),
		stream: "=" + chatEvents(`"delta":{"content":"so","reasoning_details":[{"type":"reasoning.encrypted","data":"{O}"}]}`)},
	{protocol: "openai", operation: "chat", carrier: "text", where: "`audio` and its transcript, `token_ids`", whole: "!" + chatMessage(`"content":null,"audio":{"id":"a","data":"","transcript":"{V}"}`), stream: "!" + chatEvents(`"delta":{"audio":{"transcript":"{V}"}}`)},
	{protocol: "openai", operation: "chat", carrier: "prompt", where: "`messages[]`", request: `{"model":"m","messages":[{"role":"user","content":"my {V}"},{"role":"user","content":[{"type":"text","text":"{V}"}]}]}`},
	{protocol: "openai", operation: "chat", carrier: "args", where: "`messages[].tool_calls[]`", request: `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"x","arguments":"{\"a\":\"\\u0073{V}\"}"}}]}]}`},
	{protocol: "openai", operation: "chat", carrier: "result", where: "`messages[]` of role `tool`", request: `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"x","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"{V}"}]}`},
	{protocol: "openai", operation: "chat", carrier: "offer", where: "`tools[]`: descriptions", request: `{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"x","description":"{V}"}}]}`},
	{protocol: "openai", operation: "chat", carrier: "metadata", where: "`user`, `metadata`, `stop`, `prediction`, parameters of tools", request: `{"model":"m","messages":[],"user":"{V}","metadata":{"k":"{V}"},"stop":["{V}"],"prediction":{"type":"content","content":"{V}"},"tools":[{"type":"function","function":{"name":"x","parameters":{"description":"{V}"}}}]}`},

	// OpenAI, responses
	{protocol: "openai", operation: "responses", carrier: "text", where: "`output_text`", whole: responsesReply(responsesMessage(`{"type":"output_text","text":"so: {V}, see","annotations":[]}`), ""),
		stream: responsesEvents(responsesMessage(""), responsesMessage(`{"type":"output_text","text":"so: {V}, see","annotations":[]}`), responsesText("output_text", "text", "content", ""))},
	{protocol: "openai", operation: "responses", carrier: "refusal", where: "`refusal`", whole: responsesReply(responsesMessage(`{"type":"refusal","refusal":"so: {V}, see"}`), ""),
		stream: responsesEvents(responsesMessage(""), responsesMessage(`{"type":"refusal","refusal":"so: {V}, see"}`), responsesText("refusal", "refusal", "content", ""))},
	{protocol: "openai", operation: "responses", carrier: "reasoning", where: "`summary[]` of `reasoning`", whole: responsesReply(`{"id":"x_1","type":"reasoning","summary":[{"type":"summary_text","text":"so: {V}, see"}]}`, ""),
		stream: responsesEvents(`{"id":"x_1","type":"reasoning","summary":[]}`, `{"id":"x_1","type":"reasoning","summary":[{"type":"summary_text","text":"so: {V}, see"}]}`, responsesText("reasoning_summary_text", "text", "summary", ""))},
	{protocol: "openai", operation: "responses", carrier: "reasoning", where: "`content[]` of `reasoning`", whole: responsesReply(`{"id":"x_1","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"so: {V}, see"}]}`, ""),
		stream: responsesEvents(`{"id":"x_1","type":"reasoning","summary":[]}`, `{"id":"x_1","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"so: {V}, see"}]}`, responsesText("reasoning_text", "text", "content", ""))},
	{protocol: "openai", operation: "responses", carrier: "reasoning", where: "`encrypted_content`: what is encrypted", whole: "=" + responsesReply(`{"id":"x_1","type":"reasoning","summary":[],"encrypted_content":"{O}"}`, "")},
	{protocol: "openai", operation: "responses", carrier: "metadata", where: "`encrypted_content` that is not encrypted", whole: responsesReply(`{"id":"x_1","type":"reasoning","summary":[],"encrypted_content":"so: {V}"}`, "")},
	{protocol: "openai", operation: "responses", carrier: "args", where: "`function_call.arguments`", whole: responsesReply(`{"id":"x_1","type":"function_call","call_id":"c","name":"find","arguments":"{\"q\":\"{V}\"}"}`, ""),
		stream: responsesEvents(`{"id":"x_1","type":"function_call","call_id":"c","name":"find","arguments":""}`, `{"id":"x_1","type":"function_call","call_id":"c","name":"find","arguments":"{\"q\":\"{V}\"}"}`,
			rev("response.function_call_arguments.delta", `"output_index":0,"delta":"{\"q\":\"{1}"`), rev("response.function_call_arguments.delta", `"output_index":0,"delta":"{2}\"}"`), rev("response.function_call_arguments.done", `"output_index":0,"arguments":"{\"q\":\"{V}\"}"`))},
	{protocol: "openai", operation: "responses", carrier: "args", where: "`custom_tool_call.input`", whole: responsesReply(`{"id":"x_1","type":"custom_tool_call","call_id":"c","name":"run","input":"echo {V}"}`, ""),
		stream: responsesEvents(`{"id":"x_1","type":"custom_tool_call","call_id":"c","name":"run","input":""}`, `{"id":"x_1","type":"custom_tool_call","call_id":"c","name":"run","input":"echo {V}"}`,
			rev("response.custom_tool_call_input.delta", `"output_index":0,"delta":"echo {1}"`), rev("response.custom_tool_call_input.delta", `"output_index":0,"delta":"{2}"`), rev("response.custom_tool_call_input.done", `"output_index":0,"input":"echo {V}"`))},
	{protocol: "openai", operation: "responses", carrier: "args", where: "`mcp_call.arguments`, `web_search_call.action`, `code_interpreter_call.code`", whole: responsesReply(`{"id":"x_1","type":"code_interpreter_call","code":"print('{V}')","container_id":"c","outputs":null}`, ""),
		stream: responsesEvents(`{"id":"x_1","type":"web_search_call","status":"in_progress","action":{"type":"search","query":"{V}"}}`, `{"id":"x_1","type":"web_search_call","status":"completed","action":{"type":"search","query":"{V}"}}`)},
	{protocol: "openai", operation: "responses", carrier: "result", where: "`outputs`, `results`, `output`, `revised_prompt`, `error` of what the provider ran", whole: responsesReply(`{"id":"x_1","type":"code_interpreter_call","code":"","container_id":"c","outputs":[{"type":"logs","logs":"{V}"}]},{"id":"x_2","type":"file_search_call","queries":["a"],"results":[{"text":"{V}","filename":"{V}"}]},`+
		`{"id":"x_3","type":"mcp_call","server_label":"s","name":"t","arguments":"{}","output":"{V}","error":"{V}"},{"id":"x_4","type":"image_generation_call","status":"completed","result":"{O}","revised_prompt":"{V}"}`, ""),
		stream: responsesEvents(`{"id":"x_3","type":"mcp_call","server_label":"s","name":"t","arguments":""}`, `{"id":"x_3","type":"mcp_call","server_label":"s","name":"t","arguments":"{}","output":"{V}"}`)},
	{protocol: "openai", operation: "responses", carrier: "logprobs", where: "`logprobs[]`", whole: responsesReply(responsesMessage(`{"type":"output_text","text":"so: {V}, see","annotations":[],"logprobs":`+tokens+`}`), ""),
		stream: responsesEvents(responsesMessage(""), responsesMessage(`{"type":"output_text","text":"so: {V}, see","annotations":[],"logprobs":`+tokens+`}`),
			rev("response.output_text.delta", `"output_index":0,"content_index":0,"delta":"so: {1}","logprobs":`+firstTokens), rev("response.output_text.delta", `"output_index":0,"content_index":0,"delta":"{2}, see","logprobs":`+nextTokens),
			rev("response.output_text.done", `"output_index":0,"content_index":0,"text":"so: {V}, see","logprobs":`+tokens))},
	{protocol: "openai", operation: "responses", carrier: "citation", where: "`annotations[]`", whole: responsesReply(responsesMessage(`{"type":"output_text","text":"so","annotations":[{"type":"url_citation","url":"https://x/{V}","title":"{V}","start_index":0,"end_index":1},{"type":"file_citation","filename":"{V}","file_id":"f","index":1}]}`), ""),
		stream: responsesEvents(responsesMessage(""), responsesMessage(`{"type":"output_text","text":"so","annotations":[{"type":"url_citation","url":"https://x/{V}","title":"{V}"}]}`),
			rev("response.output_text.delta", `"output_index":0,"content_index":0,"delta":"so"`), rev("response.output_text.annotation.added", `"output_index":0,"content_index":0,"annotation_index":0,"annotation":{"type":"url_citation","url":"https://x/{V}","title":"{V}"}`))},
	{protocol: "openai", operation: "responses", carrier: "error", where: "`error`, `incomplete_details`", status: 401, whole: chatError(""), stream: rev("error", `"code":"x","message":"no {V}","param":null`)},
	{protocol: "openai", operation: "responses", carrier: "metadata", where: "`instructions`, `metadata`, `tools` and other echoes", whole: responsesReply("", `,"instructions":"be {V}","metadata":{"k":"{V}"},"tools":[{"type":"function","description":"{V}"}]`),
		stream: rev("response.created", `"response":{"id":"resp_1","object":"response","status":"in_progress","model":"m","output":[],"instructions":"be {V}"}`) + rev("response.completed", `"response":`+responsesReply("", ""))},
	{protocol: "openai", operation: "responses", carrier: "prompt", where: "`input`, `instructions`", request: `{"model":"m","instructions":"be {V}","input":[{"role":"user","content":[{"type":"input_text","text":"{V}"}]}]}`},
	{protocol: "openai", operation: "responses", carrier: "result", where: "`function_call_output`", request: `{"model":"m","input":[{"type":"function_call","call_id":"c","name":"x","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"{V}"}]}`},

	// OpenAI, the rest
	{protocol: "openai", operation: "completions", carrier: "text", where: "`choices[].text`, with `echo` too", whole: `{"id":"1","object":"text_completion","model":"m","choices":[{"text":"so: {V}, see","index":0,"logprobs":null,"finish_reason":"stop"}]}`,
		stream: `data: {"id":"1","model":"m","choices":[{"text":"so: {1}","index":0,"finish_reason":null}]}` + "\n\n" + `data: {"id":"1","model":"m","choices":[{"text":"{2}, see","index":0,"finish_reason":"stop"}]}` + "\n\n" + done},
	{protocol: "openai", operation: "completions", carrier: "logprobs", where: "`logprobs.tokens`, `logprobs.top_logprobs`; `text_offset` stays",
		whole:  `{"id":"1","model":"m","choices":[{"text":"so: {V}","index":0,"logprobs":{"tokens":["so: ","{1}","{2}"],"token_logprobs":[null,-1,-1],"top_logprobs":[null,{"{1}":-1},{"{2}":-1,"x":-2}],"text_offset":[0,4,15]},"finish_reason":"stop"}]}`,
		stream: `data: {"id":"1","model":"m","choices":[{"text":"so: {1}","index":0,"logprobs":{"tokens":["so: ","{1}"],"token_logprobs":[-1,-1],"top_logprobs":[null,{"{1}":-1}],"text_offset":[0,4]},"finish_reason":null}]}` + "\n\n" + `data: {"id":"1","model":"m","choices":[{"text":"{2}","index":0,"logprobs":{"tokens":["{2}"],"token_logprobs":[-1],"top_logprobs":[{"{2}":-1}],"text_offset":[15]},"finish_reason":"stop"}]}` + "\n\n" + done},
	{protocol: "openai", operation: "completions", carrier: "prompt", where: "`prompt`, `suffix`", request: `{"model":"m","prompt":["a {V}"],"suffix":"{V}"}`},
	{protocol: "openai", operation: "embeddings", carrier: "metadata", where: "all but the vectors", whole: `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-2],"text":"{V}"}],"model":"m","note":"{V}"}`},
	{protocol: "openai", operation: "embeddings", carrier: "input", where: "`input`", request: `{"model":"m","input":["a {V}"]}`},
	{protocol: "openai", operation: "models", carrier: "metadata", where: "all of it", whole: `{"object":"list","data":[{"id":"m","description":"{V}"}]}`},

	// Anthropic
	{protocol: "anthropic", operation: "messages", carrier: "text", where: "`text`", whole: anthropicReply(`{"type":"text","text":"so: {V}, see"}`, ""), stream: anthropicEvents(`{"type":"text","text":""}`, `{"type":"text_delta","text":"so: {1}"}`, `{"type":"text_delta","text":"{2}, see"}`)},
	{protocol: "anthropic", operation: "messages", carrier: "reasoning", where: "`thinking`; the signature stays", whole: anthropicReply(`{"type":"thinking","thinking":"so: {V}","signature":"{O}"}`, ""),
		stream: anthropicEvents(`{"type":"thinking","thinking":"","signature":""}`, `{"type":"thinking_delta","thinking":"so: {1}"}`, `{"type":"thinking_delta","thinking":"{2}"}`, `{"type":"signature_delta","signature":"{O}"}`)},
	{protocol: "anthropic", operation: "messages", carrier: "reasoning", where: "`redacted_thinking`, `signature`: what is encrypted", whole: "=" + anthropicReply(`{"type":"redacted_thinking","data":"{O}"}`, ""), stream: "=" + anthropicEvents(`{"type":"redacted_thinking","data":"{O}"}`)},
	{protocol: "anthropic", operation: "messages", carrier: "metadata", where: "`signature`, `data` that are not encrypted", whole: anthropicReply(`{"type":"redacted_thinking","data":"so: {V}"}`, ""), stream: anthropicEvents(`{"type":"thinking","thinking":"","signature":""}`, `{"type":"signature_delta","signature":"so: {V}"}`)},
	{protocol: "anthropic", operation: "messages", carrier: "args", where: "`input` of `tool_use`, `server_tool_use`, `mcp_tool_use`", whole: anthropicReply(`{"type":"tool_use","id":"t","name":"find","input":{"q":"{V}","n":["\u0073k {V}"]}}`, ""),
		stream: anthropicEvents(`{"type":"tool_use","id":"t","name":"find","input":{}}`, `{"type":"input_json_delta","partial_json":"{\"q\":\"{1}"}`, `{"type":"input_json_delta","partial_json":"{2}\"}"}`)},
	{protocol: "anthropic", operation: "messages", carrier: "citation", where: "`citations[]`", whole: anthropicReply(`{"type":"text","text":"so","citations":[{"type":"char_location","cited_text":"{V}","document_title":"{V}","document_index":0}]}`, ""),
		stream: anthropicEvents(`{"type":"text","text":"","citations":[]}`, `{"type":"text_delta","text":"so"}`, `{"type":"citations_delta","citation":{"type":"web_search_result_location","cited_text":"{V}","url":"https://x/{V}","title":"{V}","encrypted_index":"{O}"}}`)},
	{protocol: "anthropic", operation: "messages", carrier: "result", where: "`web_search_tool_result` and the like, `mcp_tool_result`", whole: anthropicReply(`{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","title":"{V}","url":"https://x/{V}","encrypted_content":"{O}"}]},{"type":"code_execution_tool_result","tool_use_id":"s","content":{"stdout":"{V}"}}`, ""),
		stream: anthropicEvents(`{"type":"mcp_tool_result","tool_use_id":"s","content":[{"type":"text","text":"{V}"}]}`)},
	{protocol: "anthropic", operation: "messages", carrier: "error", where: "`error`", status: 401, whole: `{"type":"error","error":{"type":"authentication_error","message":"no {V}"}}`, stream: ev("error", `"error":{"type":"overloaded_error","message":"no {V}"}`)},
	{protocol: "anthropic", operation: "messages", carrier: "metadata", where: "members not known, `stop_sequence`", whole: anthropicReply(`{"type":"text","text":"so"}`, `,"container":{"id":"{V}"}`), stream: strings.Replace(anthropicEvents(`{"type":"text","text":"","note":"{V}"}`), `"stop_sequence":null`, `"stop_sequence":"{V}"`, 1)},
	{protocol: "anthropic", operation: "messages", carrier: "prompt", where: "`system`, `messages[]`", request: `{"model":"m","max_tokens":9,"system":"be {V}","messages":[{"role":"user","content":[{"type":"text","text":"{V}"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"{V}","signature":""}]}]}`},
	{protocol: "anthropic", operation: "messages", carrier: "result", where: "`tool_result`", request: `{"model":"m","max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"x","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"{V}"}]}]}`},
	{protocol: "anthropic", operation: "count_tokens", carrier: "metadata", where: "all but the number", whole: `{"input_tokens":5,"note":"{V}"}`},

	// Ollama
	{protocol: "ollama", operation: "chat", carrier: "text", where: "`message.content`", whole: strings.TrimSpace(line(`"content":"so: {V}, see"`, `,"done":true,"done_reason":"stop"`)), stream: line(`"content":"so: {1}"`, `,"done":false`) + line(`"content":"{2}, see"`, `,"done":false`) + last},
	{protocol: "ollama", operation: "chat", carrier: "reasoning", where: "`message.thinking`", whole: strings.TrimSpace(line(`"content":"","thinking":"so: {V}"`, `,"done":true,"done_reason":"stop"`)), stream: ollamaLines(`,"thinking":"so: {1}"`, `,"thinking":"{2}"`)},
	{protocol: "ollama", operation: "chat", carrier: "args", where: "`message.tool_calls[].function.arguments`", whole: strings.TrimSpace(line(`"content":"","tool_calls":[{"function":{"name":"find","arguments":{"q":"{V}"}}}]`, `,"done":true,"done_reason":"stop"`)), stream: calls("find", `{"q":"{V}"}`) + last},
	{protocol: "ollama", operation: "chat", carrier: "logprobs", where: "`logprobs[]`", whole: strings.TrimSpace(line(`"content":"so: {V}, see"`, `,"logprobs":`+tokens+`,"done":true,"done_reason":"stop"`)),
		stream: line(`"content":"so: {1}"`, `,"logprobs":`+firstTokens+`,"done":false`) + line(`"content":"{2}, see"`, `,"logprobs":`+nextTokens+`,"done":false`) + last},
	{protocol: "ollama", operation: "chat", carrier: "error", where: "`error`", status: 400, whole: `{"error":"no {V}"}`, stream: spoke("so") + `{"error":"no {V}"}` + "\n"},
	{protocol: "ollama", operation: "chat", carrier: "metadata", where: "members not known", whole: strings.TrimSpace(line(`"content":"so","note":"{V}"`, `,"more":"{V}","done":true,"done_reason":"stop"`)), stream: line(`"content":"so"`, `,"more":"{V}","done":false`) + last},
	{protocol: "ollama", operation: "chat", carrier: "text", where: "`images`", whole: "!" + strings.TrimSpace(line(`"content":"","images":["{V}"]`, `,"done":true,"done_reason":"stop"`)), stream: "!" + line(`"content":"","images":["{V}"]`, `,"done":false`)},
	{protocol: "ollama", operation: "chat", carrier: "prompt", where: "`messages[]`", request: `{"model":"m","messages":[{"role":"user","content":"{V}"}]}`},
	{protocol: "ollama", operation: "generate", carrier: "text", where: "`response`; `context` becomes null", whole: generated(`"response":"so: {V}","context":[1,2]`, true), stream: generated(`"response":"so: {1}"`, false) + "\n" + generated(`"response":"{2}"`, false) + "\n" + generated(`"response":"","context":[1,2]`, true) + "\n"},
	{protocol: "ollama", operation: "generate", carrier: "reasoning", where: "`thinking`", whole: generated(`"response":"","thinking":"so: {V}"`, true), stream: generated(`"response":"","thinking":"so: {1}"`, false) + "\n" + generated(`"response":"","thinking":"{2}"`, false) + "\n" + generated(`"response":""`, true) + "\n"},
	{protocol: "ollama", operation: "generate", carrier: "prompt", where: "`prompt`, `system`, `template`, `suffix`", request: `{"model":"m","prompt":"{V}","system":"{V}"}`},
	{protocol: "ollama", operation: "embed", carrier: "metadata", where: "all but the vectors", whole: `{"model":"m","embeddings":[[0.1,2]],"note":"{V}","embedding":["{V}"]}`},
	{protocol: "ollama", operation: "embed", carrier: "input", where: "`input`, `prompt`", request: `{"model":"m","input":"a {V}"}`},
	{protocol: "ollama", operation: "models", carrier: "metadata", where: "all of it", whole: `{"models":[{"name":"m","details":{"family":"{V}"}}]}`},
}
