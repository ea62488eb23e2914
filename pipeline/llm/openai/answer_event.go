// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

// The keys of events. Their order is that of the places in event.at.
var eventKeys = llm.Names{"type", "output_index", "content_index", "summary_index", "delta", "text", "refusal", "arguments", "input",
	"code", "item", "part", "response", "logprobs", "name", "item_id", "sequence_number", "obfuscation", "partial_image_b64"}

const (
	atType = iota
	atOutput
	atContent
	atSummary
	atDelta
	atText
	atRefusal
	atArguments
	atInput
	atCode
	atItem
	atPart
	atResponse
	atLogprobs
	atName
	_ // what says which item it is, and padding
	_
	_
	atImage
	atKeys // all of them
)

// event is an event whose members have been found, but not read: the type may be the last of them.
type event struct {
	answer
	at     [atKeys]llm.Span
	used   uint32 // what of it was read
	output int    // number of the item; -1 if it is about none
}

func (responses) Event(name, data []byte, c *llm.Chunk) error {
	if isDone(data) { // some servers say so too
		c.Reset()
		c.Done = true
		return nil
	}
	s, err := c.Open(data)
	if err != nil {
		return err
	}
	e := &event{answer: answer{Scanner: s, c: c}, output: -1}
	if err = e.read(name); err != nil {
		return llm.Uninspected("reply", err)
	}
	e.close()
	return nil
}

func (e *event) read(name []byte) error {
	kind, seen := "", uint64(0)
	err := e.Object(func(m llm.Member) error {
		k, err := eventKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch {
		case k < 0:
			return e.c.Member(carrier(m.Key), m.Key)
		case k == atType:
			return e.c.ReadWord(&kind)
		case k > atName && k < atImage:
			return e.c.Label(m.Key)
		case e.Peek() == llm.Null:
			return e.Pass()
		}
		e.at[k], err = e.Skip()
		return err
	})
	if err == nil {
		err = e.End()
	}
	if err != nil {
		return err
	}
	if len(name) > 0 && string(name) != kind { // clients go by the one or by the other
		return llm.NotInspected("event %q that says it is %q", name, kind)
	}
	if at := e.at[atOutput]; !at.Empty() {
		if e.output, err = e.number(atOutput); err != nil {
			return err
		}
		e.named = true
		e.c.Places = append(e.c.Places, llm.Place{Number: e.output, At: at})
	}
	if err := e.act(kind); err != nil {
		return err
	}
	for k := atDelta; k < atKeys; k++ { // texts where none belong: who reads them?
		stray := k <= atName || k == atImage
		if stray && !e.at[k].Empty() && e.used&(1<<k) == 0 && e.at[k].End-e.at[k].Start > len("[]") {
			return llm.NotInspected("event %q with %s", kind, eventKeys[k])
		}
	}
	return nil
}

// number reads a number that was found.
func (e *event) number(k int) (int, error) {
	if e.at[k].Empty() {
		return 0, llm.NotInspected("event without %s", eventKeys[k])
	}
	e.Seek(e.at[k].Start)
	return e.Index(maxItems)
}

