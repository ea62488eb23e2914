// SPDX-License-Identifier: Apache-2.0

package openai

import (
	"bytes"
	"strconv"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
	"github.com/sallyport-dev/sallyport/pipeline/stream"
)

var (
	completionKeys = with(llm.Names{"model", "prompt", "suffix", "stream", "max_tokens", "n", "best_of"})
	textKeys       = llm.Names{"index", "text", "finish_reason", "logprobs", "token_ids"}
)

// completions is the older operation that goes on with a text.
type completions struct {
	Provider
	model string
}

func (cs completions) Request(body []byte, r *llm.Request) error {
	return read(body, r, pipeline.OpCompletions, cs.model, func(rd *reader) error {
		seen, prompts := uint64(0), 1
		var n, best int64
		err := rd.Object(func(m llm.Member) error {
			k, err := completionKeys.Once(m.Key, &seen)
			if err != nil {
				return err
			}
			if k < 0 {
				return rd.Rest()
			}
			if k > 0 {
				if null, err := rd.Null(); null || err != nil {
					return err
				}
			}
			switch key := completionKeys[k]; key {
			case "model":
				return rd.Word(&rd.R.Call.Model)
			case "prompt":
				prompts, err = rd.input()
				return err
			case "suffix":
				return rd.Step(pipeline.Step{Kind: pipeline.StepPrompt})
			case "stream":
				rd.R.Call.Stream, err = rd.Bool()
				return err
			case "max_tokens":
				return rd.most()
			case "n":
				n, err = rd.Int()
				return err
			case "best_of":
				best, err = rd.Int()
				return err
			default:
				return rd.beside(key)
			}
		})
		rd.times(max(n, best))
		rd.times(int64(prompts))
		return err
	})
}

func (completions) Reply(body []byte, c *llm.Chunk) error { return decode(body, c, true, text) }

func (completions) Event(_, data []byte, c *llm.Chunk) error {
	if isDone(data) {
		c.Reset()
		c.Done = true
		return nil
	}
	return decode(data, c, false, text)
}

func isDone(data []byte) bool { return bytes.Equal(bytes.TrimSpace(data), []byte("[DONE]")) }

// text reads one of the alternative answers.
func text(s *llm.Scanner, c *llm.Chunk, place int, whole bool) error {
	ch := llm.Choice{Index: -1}
	first, seen := mark(c), uint64(0)
	err := s.Object(func(m llm.Member) error {
		k, err := textKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		null, from := s.Peek() == llm.Null, s.Pos()
		switch k {
		case 0:
			ch.Index, err = s.Index(maxChoices)
			return err
		case 1:
			if !null && s.Peek() != llm.String {
				return llm.NotInspected("text that is none")
			}
			ch.Other = true
			err := c.Texts(llm.Piece{Lane: "content", Carrier: pipeline.CarrierText, Whole: whole, Answer: true})
			ch.Content = llm.Span{Start: from, End: s.Pos()}
			return err
		case 2:
			err := c.ReadWord(&ch.Finish)
			ch.FinishAt = llm.Span{Start: from, End: s.Pos()}
			return err
		case 3:
			return c.ProbTable(llm.ProbList{Lane: "content", Whole: whole})
		case 4:
			return noTokens(s)
		}
		return c.Member(carrier(m.Key), m.Key)
	})
	if err != nil {
		return err
	}
	return add(c, ch, place, whole, first)
}

// AppendText appends a chunk that adds text to a choice, with the id, created and model of like.
func (completions) AppendText(dst, like []byte, choice, _ int, text string) []byte {
	data := appendIdentity(nil, "text_completion", like)
	data = strconv.AppendInt(data, int64(choice), 10)
	data = append(data, `,"text":`...)
	data = llm.AppendString(data, []byte(text))
	data = append(data, `,"logprobs":null,"finish_reason":null}]}`...)
	return stream.AppendEvent(dst, "", data)
}

// AppendPing appends a chunk without text.
func (cs completions) AppendPing(dst, like []byte) []byte { return cs.AppendText(dst, like, 0, 0, "") }
