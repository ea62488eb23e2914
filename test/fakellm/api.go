// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
)

// created is the time stamp of every reply, so that replies can be compared.
const created = 1767225600

// chatRequest is what the scripts need of a request.
type chatRequest struct {
	Model         string    `json:"model"`
	Messages      []message `json:"messages"`
	Tools         []tool    `json:"tools"`
	Stream        bool      `json:"stream"`
	N             int       `json:"n"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

type message struct {
	Role      string            `json:"role"`
	Content   json.RawMessage   `json:"content"`
	ToolCalls []json.RawMessage `json:"tool_calls"`
}

type tool struct {
	Function struct {
		Name       string `json:"name"`
		Parameters struct {
			Required   []string `json:"required"`
			Properties map[string]struct {
				Type string `json:"type"`
			} `json:"properties"`
		} `json:"parameters"`
	} `json:"function"`
}

// text is the content, of text parts joined.
func (m *message) text() string {
	var s string
	if json.Unmarshal(m.Content, &s) == nil {
		return s
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(m.Content, &parts) != nil {
		return ""
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

// The replies, members in the order of the real ones.
type (
	apiError struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}
	completion struct {
		ID          string   `json:"id"`
		Object      string   `json:"object"`
		Created     int64    `json:"created"`
		Model       string   `json:"model"`
		Choices     []choice `json:"choices"`
		Usage       *usage   `json:"usage,omitempty"`
		ServiceTier string   `json:"service_tier"`
		Fingerprint string   `json:"system_fingerprint"`
	}
	choice struct {
		Index    int       `json:"index"`
		Message  *reply    `json:"message,omitempty"`
		Logprobs *struct{} `json:"logprobs"`
		Finish   string    `json:"finish_reason"`
	}
	reply struct {
		Role        string     `json:"role"`
		Content     *string    `json:"content"`
		ToolCalls   []toolCall `json:"tool_calls,omitempty"`
		Refusal     *string    `json:"refusal"`
		Annotations []struct{} `json:"annotations"`
	}
	toolCall struct {
		Index    *int         `json:"index,omitempty"` // in streams only
		ID       string       `json:"id,omitempty"`
		Type     string       `json:"type,omitempty"`
		Function toolFunction `json:"function"`
	}
	toolFunction struct {
		Name      string `json:"name,omitempty"`
		Arguments string `json:"arguments"`
	}
	chunk struct {
		ID          string        `json:"id"`
		Object      string        `json:"object"`
		Created     int64         `json:"created"`
		Model       string        `json:"model"`
		ServiceTier string        `json:"service_tier"`
		Fingerprint string        `json:"system_fingerprint"`
		Choices     []chunkChoice `json:"choices"`
		Usage       *usage        `json:"usage"`
		Obfuscation string        `json:"obfuscation,omitempty"`
	}
	chunkChoice struct {
		Index    int       `json:"index"`
		Delta    delta     `json:"delta"`
		Logprobs *struct{} `json:"logprobs"`
		Finish   *string   `json:"finish_reason"`
	}
	delta struct {
		Role      string     `json:"role,omitempty"`
		Content   *string    `json:"content,omitempty"`
		ToolCalls []toolCall `json:"tool_calls,omitempty"`
	}
	usage struct {
		Prompt     int          `json:"prompt_tokens"`
		Completion int          `json:"completion_tokens"`
		Total      int          `json:"total_tokens"`
		Details    usageDetails `json:"prompt_tokens_details"`
	}
	usageDetails struct {
		Cached int `json:"cached_tokens"`
		Audio  int `json:"audio_tokens"`
	}
	modelList struct {
		Object string      `json:"object"`
		Data   []modelInfo `json:"data"`
	}
	modelInfo struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Created int64  `json:"created"`
		OwnedBy string `json:"owned_by"`
	}
	embeddingList struct {
		Object string      `json:"object"`
		Data   []embedding `json:"data"`
		Model  string      `json:"model"`
		Usage  struct {
			Prompt int `json:"prompt_tokens"`
			Total  int `json:"total_tokens"`
		} `json:"usage"`
	}
	embedding struct {
		Object    string `json:"object"`
		Index     int    `json:"index"`
		Embedding any    `json:"embedding"` // numbers, or base64 of little-endian float32
	}
)

func (a *answer) chat() error {
	var r chatRequest
	if err := json.Unmarshal(a.body, &r); err != nil || len(r.Messages) == 0 {
		return a.fail(400, "invalid_request_error", "", "We could not parse the JSON body of your request.")
	}
	if !modelExists(r.Model) {
		return a.fail(404, "invalid_request_error", "model_not_found", fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", r.Model))
	}
	s := plan(&r, a.s.opts.Pace)
	switch {
	case s.hang:
		return a.hang()
	case s.status == 429:
		return a.fail(429, "requests", "rate_limit_exceeded", "Rate limit reached.")
	case s.status != 0:
		return a.fail(s.status, "server_error", "", "The script asked for this error.")
	case r.Stream:
		events, err := a.stream(&r, s)
		if err != nil {
			return err
		}
		return a.events(events, s.pace, s.compress, s.end)
	}
	c := completion{ID: "chatcmpl-" + a.id[:29], Object: "chat.completion", Created: created, Model: r.Model, Usage: a.usage(s),
		ServiceTier: "default", Fingerprint: "fp_fake"}
	for i := range max(1, r.N) {
		m := &reply{Role: "assistant", Annotations: []struct{}{}}
		for n, k := range s.calls {
			m.ToolCalls = append(m.ToolCalls, toolCall{ID: a.callID(n), Type: "function", Function: toolFunction{k.name, k.args}})
		}
		if len(s.calls) == 0 {
			m.Content = &s.text
		}
		c.Choices = append(c.Choices, choice{Index: i, Message: m, Finish: finish(s)})
	}
	return a.json(200, c, s.compress, s.end)
}

// stream makes the events of a streamed reply. Several choices come interleaved.
func (a *answer) stream(r *chatRequest, s script) (events [][]byte, err error) {
	n := max(1, r.N)
	add := func(c chunk) {
		c.ID, c.Object, c.Created, c.Model = "chatcmpl-"+a.id[:29], "chat.completion.chunk", created, r.Model
		c.ServiceTier, c.Fingerprint = "default", "fp_fake"
		c.Obfuscation = a.id[:1+len(events)%9]
		e, encErr := event(c)
		if err == nil {
			err = encErr
		}
		events = append(events, e)
	}
	each := func(d delta, finish *string) {
		for i := range n {
			add(chunk{Choices: []chunkChoice{{Index: i, Delta: d, Finish: finish}}})
		}
	}
	empty := ""
	first := delta{Role: "assistant", Content: &empty}
	if len(s.calls) > 0 {
		first.Content = nil
	}
	each(first, nil)
	for _, p := range pieces(s.text) {
		each(delta{Content: &p}, nil)
	}
	for i, k := range s.calls {
		each(delta{ToolCalls: []toolCall{{Index: &i, ID: a.callID(i), Type: "function", Function: toolFunction{Name: k.name}}}}, nil)
		for _, p := range pieces(k.args) {
			each(delta{ToolCalls: []toolCall{{Index: &i, Function: toolFunction{Arguments: p}}}}, nil)
		}
	}
	last := finish(s)
	each(delta{}, &last)
	if r.StreamOptions.IncludeUsage {
		add(chunk{Choices: []chunkChoice{}, Usage: a.usage(s)})
	}
	return append(events, []byte("data: [DONE]\n\n")), err
}

func finish(s script) string {
	if len(s.calls) > 0 {
		return "tool_calls"
	}
	return "stop"
}

func (a *answer) callID(n int) string { return fmt.Sprintf("call_%s%02d", a.id[:22], n) }

// usage counts four bytes as a token.
func (a *answer) usage(s script) *usage {
	out := len(s.text)
	for _, k := range s.calls {
		out += len(k.name) + len(k.args)
	}
	u := &usage{Prompt: len(a.body)/4 + 1, Completion: out/4 + 1}
	u.Total = u.Prompt + u.Completion
	return u
}

func (a *answer) embeddings() error {
	var r struct {
		Model      string          `json:"model"`
		Input      json.RawMessage `json:"input"`
		Format     string          `json:"encoding_format"`
		Dimensions int             `json:"dimensions"`
	}
	if err := json.Unmarshal(a.body, &r); err != nil || len(r.Input) == 0 {
		return a.fail(400, "invalid_request_error", "", "We could not parse the JSON body of your request.")
	}
	if !modelExists(r.Model) {
		return a.fail(404, "invalid_request_error", "model_not_found", fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", r.Model))
	}
	// One text, a list of texts, one list of tokens, or a list of those.
	var inputs []json.RawMessage
	if json.Unmarshal(r.Input, &inputs) != nil || len(inputs) > 0 && inputs[0][0] != '"' && inputs[0][0] != '[' {
		inputs = []json.RawMessage{r.Input}
	}
	if r.Dimensions <= 0 || r.Dimensions > 3072 {
		r.Dimensions = 1536
	}
	out := embeddingList{Object: "list", Model: r.Model}
	for i, in := range inputs {
		v := vector(in, r.Dimensions)
		e := embedding{Object: "embedding", Index: i, Embedding: v}
		if r.Format == "base64" {
			var b []byte
			for _, x := range v {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
			}
			e.Embedding = base64.StdEncoding.EncodeToString(b)
		}
		out.Data = append(out.Data, e)
		out.Usage.Prompt += len(in)/4 + 1
	}
	out.Usage.Total = out.Usage.Prompt
	return a.json(200, out, strings.Contains(strings.ToLower(string(r.Input)), "gzip"), whole)
}

// vector is a unit vector that depends on the input only.
func vector(in []byte, n int) []float32 {
	h := fnv.New64a()
	h.Write(in)
	x := h.Sum64() | 1
	v := make([]float32, n)
	sum := 0.0
	for i := range v {
		x ^= x << 13 // xorshift64
		x ^= x >> 7
		x ^= x << 17
		f := float64(int32(x)) / math.MaxInt32
		v[i] = float32(f)
		sum += f * f
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / math.Sqrt(sum))
	}
	return v
}
