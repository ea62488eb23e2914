// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

var embedKeys = with(llm.Names{"model", "input", "encoding_format", "messages"})

type embeddings struct {
	silent
	model string
}

func (e embeddings) Request(body []byte, r *llm.Request) error {
	return read(body, r, pipeline.OpEmbeddings, e.model, func(rd *reader) error {
		seen := uint64(0)
		return rd.Object(func(m llm.Member) error {
			k, err := embedKeys.Once(m.Key, &seen)
			if err != nil {
				return err
			}
			switch k {
			case 0:
				return rd.Word(&rd.R.Call.Model)
			case 1:
				_, err := rd.input()
				return err
			case 3: // some servers take them in place of the input
				return llm.NotInspected("request asks for %s", embedKeys[k])
			}
			if k > 3 {
				return rd.beside(embedKeys[k])
			}
			return rd.Rest()
		})
	})
}

// input is a text, a list of texts, a list of token numbers, or a list of lists of them: a feature, which a role must name. n is how
// many inputs it is; of token numbers at least.
func (rd *reader) input() (n int, err error) {
	if rd.Peek() == llm.String {
		return 1, rd.Step(pipeline.Step{Kind: pipeline.StepPrompt})
	}
	err = rd.Array(func(i int) error {
		n = i + 1
		if rd.Peek() == llm.String {
			return rd.Step(pipeline.Step{Kind: pipeline.StepPrompt, Index: i})
		}
		if kind := rd.Peek(); kind != llm.Number && kind != llm.Array {
			return llm.NotInspected("input that is neither text nor token numbers")
		}
		rd.Feature(llm.TokenInput)
		return rd.Pass()
	})
	return n, err
}

// vector reads one element of the answer.
func vector(s *llm.Scanner, c *llm.Chunk) error {
	if s.Peek() != llm.Object {
		return c.Aside("")
	}
	return s.Object(func(m llm.Member) error {
		if string(m.Key) == "embedding" {
			if s.Peek() == llm.String {
				if passed, err := c.Opaque(); passed || err != nil {
					return err
				}
			}
			return c.Label(m.Key) // numbers
		}
		return c.Member("", m.Key)
	})
}

// Reply reads the model and the usage. Vectors hold no text, not even in base64.
func (embeddings) Reply(body []byte, c *llm.Chunk) error {
	s, err := c.Open(body)
	if err != nil {
		return err
	}
	seen := uint64(0)
	err = s.Object(func(m llm.Member) error {
		k, err := replyKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch {
		case k >= 0 && replyKeys[k] == "model":
			return c.ReadWord(&c.Model)
		case k >= 0 && replyKeys[k] == "usage":
			return usage(s, c)
		case string(m.Key) == "data" && s.Peek() == llm.Array:
			return s.Array(func(int) error { return vector(s, c) })
		case string(m.Key) == "object":
			return c.Label(m.Key)
		case k >= 0 && replyKeys[k] == "error":
			return c.Aside(pipeline.CarrierError)
		}
		return c.Member("", m.Key)
	})
	if err == nil {
		err = s.End()
	}
	return llm.Uninspected("reply", err)
}
