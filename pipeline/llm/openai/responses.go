// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"encoding/json"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// Features that are decided like tools of the provider: see the package.
const (
	storedConversation = "stored-conversation"
	background         = "background"
	promptTemplate     = "prompt-template"
)

var (
	responsesKeys = with(llm.Names{"model", "input", "instructions", "stream", "tools", "tool_choice", "max_output_tokens", "previous_response_id",
		"conversation", "prompt", "background", "modalities", "audio", "messages", "mcp_servers", "plugins", "search_parameters", "text"})
	itemKeys = llm.Names{"type", "role", "id", "call_id", "name", "server_label", "content", "summary", "arguments", "input", "action",
		"operation", "output", "encrypted_content", "namespace", "status", "result", "actions"}
	itemPartKeys = llm.Names{"type", "text", "refusal", "annotations", "logprobs", "image_url", "file_url", "file_data", "file_id"}
)

// responses is the operation that came after chat completions: items instead of messages.
type responses struct {
	Provider
	model string
}

// stored reads the ID of what is kept at the provider.
func (rd *reader) stored(id *string) error {
	n := len(rd.R.Texts)
	if err := rd.Rest(); err != nil {
		return err
	}
	if texts := rd.R.Texts[n:]; len(texts) > 0 {
		*id = string(texts[0].Value)
	}
	return nil
}

func (rs responses) Request(body []byte, r *llm.Request) error {
	template := false
	err := llm.Read(body, r, func(lr *llm.Reader) error {
		r.Call.Operation = pipeline.OpChat
		rd := &reader{Reader: lr}
		seen := uint64(0)
		return rd.Members(func(m llm.Member) (func(llm.Span), error) {
			k, err := responsesKeys.Once(m.Key, &seen)
			if err != nil {
				return nil, err
			}
			if k < 0 {
				return nil, rd.Rest()
			}
			if null, err := rd.Null(); null || err != nil {
				return nil, err
			}
			switch key := responsesKeys[k]; key {
			case "model":
				return nil, rd.Word(&r.Call.Model)
			case "input":
				if rd.Peek() == llm.String {
					return nil, rd.Step(pipeline.Step{Kind: pipeline.StepPrompt})
				}
				return nil, rd.Array(func(i int) error { rd.msg = i; return rd.item() })
			case "instructions":
				return nil, rd.Step(pipeline.Step{Kind: pipeline.StepPrompt, Index: -1})
			case "stream":
				r.Call.Stream, err = rd.Bool()
				return nil, err
			case "tools":
				return rd.Offers(m, func() error { return rd.offer(true) })
			case "tool_choice":
				return rd.choose()
			case "max_output_tokens":
				return nil, rd.most()
			case "previous_response_id":
				rd.Feature(storedConversation)
				return nil, rd.stored(&r.Call.Previous)
			case "conversation": // an ID, or an object that has it
				rd.Feature(storedConversation)
				return nil, rd.stored(&r.Call.Thread)
			case "prompt":
				template = true
				rd.Feature(promptTemplate)
				return nil, rd.Rest()
			case "text":
				return nil, rd.Form()
			case "background":
				on, err := rd.Bool()
				if on {
					rd.Feature(background)
				}
				return nil, err
			case "modalities":
				return nil, rd.Array(func(int) error {
					var v string
					if err := rd.Word(&v); err != nil {
						return err
					}
					return llm.Known("modality", v, "text")
				})
			case "audio", "messages", "mcp_servers", "plugins", "search_parameters":
				return nil, llm.NotInspected("request asks for %s", key)
			default:
				return nil, rd.beside(key)
			}
		})
	})
	if err != nil {
		return err
	}
	if rs.model != "" {
		r.Call.Model = rs.model
	}
	if r.Call.Model == "" && !template { // the template may name it
		return llm.NotInspected("request names no model")
	}
	return nil
}

