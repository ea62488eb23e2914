// SPDX-License-Identifier: Apache-2.0

package anthropic

import (
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// Keys that have a meaning, per object. A key given twice, or in another case, is refused: two readers may differ.
var (
	// requestKeys are all keys of a request that are known. The first ones decide something; the rest is noted for the record.
	requestKeys = llm.Names{"model", "messages", "system", "stream", "tools", "tool_choice", "mcp_servers", "max_tokens",
		"metadata", "stop_sequences", "temperature", "top_p", "top_k", "thinking", "service_tier", "cache_control", "output_config",
		"output_format", "inference_geo", "speed", "context_management", "diagnostics", "user_profile_id", "workspace_id", "container"}
	messageKeys = llm.Names{"role", "content"}
	toolKeys    = llm.Names{"type", "name", "description", "mcp_server_name"}
	serverKeys  = llm.Names{"type", "name", "url", "authorization_token"}
	choiceKeys  = llm.Names{"type", "name"}
)

// messages is the codec of /v1/messages.
type messages struct{ Provider }

// reader walks a request body once.
type reader struct {
	s    *llm.Scanner
	r    *llm.Request
	msg  int               // index of the message
	tool int               // index of the next offered tool
	ids  map[string]string // tool call ID → tool name
}

// Request reads a request for an answer.
func (messages) Request(body []byte, r *llm.Request) error { return read(body, r, pipeline.OpChat) }

func read(body []byte, r *llm.Request, operation string) error {
	r.Reset()
	r.Call.Operation = operation
	s := &llm.Scanner{Strict: true}
	if err := s.Reset(body); err != nil {
		return llm.NotInspected("request: %w", err)
	}
	rd := &reader{s: s, r: r}
	err := rd.request()
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return uninspected("request", err)
	}
	if r.Call.Model == "" {
		return llm.NotInspected("request names no model")
	}
	return nil
}

func (rd *reader) request() error {
	s, r, seen := rd.s, rd.r, uint64(0)
	last, open := 0, -1 // the end of the member before; the start of one that is kept, until the next begins
	var kept *llm.Span
	keep := func(m llm.Member, at *llm.Span) { open, kept = m.At.Start, at }
	return s.Object(func(m llm.Member) error {
		if kept != nil {
			*kept, kept = llm.Span{Start: open, End: m.At.Start}, nil
		}
		k, err := requestKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		if k < 0 {
			return llm.NotInspected("request with %q", m.Key)
		}
		null := s.Peek() == llm.Null
		switch key := requestKeys[k]; {
		case null:
			err = skip(s)
		case key == "model":
			err = rd.word(&r.Call.Model)
		case key == "messages":
			err = s.Array(func(i int) error { rd.msg = i; return rd.message() })
		case key == "system":
			err = rd.content(pipeline.Step{Kind: pipeline.StepPrompt, Index: -1}, true)
		case key == "stream":
			r.Call.Stream, err = s.Bool()
		case key == "max_tokens":
			r.MaxTokens, err = s.Int()
		case key == "tools" || key == "mcp_servers":
			list := len(r.Lists)
			from := s.Pos()
			r.Lists = append(r.Lists, llm.List{Key: m.At.Start})
			err = s.Array(func(int) error { return rd.offer(list, key == "mcp_servers") })
			r.Lists[list].Of = llm.Span{Start: from, End: s.Pos()}
			r.Lists[list].At = llm.Span{Start: last, End: s.Pos()}
			keep(m, &r.Lists[list].At) // and read again before Lists grows
		case key == "tool_choice":
			err = rd.choice()
			r.Choice = llm.Span{Start: last, End: s.Pos()}
			keep(m, &r.Choice)
		case key == "container":
			err = llm.NotInspected("request asks for a container")
		default:
			err = rd.strings()
		}
		last = s.Pos()
		return err
	})
}

// choice reads which tool the model is told to use.
func (rd *reader) choice() error {
	var kind, name string
	seen := uint64(0)
	err := rd.s.Object(func(m llm.Member) error {
		switch k, err := choiceKeys.Once(m.Key, &seen); {
		case err != nil:
			return err
		case k == 0:
			return rd.word(&kind)
		case k == 1:
			return rd.word(&name)
		}
		return rd.strings()
	})
	if err != nil {
		return err
	}
	if kind == "tool" {
		rd.r.Chosen = name
	}
	return known("tool choice", kind, "auto", "any", "tool", "none")
}