// act reads what an event of that type is about.
func (e *event) act(kind string) error {
	switch kind {
	case "response.created", "response.in_progress", "response.queued":
		e.begins = true
		return e.object(atResponse, e.response)
	case "response.completed", "response.incomplete", "response.failed":
		e.repeat, e.c.Done = true, true
		err := e.object(atResponse, e.response)
		if err == nil && e.choice.Finish == "" {
			err = llm.NotInspected("response without a status at its end")
		}
		return err
	case "keepalive":
		return nil
	case "error":
		e.c.Error = true
		for i := range e.c.Pieces {
			e.c.Pieces[i].Carrier = pipeline.CarrierError
		}
		return e.rest(atCode, atText, atDelta, atName)
	}
	kind, ok := strings.CutPrefix(kind, "response.")
	if !ok || e.output < 0 {
		return llm.NotInspected("event %q", kind)
	}
	switch kind {
	case "output_item.added":
		e.begins = true
		return e.object(atItem, func() error { return e.item(e.output) })
	case "output_item.done":
		e.repeat = true
		return e.object(atItem, func() error { return e.item(e.output) })
	case "reasoning_part.added", "reasoning_part.done": // as vLLM tells them
		return e.contentPart(kind, atContent, "reasoning")
	case "content_part.added", "content_part.done":
		return e.contentPart(kind, atContent, "content")
	case "reasoning_summary_part.added", "reasoning_summary_part.done":
		return e.contentPart(kind, atSummary, "summary")
	case "output_text.delta":
		return e.say("content", atContent, atDelta)
	case "output_text.done":
		return e.say("content", atContent, atText)
	case "refusal.delta":
		return e.say("refusal", atContent, atDelta)
	case "refusal.done":
		return e.say("refusal", atContent, atRefusal)
	case "reasoning_summary_text.delta":
		return e.say("summary", atSummary, atDelta)
	case "reasoning_summary_text.done":
		return e.say("summary", atSummary, atText)
	case "reasoning_text.delta":
		return e.say("reasoning", atContent, atDelta)
	case "reasoning_text.done":
		return e.say("reasoning", atContent, atText)
	case "function_call_arguments.delta", "custom_tool_call_input.delta", "mcp_call_arguments.delta", "code_interpreter_call_code.delta":
		return e.args(kind, atDelta)
	case "function_call_arguments.done", "mcp_call_arguments.done":
		return e.args(kind, atArguments)
	case "custom_tool_call_input.done":
		return e.args(kind, atInput)
	case "code_interpreter_call_code.done":
		return e.args(kind, atCode)
	case "output_text.annotation.added":
		return nil // its texts stand aside
	case "web_search_call.in_progress", "web_search_call.searching", "web_search_call.completed",
		"file_search_call.in_progress", "file_search_call.searching", "file_search_call.completed",
		"code_interpreter_call.in_progress", "code_interpreter_call.interpreting", "code_interpreter_call.completed",
		"image_generation_call.in_progress", "image_generation_call.generating", "image_generation_call.completed", "image_generation_call.partial_image",
		"mcp_call.in_progress", "mcp_call.completed", "mcp_call.failed":
		e.c.Tools = append(e.c.Tools, llm.ToolPiece{Index: e.output, ByProvider: true})
		if e.at[atImage].Empty() {
			return nil
		}
		return e.object(atImage, e.image)
	case "mcp_list_tools.in_progress", "mcp_list_tools.completed", "mcp_list_tools.failed":
		return nil
	}
	return llm.NotInspected("event %q", "response."+kind)
}

// image passes an image, which nobody reads.
func (a *answer) image() error {
	passed, err := a.c.Opaque()
	if err == nil && !passed {
		err = a.c.Aside(pipeline.CarrierResult)
	}
	return err
}

// object reads an object that was found.
func (e *event) object(k int, read func() error) error {
	if e.at[k].Empty() {
		return llm.NotInspected("event without %s", eventKeys[k])
	}
	e.Seek(e.at[k].Start)
	e.used |= 1 << k
	return read()
}

// rest makes pieces of texts that were found and belong nowhere.
func (e *event) rest(keys ...int) error {
	for _, k := range keys {
		if e.at[k].Empty() {
			continue
		}
		if err := e.object(k, func() error { return e.c.Aside(pipeline.CarrierError) }); err != nil {
			return err
		}
	}
	return nil
}

func (e *event) contentPart(kind string, index int, of string) error {
	i, err := e.number(index)
	if err != nil {
		return err
	}
	e.repeat = strings.HasSuffix(kind, ".done")
	return e.object(atPart, func() error { return e.part(e.output, i, of) })
}

// say reads a piece of a text, or all of it again.
func (e *event) say(lane string, index, text int) error {
	i, err := e.number(index)
	if err != nil {
		return err
	}
	e.repeat = text != atDelta
	if err := e.object(text, func() error { return e.text(lane, e.output, i) }); err != nil {
		return err
	}
	if e.repeat { // whether or not they come again
		e.c.Ends = append(e.c.Ends, llm.End{Lane: e.lane(lane, e.output, i)})
	}
	if e.at[atLogprobs].Empty() {
		return nil
	}
	return e.object(atLogprobs, func() error { return e.logprobs(lane, e.output, i) })
}