// kindOf looks at the object that comes next: its type, and its role.
func (rd *reader) kindOf() (kind, role string, err error) {
	if rd.Peek() != llm.Object {
		return "", "", llm.NotInspected("item that is no object")
	}
	from := rd.Pos()
	err = rd.Object(func(m llm.Member) error {
		switch string(m.Key) {
		case "type":
			if rd.Peek() == llm.String {
				return rd.Word(&kind)
			}
		case "role":
			if rd.Peek() == llm.String {
				return rd.Word(&role)
			}
		}
		return rd.Pass()
	})
	rd.Seek(from)
	if kind == "" && role != "" {
		kind = "message"
	}
	return kind, role, err
}

// Item types, by what they are.
const (
	itemMessage = iota
	itemReasoning
	itemReference
	itemCall   // of a tool that the application runs
	itemOutput // what it answered
	itemHosted // a call of a tool that the provider ran, with what it answered
	itemSealed // what was said before, as only the provider can read it
)

// itemOf knows the types of items. tool is the name of the tool where the type tells.
func itemOf(kind string) (what int, tool string, err error) {
	switch kind {
	case "message":
		return itemMessage, "", nil
	case "reasoning":
		return itemReasoning, "", nil
	case "item_reference":
		return itemReference, "", nil
	case "compaction":
		return itemSealed, "", nil
	case "function_call", "custom_tool_call":
		return itemCall, "", nil
	case "function_call_output", "custom_tool_call_output":
		return itemOutput, "", nil
	case "local_shell_call", "shell_call", "apply_patch_call", "computer_call":
		return itemCall, strings.TrimSuffix(kind, "_call"), nil
	case "local_shell_call_output", "shell_call_output", "apply_patch_call_output":
		return itemOutput, strings.TrimSuffix(kind, "_call_output"), nil
	case "computer_call_output":
		return itemOutput, "computer", nil
	case "mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response":
		return itemHosted, "mcp", nil
	case "web_search_call", "file_search_call", "code_interpreter_call":
		return itemHosted, strings.TrimSuffix(kind, "_call"), nil
	}
	return 0, "", llm.NotInspected("item of type %q", kind)
}

// item reads one item of the input.
func (rd *reader) item() error {
	kind, role, err := rd.kindOf()
	if err != nil {
		return err
	}
	what, tool, err := itemOf(kind)
	if err != nil {
		return err
	}
	if what == itemMessage {
		if err := llm.Known("role", role, "system", "developer", "user", "assistant"); err != nil {
			return err
		}
	}
	if what == itemReference || what == itemSealed {
		rd.Feature(storedConversation)
	}
	seen, first := uint64(0), len(rd.R.Call.Steps)
	var id, callID, name, label string
	called := -1
	step := pipeline.Step{Kind: pipeline.StepPrompt, Index: rd.msg}
	if what == itemOutput || what == itemHosted {
		step.Kind = pipeline.StepToolResult
	}
	err = rd.Object(func(m llm.Member) error {
		k, err := itemKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if k < 0 {
			return rd.all(step, what)
		}
		if null, err := rd.Null(); null || err != nil {
			return err
		}
		switch key := itemKeys[k]; key {
		case "type", "role", "status":
			return rd.Pass()
		case "id":
			return rd.Word(&id)
		case "call_id":
			return rd.Word(&callID)
		case "name":
			return rd.Word(&name)
		case "server_label":
			return rd.Word(&label)
		case "encrypted_content":
			return rd.Pass()
		case "namespace", "result":
			return llm.NotInspected("item of type %q with a %s", kind, key)
		case "content", "summary":
			if what == itemMessage || what == itemReasoning {
				return rd.parts(step)
			}
		case "arguments", "input":
			if what == itemCall && tool == "" && key == argsKey(strings.TrimSuffix(kind, "_tool_call")) || kind == "mcp_call" || kind == "mcp_approval_request" {
				if called >= 0 {
					return llm.NotInspected("item that is two calls")
				}
				called = len(rd.R.Call.Steps)
				text, at, err := rd.Text()
				rd.Add(pipeline.Step{Kind: pipeline.StepToolCall, Index: rd.msg, Args: append(json.RawMessage{}, text...), ByProvider: kind == "mcp_call"}, text, at)
				return err
			}
		case "action", "operation", "actions":
			if what == itemCall && tool != "" {
				if called >= 0 {
					return llm.NotInspected("item that is two calls")
				}
				called = len(rd.R.Call.Steps)
				return rd.RawArgs(pipeline.Step{Kind: pipeline.StepToolCall, Index: rd.msg})
			}
		case "output":
			if what == itemOutput {
				return rd.output(step, kind)
			}
		}
		return rd.all(step, what)
	})
	if err != nil {
		return err
	}
	if tool == "mcp" {
		tool = "mcp/" + label
	}
	switch what {
	case itemCall:
		if tool != "" {
			name = tool
		}
		if name == "" || called < 0 {
			return llm.NotInspected("item of type %q without a name or without arguments", kind)
		}
		if callID == "" {
			callID = id
		}
		rd.R.Call.Steps[called].Name, rd.R.Call.Steps[called].ID = name, callID
		for _, of := range []string{callID, id} { // a local shell's output names the one, all others the other
			if of != "" {
				if rd.ids == nil {
					rd.ids = make(map[string]string)
				}
				rd.ids[of] = name
			}
		}
	case itemOutput:
		if callID == "" {
			callID = id
		}
		if tool == "" {
			tool = rd.ids[callID] // what the result says about itself decides nothing
		}
		fallthrough
	case itemHosted:
		if callID == "" {
			callID = id
		}
		for i := first; i < len(rd.R.Call.Steps); i++ {
			if st := &rd.R.Call.Steps[i]; st.Kind != pipeline.StepToolOffer { // a feature
				st.Name, st.ID = tool, callID
			}
		}
	}
	return nil
}

