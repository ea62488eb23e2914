// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

type embeddings struct {
	Provider
	tokens bool
}

func (e embeddings) Request(body []byte, r *llm.Request) error {
	return read(body, r, func(rd *reader) error {
		s, seen := rd.s, uint64(0)
		rd.r.Call.Operation = pipeline.OpEmbeddings
		return s.Object(func(m llm.Member) error {
			k, err := embedKeys.Once(m.Key, &seen)
			if err != nil {
				return err
			}
			switch k {
			case 0:
				return rd.word(&rd.r.Call.Model)
			case 1:
				return e.input(rd)
			}
			return rd.strings()
		})
	})
}

// input is a text, a list of texts, a list of token numbers, or a list of lists of them.
func (e embeddings) input(rd *reader) error {
	s := rd.s
	if s.Peek() == llm.String {
		return rd.step(pipeline.Step{Kind: pipeline.StepPrompt})
	}
	return s.Array(func(i int) error {
		if s.Peek() == llm.String {
			return rd.step(pipeline.Step{Kind: pipeline.StepPrompt, Index: i})
		}
		if !e.tokens {
			return llm.NotInspected("embeddings of token numbers, not text")
		}
		return skip(s)
	})
}

// Reply reads the model and the usage. Vectors hold no text, not even in base64.
func (embeddings) Reply(body []byte, c *llm.Chunk) error {
	c.Reset()
	s := &c.Scanner
	if err := s.Reset(body); err != nil {
		return llm.NotInspected("reply: %w", err)
	}
	seen := uint64(0)
	err := s.Object(func(m llm.Member) error {
		k, err := replyKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch {
		case k >= 0 && replyKeys[k] == "model":
			return word(s, c, &c.Model)
		case k >= 0 && replyKeys[k] == "usage":
			return usage(s, c)
		case string(m.Key) == "data":
			return skip(s)
		}
		return pieces(s, c, -1, string(m.Key), true)
	})
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return uninspected("reply", err)
	}
	return nil
}

func (embeddings) Event(name, data []byte, c *llm.Chunk) error {
	return llm.NotInspected("embeddings in a stream")
}

func (embeddings) AppendText(dst, like []byte, choice, block int, text string) []byte { return dst }

func (embeddings) AppendBlock(dst []byte, block int, text string) []byte { return dst }

func (embeddings) AppendPing(dst, like []byte) []byte { return dst }

func (embeddings) Framing() llm.Framing { return llm.SSE }

func (embeddings) Stop() string { return "null" }
