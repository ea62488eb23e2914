// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// maskArgs masks the arguments of a tool call. Arguments that are JSON stay JSON: each string in them, keys
// included, is masked as its reader will see it, escapes undone; then the whole is looked at once more as it stands,
// for what is found only in its surroundings. masked is nil if nothing was masked; offsets are into args.
func (x *exchange) maskArgs(args []byte) (masked []byte, masks []pipeline.Mask, err error) {
	var s llm.Scanner
	var edits []llm.Edit
	isJSON := s.Reset(args) == nil
	if isJSON {
		one := func(text []byte, at llm.Span) error {
			if len(text) < llm.MinText {
				return nil
			}
			with, found, err := x.maskWhole("args", text)
			if err != nil || len(found) == 0 {
				return err
			}
			plain := at.End-at.Start == len(text)+2
			for _, m := range found {
				if plain {
					m.At += at.Start + 1
				} else {
					m.At, m.Len = at.Start, at.End-at.Start
				}
				m.Carrier = "args"
				masks = append(masks, m)
			}
			edits = append(edits, llm.Edit{Span: at, With: llm.AppendString(nil, with)})
			return nil
		}
		err = walkStrings(&s, one)
		if err == nil {
			err = s.End()
		}
		if errors.As(err, new(maskError)) {
			return nil, nil, err
		}
		isJSON = err == nil
	}
	now := args
	if isJSON && len(edits) > 0 {
		if now, err = llm.Splice(nil, args, edits); err != nil {
			return nil, nil, err
		}
	} else if !isJSON {
		masks = nil
		if err := x.hidden(args); err != nil {
			return nil, nil, err
		}
	}
	with, found, err := x.maskWhole("args", now)
	if err != nil {
		return nil, nil, err
	}
	if len(found) > 0 {
		if isJSON && !validJSON(with) {
			return nil, nil, errors.New("mask: arguments would no longer be JSON")
		}
		for _, m := range found {
			if len(edits) > 0 { // offsets are those of a text that nobody saw
				m.At, m.Len = 0, len(args)
			}
			m.Carrier = "args"
			masks = append(masks, m)
		}
		now = append([]byte(nil), with...)
	}
	if len(masks) == 0 {
		return nil, nil, nil
	}
	return now, masks, nil
}

// hidden refuses arguments that are no JSON, but in whose escapes there is something to be masked: they may be broken off, or have
// line ends in their strings, and there are readers who take them nevertheless.
func (x *exchange) hidden(args []byte) error {
	if bytes.IndexByte(args, '\\') < 0 {
		return nil
	}
	_, plain, err := x.maskWhole("args", args)
	if err != nil {
		return err
	}
	_, found, err := x.maskWhole("args", unescaped(args))
	if err == nil && len(found) > len(plain) {
		err = llm.NotInspected("arguments of a tool call that are no JSON, and whose escapes hide what is to be masked")
	}
	return err
}

// unescaped is a text that is not quite JSON with the escapes of its strings undone, as far as they are some.
func unescaped(text []byte) []byte {
	var out []byte
	for len(text) > 0 {
		n := 1
		if text[0] == '\\' && len(text) > 1 {
			if i := strings.IndexByte(`"\/bfnrt`, text[1]); i >= 0 {
				out, text = append(out, "\"\\/\b\f\n\r\t"[i]), text[2:]
				continue
			}
			if text[1] == 'u' {
				n = min(12, len(text)) // perhaps with the other half
				if n < 12 || text[6] != '\\' {
					n = min(6, n)
				}
			}
		}
		for ; n > 1; n -= 6 { // both halves, or the one
			var s llm.Scanner
			if s.Reset(slices.Concat([]byte{'"'}, text[:n], []byte{'"'})) != nil {
				continue
			}
			if decoded, _, err := s.Text(); err == nil && s.End() == nil {
				out = append(out, decoded...)
				break
			}
		}
		if n <= 1 {
			n = 1
			out = append(out, text[0])
		}
		text = text[n:]
	}
	return out
}

// maskError is an error of the masker, as opposed to text that is no JSON.
type maskError struct{ error }

func (e maskError) Unwrap() error { return e.error }

func walkStrings(s *llm.Scanner, f func([]byte, llm.Span) error) error {
	wrap := func(text []byte, at llm.Span) error {
		if err := f(text, at); err != nil {
			return maskError{err}
		}
		return nil
	}
	switch s.Peek() {
	case llm.Object:
		return s.Object(func(m llm.Member) error {
			if err := wrap(m.Key, m.At); err != nil {
				return err
			}
			return walkStrings(s, f)
		})
	case llm.Array:
		return s.Array(func(int) error { return walkStrings(s, f) })
	case llm.String:
		text, at, err := s.Text()
		if err != nil {
			return err
		}
		return wrap(text, at)
	}
	_, err := s.Skip()
	return err
}
