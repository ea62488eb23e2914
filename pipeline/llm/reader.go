// SPDX-License-Identifier: Apache-2.0

package llm

import (
	"bytes"
	"errors"
	"slices"
	"unsafe"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Reader walks a request body once and notes what is in it. Codecs build on it; they decide what each key means.
type Reader struct {
	*Scanner
	R        *Request
	tools    int      // offered so far
	features []string // noted so far
	keys     int      // where the last key begins that was noted
	beside   []byte   // what stands beside the step of that number
	besides  int
}

// Read empties r and lets f read the one value that body is. Errors wrap ErrNotInspected.
func Read(body []byte, r *Request, f func(*Reader) error) error {
	r.Reset()
	rd := &Reader{Scanner: &Scanner{Strict: true}, R: r, keys: -1, besides: -1}
	err := rd.Scanner.Reset(body)
	if err == nil {
		err = f(rd)
	}
	if err == nil {
		err = rd.End()
	}
	return Uninspected("request", err)
}

// Uninspected makes err one that wraps ErrNotInspected, if it is not nil; what says what could not be read.
func Uninspected(what string, err error) error {
	if err == nil || errors.Is(err, ErrNotInspected) {
		return err
	}
	return NotInspected("%s: %w", what, err)
}

// Known refuses a word that is not one of those given; what says what it is.
func Known(what, v string, want ...string) error {
	for _, w := range want {
		if v == w {
			return nil
		}
	}
	return NotInspected("%s %q", what, v)
}

// Pass reads a value of which nothing is wanted.
func (s *Scanner) Pass() error {
	_, err := s.Skip()
	return err
}

// Null reads null, if that is what comes next, and tells whether it was.
func (s *Scanner) Null() (bool, error) {
	if s.Peek() != Null {
		return false, nil
	}
	return true, s.Pass()
}

// Word reads a string that decides something. It is noted too, so that records can be masked, unless it is plain letters.
func (rd *Reader) Word(to *string) error {
	text, at, err := rd.Text()
	*to = string(text)
	if err == nil && !plainKey(text) {
		rd.R.Texts = append(rd.R.Texts, Text{At: at, Value: text, Step: -1, Word: Label(text)})
	}
	return err
}

// Name is Word for what people choose, which is always noted.
func (rd *Reader) Name(to *string) error {
	text, at, err := rd.Text()
	*to = string(text)
	if err == nil && len(text) >= MinText {
		rd.R.Texts = append(rd.R.Texts, Text{At: at, Value: text, Key: rd.Key(), Step: -1})
	}
	return err
}

// Rest notes every string of a value that decides nothing, so that records can be masked.
func (rd *Reader) Rest() error {
	return rd.Each(func(text []byte, at Span) error {
		if len(text) >= MinText {
			rd.R.Texts = append(rd.R.Texts, Text{At: at, Value: text, Key: rd.Key(), Step: -1})
		}
		return nil
	})
}

// Each is Strings for the value of a member that has no meaning of its own. Keys that are no plain words, its own too, are noted, so
// that records can be masked.
func (rd *Reader) Each(f func(text []byte, at Span) error) error {
	rd.note()
	return rd.words(func(text []byte, at Span, key bool) error {
		if key {
			rd.note()
			return nil
		}
		return f(text, at)
	})
}

// note notes the key that was read last, once.
func (rd *Reader) note() {
	m := &rd.key
	if m.At.Start <= rd.keys || m.At.End > rd.pos || plainKey(m.Key) {
		return
	}
	rd.keys = m.At.Start
	rd.R.Texts = append(rd.R.Texts, Text{At: m.At, Value: m.Key, Step: -1, Name: true})
}

// Step reads a string that is the text of a new step.
func (rd *Reader) Step(st pipeline.Step) error {
	text, at, err := rd.Text()
	if err != nil {
		return err
	}
	st.Text = Shared(text)
	rd.Add(st, text, at)
	return nil
}

// Add notes a step and the text that belongs to it. Of a step with arguments, the text is these.
func (rd *Reader) Add(st pipeline.Step, text []byte, at Span) {
	rd.R.Texts = append(rd.R.Texts, Text{At: at, Value: text, Step: len(rd.R.Call.Steps), Args: st.Args != nil})
	rd.R.Call.Steps = append(rd.R.Call.Steps, st)
}

// RawArgs reads a value, one that stands there as it is, as the arguments of a new step.
func (rd *Reader) RawArgs(st pipeline.Step) error {
	at, err := rd.Skip()
	if err != nil {
		return err
	}
	value := rd.Bytes(at)
	st.Args = append(st.Args, value...)
	rd.Add(st, value, at)
	rd.R.Texts[len(rd.R.Texts)-1].Raw = true
	return nil
}

// maxOffers is how many tools a list may offer: they are compared with each other.
const maxOffers = 1 << 12

// Offers reads the member m, an array of offers; each reads one of them, of which exactly one step must come. What it returns
// is for Members.
func (rd *Reader) Offers(m Member, each func() error) (removable func(Span), err error) {
	if null, err := rd.Null(); null || err != nil {
		return nil, err
	}
	list, start := len(rd.R.Lists), rd.Pos()
	rd.R.Lists = append(rd.R.Lists, List{Key: m.At.Start})
	err = rd.Array(func(i int) error {
		if i == maxOffers {
			return NotInspected("more than %d tools", maxOffers)
		}
		rd.Peek()
		from, step := rd.Pos(), len(rd.R.Call.Steps)
		if err := each(); err != nil {
			return err
		}
		if len(rd.R.Call.Steps) != step+1 {
			return NotInspected("tool that is not one tool")
		}
		rd.R.Offers = append(rd.R.Offers, Offer{Step: step, At: Span{from, rd.Pos()}, List: list})
		return nil
	})
	rd.R.Lists[list].Of = Span{start, rd.Pos()}
	return func(at Span) { rd.R.Lists[list].At = at }, err
}

// Offer notes an offer that is about to be read, and returns the index of its step.
func (rd *Reader) Offer() int {
	rd.R.Call.Steps = append(rd.R.Call.Steps, pipeline.Step{Kind: pipeline.StepToolOffer, Index: rd.tools})
	rd.tools++
	return len(rd.R.Call.Steps) - 1
}

// Feature notes something that is decided like a tool of the provider's, but is none that could be removed from the body.
func (rd *Reader) Feature(name string) {
	if !slices.Contains(rd.features, name) {
		rd.features = append(rd.features, name)
		step := rd.Offer()
		rd.R.Call.Steps[step].Name, rd.R.Call.Steps[step].ByProvider = name, true
	}
}

// Features of requests that no rule over texts can read.
const (
	ImageInput    = "image-input"
	DocumentInput = "document-input"
	TokenInput    = "token-input"
)

// Beside reads a value whose strings reach the model with a step that is there already: see pipeline.Step.
func (rd *Reader) Beside(step int) error {
	if step != rd.besides {
		rd.beside, rd.besides = nil, step
	}
	err := rd.Each(func(text []byte, at Span) error {
		if len(text) < MinText {
			return nil
		}
		rd.R.Texts = append(rd.R.Texts, Text{At: at, Value: text, Step: -1})
		if len(text) < MinSaid {
			return nil
		}
		switch string(text) {
		case "object", "string", "number", "integer", "boolean", "function", "json_object", "json_schema", "ephemeral", "medium": // the protocols' own words
		default:
			rd.beside = append(append(rd.beside, text...), '\n')
		}
		return nil
	})
	if len(rd.beside) > 0 {
		rd.R.Call.Steps[step].Beside = Shared(rd.beside) // it may grow: what is there stays as it is
	}
	return err
}

// Form reads what is demanded of the form of an answer: its words reach the model too, as a prompt of their own.
func (rd *Reader) Form() error {
	step := len(rd.R.Call.Steps)
	rd.R.Call.Steps = append(rd.R.Call.Steps, pipeline.Step{Kind: pipeline.StepPrompt, Index: -1})
	err := rd.Beside(step)
	if len(rd.R.Call.Steps) == step+1 && rd.R.Call.Steps[step].Beside == "" {
		rd.R.Call.Steps = rd.R.Call.Steps[:step]
	}
	return err
}

// Blob reads an image or a document, or where it is. Of its strings, the names are noted, so that records can be masked, not the data.
func (rd *Reader) Blob() error {
	return rd.Each(func(text []byte, at Span) error {
		if len(text) >= MinText && len(text) <= maxName && !bytes.HasPrefix(text, []byte("data:")) {
			rd.R.Texts = append(rd.R.Texts, Text{At: at, Value: text, Step: -1})
		}
		return nil
	})
}

// maxName is the length in bytes above which a string is no name or address, but data.
const maxName = 4 << 10

var functionKeys = Names{"name", "description", "parameters"}

// Function reads the description of a function, in the form that began with OpenAI's API, into the step of an offer.
func (rd *Reader) Function(step int) error {
	seen := uint64(0)
	err := rd.Object(func(m Member) error {
		k, err := functionKeys.Once(m.Key, &seen)
		if err != nil {
			return err
		}
		switch {
		case k == 0:
			return rd.Word(&rd.R.Call.Steps[step].Name)
		case k == 1 && rd.Peek() == String:
			return rd.About(step)
		}
		return rd.Beside(step)
	})
	if err == nil && rd.R.Call.Steps[step].Name == "" {
		err = NotInspected("tool without a name")
	}
	return err
}

// About reads a string that becomes the text of a step that is there already.
func (rd *Reader) About(step int) error {
	text, at, err := rd.Text()
	if err != nil {
		return err
	}
	rd.R.Call.Steps[step].Text = Shared(text)
	rd.R.Texts = append(rd.R.Texts, Text{At: at, Value: text, Step: step})
	return nil
}

// Shared is a text as a string without a copy: it is valid as long as the text stays as it is, like all that a request holds.
func Shared(text []byte) string { return unsafe.String(unsafe.SliceData(text), len(text)) }

// Members is Object for objects of which some members may have to be removed. What f returns is called, when the object has
// been read, with the span that removes the member: with one comma if there is one. Any of these spans can be cut, alone or
// together, as long as the object has a member that stays, for which f returns nil.
func (s *Scanner) Members(f func(Member) (removable func(Span), err error)) error {
	var leading func(end int) // of a removable member before the first that stays: it takes the comma behind it, the others the one before
	stays, end := false, 0
	err := s.Object(func(m Member) error {
		if leading != nil {
			leading(m.At.Start)
			leading = nil
		}
		set, err := f(m)
		if err != nil {
			return err
		}
		switch {
		case set == nil:
			stays = true
		case stays:
			set(Span{end, s.pos})
		default:
			leading = func(end int) { set(Span{m.At.Start, end}) }
		}
		end = s.pos
		return nil
	})
	if err == nil && leading != nil {
		leading(end)
	}
	return err
}