// all reads a value of an item that has no meaning of its own: what a tool answered is a result, wherever it stands.
func (rd *reader) all(step pipeline.Step, what int) error {
	if what != itemOutput && what != itemHosted {
		return rd.Rest()
	}
	return rd.Each(func(text []byte, at llm.Span) error {
		switch {
		case len(text) >= llm.MinSaid:
			step.Text = llm.Shared(text)
			rd.Add(step, text, at)
		case len(text) >= llm.MinText:
			rd.R.Texts = append(rd.R.Texts, llm.Text{At: at, Value: text, Step: -1})
		}
		return nil
	})
}

// output reads what a tool answered: a text, or a list of parts, or of the outputs of a shell.
func (rd *reader) output(step pipeline.Step, kind string) error {
	switch {
	case rd.Peek() == llm.String:
		return rd.Step(step)
	case kind == "shell_call_output":
		return rd.all(step, itemOutput)
	case kind == "computer_call_output": // a screenshot
		return rd.itemPart(step)
	}
	return rd.parts(step)
}

// parts reads the parts of a message, or a text in their place. Images and documents are features: only text can be read.
func (rd *reader) parts(step pipeline.Step) error {
	if rd.Peek() == llm.String {
		return rd.Step(step)
	}
	return rd.Array(func(int) error { return rd.itemPart(step) })
}

func (rd *reader) itemPart(step pipeline.Step) error {
	seen, kind, blob := uint64(0), "", false
	err := rd.Object(func(m llm.Member) error {
		k, err := itemPartKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch {
		case k == 0:
			return rd.Word(&kind)
		case k == 1 || k == 2:
			return rd.Step(step)
		case k < 5:
			return rd.Rest()
		case rd.Peek() == llm.Null:
			return rd.Pass()
		case k == 8:
			return llm.NotInspected("file that was uploaded")
		}
		blob = true
		return rd.Blob()
	})
	if err != nil {
		return err
	}
	switch kind {
	case "input_image", "computer_screenshot":
		rd.Feature(llm.ImageInput)
		return nil
	case "input_file":
		rd.Feature(llm.DocumentInput)
		return nil
	}
	if blob {
		return llm.NotInspected("content part of type %q with a file", kind)
	}
	return llm.Known("content part of type", kind, "input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text")
}