// args reads a piece of what a tool is called with, or all of it again.
func (e *event) args(kind string, text int) error {
	byProvider := strings.HasPrefix(kind, "mcp_call") || strings.HasPrefix(kind, "code_interpreter_call")
	t := llm.ToolPiece{Index: e.output, ByProvider: byProvider, Event: !byProvider, Repeat: text != atDelta}
	if !e.at[atName].Empty() {
		e.Seek(e.at[atName].Start)
		e.used |= 1 << atName
		name, _, err := e.Text()
		if err != nil {
			return err
		}
		if !byProvider { // of a server, it is that of one of its tools
			t.Name = string(name)
		}
	}
	return e.object(text, func() (err error) {
		t.Args, t.ArgsAt, err = e.Text()
		e.c.Tools = append(e.c.Tools, t)
		return err
	})
}

// Stop is the status of an answer that is complete.
func (responses) Stop() string { return `"completed"` }

const itemID = `"msg_sallyport"`

// AppendBlock appends the item of a message.
func (responses) AppendBlock(dst []byte, _ int, text string) []byte {
	return appendItem(dst, "completed", text, true)
}

func appendItem(dst []byte, status, text string, said bool) []byte {
	dst = append(dst, `{"id":`+itemID+`,"type":"message","status":"`+status+`","role":"assistant","content":[`...)
	if said {
		dst = appendPart(dst, text)
	}
	return append(dst, "]}"...)
}

func appendPart(dst []byte, text string) []byte {
	dst = append(dst, `{"type":"output_text","annotations":[],"logprobs":[],"text":`...)
	return append(llm.AppendString(dst, []byte(text)), '}')
}

// AppendText appends the events of a message from its beginning to its end. There is only one choice.
func (responses) AppendText(dst, like []byte, _, block int, text string) []byte {
	put := func(kind, middle string, more func([]byte) []byte) {
		data := append([]byte(`{"type":"response.`), kind...)
		data = append(data, `","sequence_number":`...)
		data = append(data, sequence(like)...)
		data = append(data, `,"output_index":`...)
		data = strconv.AppendInt(data, int64(block), 10)
		data = append(data, middle...)
		dst = stream.AppendEvent(dst, "response."+kind, append(more(data), '}'))
	}
	const part = `,"item_id":` + itemID + `,"content_index":0`
	say := func(b []byte) []byte { return llm.AppendString(b, []byte(text)) }
	put("output_item.added", `,"item":`, func(b []byte) []byte { return appendItem(b, "in_progress", "", false) })
	put("content_part.added", part+`,"part":`, func(b []byte) []byte { return appendPart(b, "") })
	put("output_text.delta", part+`,"logprobs":[],"delta":`, say)
	put("output_text.done", part+`,"logprobs":[],"text":`, say)
	put("content_part.done", part+`,"part":`, func(b []byte) []byte { return appendPart(b, text) })
	put("output_item.done", `,"item":`, func(b []byte) []byte { return appendItem(b, "completed", text, true) })
	return dst
}

// AppendPing appends the event with which the API itself keeps connections alive. LangChain takes it at any place; the helper
// responses.stream of the Python SDK, which LangChain does not use, only after the first event of the answer.
func (responses) AppendPing(dst, like []byte) []byte {
	data := append([]byte(`{"type":"keepalive","sequence_number":`), sequence(like)...)
	return stream.AppendEvent(dst, "keepalive", append(data, '}'))
}

// AppendFailureEvent appends an error in both of the forms that clients raise.
func (responses) AppendFailureEvent(dst []byte, f llm.Failure) []byte {
	data := append([]byte(`{"type":"error","sequence_number":0,"code":`), llm.AppendString(nil, []byte(f.Code))...)
	data = append(data, `,"message":`...)
	data = llm.AppendString(data, []byte(f.Message))
	data = append(data, `,"param":null,`...)
	data = append(data, appendFailure(nil, f)[1:]...)
	return stream.AppendEvent(dst, "error", data)
}

// sequence is the sequence number of an event.
func sequence(like []byte) []byte {
	number := []byte("0")
	var s llm.Scanner
	if s.Reset(like) != nil {
		return number
	}
	_ = s.Object(func(m llm.Member) error {
		at, err := s.Skip()
		if string(m.Key) == "sequence_number" {
			number = s.Bytes(at)
		}
		return err
	})
	return number
}