// offer reads one tool, or one MCP server, that the request offers.
func (rd *reader) offer(list int, server bool) error {
	s := rd.s
	s.Peek()
	from, at := s.Pos(), len(rd.r.Call.Steps)
	rd.r.Call.Steps = append(rd.r.Call.Steps, pipeline.Step{Kind: pipeline.StepToolOffer, Index: rd.tool})
	rd.tool++
	read := rd.toolOffer
	if server {
		read = rd.serverOffer
	}
	if err := read(at); err != nil {
		return err
	}
	if rd.r.Call.Steps[at].Name == "" {
		return llm.NotInspected("tool without a name")
	}
	rd.r.Offers = append(rd.r.Offers, llm.Offer{Step: at, At: llm.Span{Start: from, End: s.Pos()}, List: list})
	return nil
}

func (rd *reader) toolOffer(at int) error {
	var kind, name, server string
	seen := uint64(0)
	err := rd.s.Object(func(m llm.Member) error {
		k, err := toolKeys.Once(m.Key, &seen)
		switch {
		case err != nil:
			return err
		case k < 0 || rd.s.Peek() == llm.Null:
			return rd.strings()
		case k == 0:
			return rd.word(&kind)
		case k == 1:
			return rd.word(&name)
		case k == 2:
			return rd.describe(at)
		}
		return rd.word(&server)
	})
	if err != nil {
		return err
	}
	st := &rd.r.Call.Steps[at]
	st.Name = name
	family := undated(kind)
	switch {
	case kind == "" || kind == "custom":
		return nil
	case kind == "mcp_toolset":
		st.Name, st.ByProvider = server, true
		return nil
	case providerTools[family] != "":
		st.ByProvider = true
		return known("tool of type "+family+" named", name, providerTools[family])
	case clientTools[family] != nil:
		return known("tool of type "+family+" named", name, clientTools[family]...)
	}
	return llm.NotInspected("tool of type %q", kind)
}

// describe reads what a tool says about itself.
func (rd *reader) describe(at int) error {
	text, span, err := rd.s.Text()
	if err == nil {
		rd.r.Call.Steps[at].Text = shared(text)
		rd.r.Texts = append(rd.r.Texts, llm.Text{At: span, Value: text, Step: at})
	}
	return err
}

func (rd *reader) serverOffer(at int) error {
	var kind string
	seen := uint64(0)
	rd.r.Call.Steps[at].ByProvider = true
	err := rd.s.Object(func(m llm.Member) error {
		k, err := serverKeys.Once(m.Key, &seen)
		switch {
		case err != nil:
			return err
		case k < 0 || rd.s.Peek() == llm.Null:
			return rd.strings()
		case k == 0:
			return rd.word(&kind)
		case k == 1:
			return rd.word(&rd.r.Call.Steps[at].Name)
		case k == 2:
			return rd.describe(at)
		}
		return llm.NotInspected("MCP server with a credential in the request")
	})
	if err != nil {
		return err
	}
	return known("MCP server of type", kind, "url")
}

// word reads a string that decides something.
func (rd *reader) word(to *string) error {
	text, _, err := rd.s.Text()
	*to = string(text)
	return err
}

// strings notes every string of a value that decides nothing, so that records can be masked.
func (rd *reader) strings() error {
	return rd.s.Strings(func(text []byte, at llm.Span) error {
		if len(text) >= llm.MinText {
			rd.r.Texts = append(rd.r.Texts, llm.Text{At: at, Value: text, Step: -1})
		}
		return nil
	})
}

// step reads a string that becomes a step of its own.
func (rd *reader) step(st pipeline.Step) error {
	text, at, err := rd.s.Text()
	if err != nil {
		return err
	}
	st.Text = shared(text)
	rd.add(st, llm.Text{At: at, Value: text})
	return nil
}

func (rd *reader) add(st pipeline.Step, t llm.Text) {
	t.Step = len(rd.r.Call.Steps)
	rd.r.Texts = append(rd.r.Texts, t)
	rd.r.Call.Steps = append(rd.r.Call.Steps, st)
}

// message reads one message.
func (rd *reader) message() error {
	var role string
	seen := uint64(0)
	err := rd.s.Object(func(m llm.Member) error {
		switch k, err := messageKeys.Once(m.Key, &seen); {
		case err != nil:
			return err
		case k == 0:
			return rd.word(&role)
		case k == 1:
			return rd.content(pipeline.Step{Kind: pipeline.StepPrompt, Index: rd.msg}, false)
		}
		return llm.NotInspected("message with %q", m.Key)
	})
	if err != nil {
		return err
	}
	return known("message of role", role, "user", "assistant", "system")
}

// counting is the codec of /v1/messages/count_tokens.
type counting struct{ messages }

// Request reads a request to count what a request for an answer would cost.
func (counting) Request(body []byte, r *llm.Request) error {
	return read(body, r, pipeline.OpCountTokens)
}
