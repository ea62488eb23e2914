// SPDX-License-Identifier: Apache-2.0

package anthropic

import (
	"cmp"
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// Keys that have a meaning, per object. A key given twice, or in another case, is refused: two readers may differ.
var (
	// requestKeys are all keys of a request that are known: another one may offer tools, or bring in what is not in the request.
	requestKeys = llm.Names{"model", "messages", "system", "stream", "tools", "tool_choice", "mcp_servers", "max_tokens", "container",
		"metadata", "stop_sequences", "temperature", "top_p", "top_k", "thinking", "service_tier", "cache_control", "output_config",
		"output_format", "inference_geo", "speed", "context_management", "diagnostics", "user_profile_id", "workspace_id"}
	messageKeys = llm.Names{"role", "content"}
	toolKeys    = llm.Names{"type", "name", "description", "mcp_server_name", "url", "authorization_token"}
	choiceKeys  = llm.Names{"type", "name"}
)

// messages is the codec of /v1/messages.
type messages struct{ Provider }

// reader walks a request body once.
type reader struct {
	*llm.Reader
	msg int               // index of the message
	ids map[string]string // tool call ID → tool name
}

// Request reads a request for an answer.
func (messages) Request(body []byte, r *llm.Request) error { return read(body, r, pipeline.OpChat) }

func read(body []byte, r *llm.Request, operation string) error {
	return llm.Read(body, r, func(rd *llm.Reader) error {
		r.Call.Operation = operation
		err := (&reader{Reader: rd}).request()
		if err == nil && r.Call.Model == "" {
			err = llm.NotInspected("request names no model")
		}
		return err
	})
}

func (rd *reader) request() error {
	call, seen := &rd.R.Call, uint64(0)
	return rd.Members(func(m llm.Member) (removable func(llm.Span), err error) {
		k, err := requestKeys.Once(m.Key, &seen)
		if err != nil {
			return nil, err
		}
		if k < 0 {
			return nil, llm.NotInspected("request with %q", m.Key)
		}
		if null, err := rd.Null(); null || err != nil {
			return nil, err
		}
		switch requestKeys[k] {
		case "model":
			return nil, rd.Word(&call.Model)
		case "messages":
			return nil, rd.Array(func(i int) error { rd.msg = i; return rd.message() })
		case "system":
			return nil, rd.content(pipeline.Step{Kind: pipeline.StepPrompt}, inText)
		case "stream":
			call.Stream, err = rd.Bool()
			return nil, err
		case "max_tokens":
			rd.R.MaxTokens, err = rd.Int()
			return nil, err
		case "tools":
			return rd.Offers(m, func() error { return rd.offer(false) })
		case "mcp_servers":
			return rd.Offers(m, func() error { return rd.offer(true) })
		case "tool_choice":
			return func(at llm.Span) { rd.R.Choice = at }, rd.choice()
		case "container":
			return nil, llm.NotInspected("request asks for a container")
		case "output_config", "output_format":
			return nil, rd.Form()
		}
		return nil, rd.Rest()
	})
}

// members reads an object. f reads the value of a member, whose number it is told: -1 if it is of no meaning. null has none.
func (rd *reader) members(keys llm.Names, f func(k int) error) error {
	seen := uint64(0)
	return rd.Object(func(m llm.Member) error {
		k, err := keys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if null, err := rd.Null(); null || err != nil {
			return err
		}
		return f(k)
	})
}

// choice reads which tool the model is told to use.
func (rd *reader) choice() error {
	var kind, name string
	err := rd.members(choiceKeys, func(k int) error {
		switch k {
		case 0:
			return rd.Word(&kind)
		case 1:
			return rd.Word(&name)
		}
		return rd.Rest()
	})
	if err == nil && kind == "tool" {
		rd.R.Chosen = name
	}
	return cmp.Or(err, llm.Known("tool choice", kind, "auto", "any", "tool", "none"))
}

// offer reads one tool, or one MCP server, that the request offers.
func (rd *reader) offer(mcp bool) error {
	var kind, name, server string
	step := rd.Offer()
	err := rd.members(toolKeys, func(k int) error {
		switch {
		case k == 0:
			return rd.Word(&kind)
		case k == 1:
			return rd.Word(&name)
		case k == 2 && !mcp, k == 4 && mcp:
			return rd.About(step)
		case k == 3 && !mcp:
			return rd.Word(&server)
		case k >= 2 && k <= 4:
			return llm.NotInspected("tool with %q", toolKeys[k])
		case k == 5:
			return llm.NotInspected("a credential in the offer of a tool")
		}
		return rd.Beside(step)
	})
	if err != nil {
		return err
	}
	if mcp {
		if err := llm.Known("MCP server of type", kind, "url"); err != nil {
			return err
		}
		kind, name, server = "mcp_toolset", "", name
	}
	st := &rd.R.Call.Steps[step]
	family := undated(kind)
	switch {
	case kind == "mcp_toolset" && server != "" && name == "":
		st.Name, st.ByProvider = "mcp/"+server, true
		return nil
	case server != "" || name == "":
		return llm.NotInspected("tool without a name")
	case kind == "" || kind == "custom":
		st.Name = name
		return nil
	case slices.Contains(providerTools, family):
		st.Name, st.ByProvider = name, true
		return llm.Known("tool of type "+family+" named", name, family)
	case clientTools[family] != nil:
		st.Name = name
		return llm.Known("tool of type "+family+" named", name, clientTools[family]...)
	}
	return llm.NotInspected("tool of type %q", kind)
}

// message reads one message.
func (rd *reader) message() error {
	var role string
	seen := uint64(0)
	err := rd.Object(func(m llm.Member) error {
		switch k, err := messageKeys.Once(m.Key, &seen); {
		case err != nil:
			return err
		case k == 0:
			return rd.Word(&role)
		case k == 1:
			return rd.content(pipeline.Step{Kind: pipeline.StepPrompt, Index: rd.msg}, inMessage)
		}
		return llm.NotInspected("message with %q", m.Key)
	})
	return cmp.Or(err, llm.Known("message of role", role, "user", "assistant", "system"))
}

// counting is the codec of /v1/messages/count_tokens.
type counting struct{ messages }

// Request reads a request to count what a request for an answer would cost.
func (counting) Request(body []byte, r *llm.Request) error {
	return read(body, r, pipeline.OpCountTokens)
}
