// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// maskArgs masks the arguments of a tool call. Arguments that are JSON stay JSON: each string in them, keys included, and each number is
// masked as its reader will see it, escapes undone, with its key to the left of it; a number becomes a string then. Then the whole is
// looked at once more as it stands, for what is found only in its surroundings: values with any of that in them go as a whole.
// masked is nil if nothing was masked; offsets are into args.
func (x *exchange) maskArgs(args []byte) (masked []byte, masks []pipeline.Mask, err error) {
	var edits []llm.Edit
	err = literals(args, func(l literal) error {
		if len(l.text) < llm.MinText {
			return nil
		}
		var with []byte
		var found []pipeline.Mask
		var err error
		if l.name {
			with, found, err = x.maskName(pipeline.CarrierArgs, l.text)
		} else {
			with, found, err = x.maskWhole(pipeline.CarrierArgs, x.before(l.key), l.text)
		}
		if err != nil || len(found) == 0 {
			return err
		}
		inside := 0 // where the text stands in the literal, if it stands there as it is
		if l.kind == llm.String {
			inside = 1
		}
		plain := l.at.End-l.at.Start == len(l.text)+2*inside
		for _, m := range found {
			if plain {
				m.At += l.at.Start + inside
			} else {
				m.At, m.Len = l.at.Start, l.at.End-l.at.Start
			}
			masks = append(masks, m)
		}
		edits = append(edits, llm.Edit{Span: l.at, With: llm.AppendString(nil, with)})
		return nil
	})
	if errors.As(err, new(maskError)) {
		return nil, nil, err
	}
	if err != nil { // no JSON
		if err := x.hidden(args); err != nil {
			return nil, nil, err
		}
		with, found, err := x.maskWhole(pipeline.CarrierArgs, nil, args)
		if err != nil || len(found) == 0 {
			return nil, nil, err
		}
		return append([]byte(nil), with...), found, nil
	}
	_, found, err := x.maskWhole(pipeline.CarrierArgs, nil, args)
	if err != nil {
		return nil, nil, err
	}
	if len(found) > 0 {
		edits, masks = surrounded(args, found, edits, masks)
	}
	if len(edits) == 0 {
		return nil, nil, nil
	}
	if masked, err = llm.Splice(nil, args, edits); err == nil && !validJSON(masked) {
		err = errors.New("mask: arguments would no longer be JSON")
	}
	return masked, masks, err
}

// surrounded adds the edits of the values in which something was found in the whole, and that were not masked by themselves.
func surrounded(args []byte, found []pipeline.Mask, edits []llm.Edit, masks []pipeline.Mask) ([]llm.Edit, []pipeline.Mask) {
	own, next := edits, 0
	_ = literals(args, func(l literal) error {
		for next < len(found) && found[next].At+found[next].Len <= l.at.Start {
			next++
		}
		if next == len(found) || found[next].At >= l.at.End || l.name {
			return nil
		}
		if slices.ContainsFunc(own, func(e llm.Edit) bool { return e.Span == l.at }) {
			return nil
		}
		m := found[next]
		m.At, m.Len = l.at.Start, l.at.End-l.at.Start
		masks = append(masks, m)
		edits = append(edits, llm.Edit{Span: l.at, With: llm.AppendString(nil, []byte(m.With))})
		return nil
	})
	return edits, masks
}

// hidden refuses arguments that are no JSON, but in whose escapes there is something to be masked: they may be broken off, or have
// line ends in their strings, and there are readers who take them nevertheless.
func (x *exchange) hidden(args []byte) error {
	if bytes.IndexByte(args, '\\') < 0 {
		return nil
	}
	_, plain, err := x.maskWhole(pipeline.CarrierArgs, nil, args)
	if err != nil {
		return err
	}
	_, found, err := x.maskWhole(pipeline.CarrierArgs, nil, unescaped(args))
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

// literal is a string or a number in JSON.
type literal struct {
	kind llm.Kind
	text []byte // decoded
	at   llm.Span
	key  []byte // of the member that it is, or is in; nil if there is none
	name bool   // it is a key itself
}

// literals calls f for each string and number of a JSON text. An error of f's is a maskError, any other means that it is no JSON.
func literals(text []byte, f func(literal) error) error {
	var s llm.Scanner
	if err := s.Reset(text); err != nil {
		return err
	}
	if err := eachLiteral(&s, nil, f); err != nil {
		return err
	}
	return s.End()
}

func eachLiteral(s *llm.Scanner, key []byte, f func(literal) error) error {
	give := func(l literal) error {
		if err := f(l); err != nil {
			return maskError{err}
		}
		return nil
	}
	switch s.Peek() {
	case llm.Object:
		return s.Object(func(m llm.Member) error {
			if err := give(literal{llm.String, m.Key, m.At, nil, true}); err != nil {
				return err
			}
			return eachLiteral(s, m.Key, f)
		})
	case llm.Array:
		return s.Array(func(int) error { return eachLiteral(s, key, f) })
	case llm.String:
		text, at, err := s.Text()
		if err != nil {
			return err
		}
		return give(literal{llm.String, text, at, key, false})
	case llm.Number:
		at, err := s.Skip()
		if err != nil {
			return err
		}
		return give(literal{llm.Number, s.Bytes(at), at, key, false})
	}
	return s.Pass()
}

// jsonOrString makes arguments fit for a record: those that are no JSON become a JSON string.
func jsonOrString(args json.RawMessage) json.RawMessage {
	if len(args) == 0 {
		return nil
	}
	if validJSON(args) {
		return args
	}
	return llm.AppendString(nil, args)
}

func validJSON(b []byte) bool {
	var s llm.Scanner
	if s.Reset(b) != nil {
		return false
	}
	if _, err := s.Skip(); err != nil {
		return false
	}
	return s.End() == nil
}
