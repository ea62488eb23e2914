// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// models are the questions which models there are, and what one of them is.
type models struct {
	silent
	model string
}

func (m models) Request(body []byte, r *llm.Request) error {
	r.Reset()
	r.Call.Operation, r.Call.Model = pipeline.OpModels, m.model
	if len(body) > 0 {
		return llm.NotInspected("a body where none belongs")
	}
	return nil
}

// Reply is made of the provider's own words.
func (models) Reply(body []byte, c *llm.Chunk) error {
	s, err := c.Open(body)
	if err == nil {
		err = c.Aside("")
	}
	if err == nil {
		err = s.End()
	}
	return llm.Uninspected("reply", err)
}

// silent is what operations share that never stream.
type silent struct{ Provider }

func (silent) Event(_, _ []byte, _ *llm.Chunk) error {
	return llm.NotInspected("a stream where none belongs")
}

func (silent) AppendText(dst, _ []byte, _, _ int, _ string) []byte { return dst }

func (silent) AppendPing(dst, _ []byte) []byte { return dst }
