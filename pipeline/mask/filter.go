// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline/mask/action"
)

// line is one document of Filter.
type line struct {
	ID   json.RawMessage `json:"id"`
	Text *string         `json:"text"`
}

// maskedLine is what Filter writes for it.
type maskedLine struct {
	ID     json.RawMessage `json:"id"`
	Masked string          `json:"masked"`
	Spans  []maskedSpan    `json:"spans"`
}

// maskedSpan is [Start, End) in bytes of the UTF-8 text.
type maskedSpan struct {
	Start int    `json:"start"`
	End   int    `json:"end"`
	Type  string `json:"type"`
}

// Filter masks JSON lines: {"id","text"} in, {"id","masked","spans":[{"start","end","type"}]} out, in order. The id is
// any JSON value and passes unchanged; other members are ignored, empty lines skipped. A line that cannot be read
// gives no output; the others are still masked, and the error names the line numbers.
func (e *Engine) Filter(r io.Reader, w io.Writer) error {
	return e.FilterAs(r, w, "text", StreamOptions{})
}

// FilterAs is Filter of texts of a carrier.
func (e *Engine) FilterAs(r io.Reader, w io.Writer, carrier string, o StreamOptions) error {
	in, out := bufio.NewReaderSize(r, 64<<10), bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	var bad []error
	more := 0
	for n := 1; ; n++ {
		b, readErr := in.ReadBytes('\n')
		if b = bytes.TrimSpace(b); len(b) > 0 {
			masked, err := e.filterLine(b, carrier, o)
			switch {
			case err == nil:
				if err := enc.Encode(masked); err != nil {
					return fmt.Errorf("writing line %d: %w", n, err)
				}
			case len(bad) < 10:
				bad = append(bad, fmt.Errorf("line %d: %w", n, err))
			default:
				more++
			}
		}
		// Somebody may wait for this answer before the next line.
		if in.Buffered() == 0 || readErr != nil {
			if err := out.Flush(); err != nil {
				return fmt.Errorf("writing line %d: %w", n, err)
			}
		}
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			return fmt.Errorf("reading line %d: %w", n, readErr)
		}
	}
	if more > 0 {
		bad = append(bad, fmt.Errorf("and %d lines more", more))
	}
	return errors.Join(bad...)
}

func (e *Engine) filterLine(b []byte, carrier string, o StreamOptions) (*maskedLine, error) {
	var l line
	if !utf8.Valid(b) {
		return nil, errors.New("not UTF-8")
	}
	if err := json.Unmarshal(b, &l); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) { // the message quotes a character of the text, no more
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		return nil, errors.New(`not an object {"id","text"} with a text that is a string`)
	}
	if l.Text == nil {
		return nil, errors.New(`"text" is missing`)
	}
	if l.ID == nil {
		l.ID = json.RawMessage("null")
	}
	masked, masks, err := e.Mask(carrier, *l.Text, o)
	if err != nil {
		return nil, err
	}
	out := &maskedLine{ID: l.ID, Masked: masked, Spans: []maskedSpan{}}
	for _, m := range masks {
		out.Spans = append(out.Spans, maskedSpan{Start: m.At, End: m.At + m.Len, Type: m.Type})
	}
	return out, nil
}

// FilterText masks plain text as it comes: what may be released is written after each read.
func (e *Engine) FilterText(r io.Reader, w io.Writer) error {
	return e.FilterTextAs(r, w, "text", StreamOptions{})
}

// FilterTextAs is FilterText of a text of a carrier.
func (e *Engine) FilterTextAs(r io.Reader, w io.Writer, carrier string, o StreamOptions) error {
	s := e.Stream(carrier, o)
	defer s.Release()
	in, out := make([]byte, 64<<10), make([]byte, 0, 80<<10)
	for {
		n, readErr := r.Read(in)
		var err error
		if out, err = s.Write(out[:0], in[:n]); err != nil {
			return err
		}
		s.forget()
		if readErr != nil {
			if out, err = s.Flush(out); err != nil {
				return err
			}
		}
		if len(out) > 0 {
			if _, err := w.Write(out); err != nil {
				return fmt.Errorf("writing masked text: %w", err)
			}
		}
		if readErr == io.EOF {
			return nil
		}
		if readErr != nil {
			return fmt.Errorf("reading text: %w", readErr)
		}
	}
}

// forget drops the masks of closed values, so that an endless text needs no endless memory.
func (r *Rewriter) forget() {
	keep := 0
	if r.val.on && r.val.shown && r.val.action == action.Tag {
		keep = 1
	}
	r.masks = append(r.masks[:0], r.masks[len(r.masks)-keep:]...)
}
