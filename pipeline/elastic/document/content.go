// SPDX-License-Identifier: Apache-2.0

package document

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// The sizes of documents of contents. Elasticsearch highlights and cuts up texts of less than 1,000,000 characters.
const (
	partBytes  = 512 << 10 // of text, once to search and once as it was; a document has more by less than one piece
	pieceBytes = 128 << 10 // of one message in one place
	overlap    = 256       // bytes that the searched text of a piece repeats of the one before, so that phrases are found across
)

// The texts of a document.
const (
	textPrompt = iota
	textResponse
	textOffer
	textArguments
	textResult
	textKinds
)

// part is what one document has of the contents.
type part struct {
	number   int
	bytes    int // of text
	texts    [textKinds][]string
	messages json.RawMessage // an array
	size     int             // of all that is in it
}

// message is one thing that was said. Shapes that somebody else chose are never shapes of a document: arguments are a string.
type message struct {
	Kind   string `json:"kind"`
	Name   string `json:"name,omitempty"`
	ID     string `json:"id,omitempty"`
	Index  int    `json:"index"`
	Piece  int    `json:"piece,omitempty"` // from 1
	Pieces int    `json:"pieces,omitempty"`
	Text   string `json:"text,omitempty"`
	Args   string `json:"args,omitempty"`
}

// kindRequest is a request in which no step is known.
const kindRequest = "request"

// split puts what was said in an exchange into as many parts as are needed, in order. Unless whole is asked for, what its parent's
// record has word for word is left out.
func split(p *journal.Parts, whole bool) ([]part, *asked) {
	var s splitter
	a := &asked{}
	in := p.Intent
	left := map[*pipeline.Step]bool{} // out
	messages := pipeline.Messages(in.Call.Steps)
	if !whole && in.Parent != "" && in.Repeats >= 0 && in.Repeats <= len(messages) {
		for _, st := range messages[:in.Repeats] {
			left[st] = true
			a.repeats += len(sayingsOf(st))
		}
		for i := range in.Call.Steps {
			if st := &in.Call.Steps[i]; in.SameFrame && pipeline.InFrame(st) {
				left[st] = true
				a.sameFrame = a.sameFrame || len(sayingsOf(st)) > 0
			}
		}
	}
	if a.repeats > 0 || a.sameFrame {
		a.earlier = in.Parent
	}
	h := sha256.New()
	said := false
	for i := range in.Call.Steps {
		st := &in.Call.Steps[i]
		list := sayingsOf(st)
		said = said || len(list) > 0
		if pipeline.InFrame(st) {
			addUp(h, list)
		}
		if !left[st] {
			a.here += len(list)
			s.step(st)
		}
	}
	for _, st := range messages {
		addUp(h, sayingsOf(st))
	}
	if !said && len(in.Body) > 0 {
		m := message{Kind: kindRequest, Args: string(in.Body)}
		addUp(h, []message{m})
		a.here++
		s.add(textPrompt, m)
	}
	a.digest = hex.EncodeToString(h.Sum(nil))
	if o := p.Outcome; o != nil {
		if o.Text != "" {
			s.add(textResponse, message{Kind: pipeline.StepResponse, Text: o.Text})
		}
		for i := range o.Tools {
			s.step(&o.Tools[i])
		}
	}
	if len(s.parts) == 0 && a.earlier != "" { // all of it was said before: where, is for a document to say
		s.parts = append(s.parts, part{})
	}
	for i := range s.parts {
		p := &s.parts[i]
		p.number = i + 1
		if len(p.messages) == 0 { // all of the part is searched text of a message that is in the one before
			p.messages = append(p.messages, '[')
		}
		p.messages = append(p.messages, ']')
	}
	return s.parts, a
}

// asked is what the documents of an exchange say of its request as a whole.
type asked struct {
	earlier   string // the exchange that has what is left out; "" if nothing is
	repeats   int    // messages that are left out, counted as they are listed
	sameFrame bool   // instructions and tools are left out
	here      int    // listed messages of the request; those behind are of the reply
	digest    string
}

// sayingsOf are the messages that a step is listed as.
func sayingsOf(st *pipeline.Step) []message {
	m := message{Kind: st.Kind, Name: st.Name, ID: st.ID, Index: st.Index}
	var out []message
	if st.Text != "" {
		m.Text = st.Text
		out = append(out, m)
	}
	if len(st.Args) > 0 {
		m.Text, m.Args = "", string(st.Args)
		out = append(out, m)
	}
	return out
}

// addUp adds messages to the digest of a request: of each kind, name, id, index, text and args as netstrings (length in bytes, colon, value,
// comma), each byte that is no UTF-8 as U+FFFD, which is how a document has it.
func addUp(h hash.Hash, list []message) {
	for i := range list {
		m := &list[i]
		for _, v := range [...]string{m.Kind, m.Name, m.ID, strconv.Itoa(m.Index), m.Text, m.Args} {
			if !utf8.ValidString(v) {
				v = string([]rune(v))
			}
			_, _ = io.WriteString(h, strconv.Itoa(len(v))+":") // never fails
			_, _ = io.WriteString(h, v)
			_, _ = io.WriteString(h, ",")
		}
	}
}

// Digests are SHA-256 sums over what a request says: of its instructions and offered tools, of all its messages, and of those of which it
// says that its parent has them. They are in the measure in which documents list messages.
type Digests struct{ Frame, Messages, Shared [sha256.Size]byte }

// Said sums a recorded request up.
func Said(in *pipeline.Intent) (d Digests) {
	frame, all := sha256.New(), sha256.New()
	for i := range in.Call.Steps {
		if st := &in.Call.Steps[i]; pipeline.InFrame(st) {
			addUp(frame, sayingsOf(st))
		}
	}
	for i, st := range pipeline.Messages(in.Call.Steps) {
		if i == in.Repeats {
			all.Sum(d.Shared[:0])
		}
		addUp(all, sayingsOf(st))
	}
	frame.Sum(d.Frame[:0])
	all.Sum(d.Messages[:0])
	if len(pipeline.Messages(in.Call.Steps)) == in.Repeats {
		d.Shared = d.Messages
	}
	return d
}

type splitter struct{ parts []part }

func (s *splitter) step(step *pipeline.Step) {
	kind := textPrompt
	switch step.Kind {
	case pipeline.StepResponse:
		kind = textResponse
	case pipeline.StepToolOffer:
		kind = textOffer
	case pipeline.StepToolCall:
		kind = textArguments
	case pipeline.StepToolResult:
		kind = textResult
	}
	for _, m := range sayingsOf(step) {
		if m.Args != "" {
			kind = textArguments
		}
		s.add(kind, m)
	}
}

// add brings in a message: as it was, and to be searched.
func (s *splitter) add(kind int, m message) {
	whole := m.Text
	if m.Args != "" {
		whole = m.Args
	}
	pieces := cut(whole, pieceBytes)
	for i, piece := range pieces {
		if len(pieces) > 1 {
			m.Piece, m.Pieces = i+1, len(pieces)
		}
		if m.Args != "" {
			m.Args = piece
		} else {
			m.Text = piece
		}
		b, err := json.Marshal(&m)
		if err != nil {
			continue // strings and numbers always encode
		}
		p := s.room(len(piece))
		p.messages = append(append(p.messages, sep(p.messages)), b...)
		p.bytes += len(piece)
		if m.Args == "" {
			s.search(kind, pieces, i)
		}
	}
	if m.Args != "" {
		found := cut(sayings(whole), pieceBytes)
		for i := range found {
			s.search(kind, found, i)
		}
	}
}

// search brings in a piece of text that is to be found, with the end of the one before.
func (s *splitter) search(kind int, pieces []string, i int) {
	t := pieces[i]
	if i > 0 {
		t = tail(pieces[i-1]) + t
	}
	if strings.TrimSpace(t) == "" {
		return
	}
	p := s.room(len(t))
	p.texts[kind] = append(p.texts[kind], t)
}

func sep(array []byte) byte {
	if len(array) == 0 {
		return '['
	}
	return ','
}

// room is the part that has room for so much.
func (s *splitter) room(n int) *part {
	if k := len(s.parts); k == 0 || s.parts[k-1].size > 0 && s.parts[k-1].size+n > partBytes {
		s.parts = append(s.parts, part{})
	}
	p := &s.parts[len(s.parts)-1]
	p.size += n
	return p
}

// cut cuts a text into pieces of at most n bytes: between words if there are any, never inside a character.
func cut(s string, n int) []string {
	var out []string
	for len(s) > n {
		at := n
		if i := strings.LastIndexAny(s[n-overlap:n], " \n\t"); i >= 0 {
			at = n - overlap + i + 1
		} else {
			for at > n-utf8.UTFMax && !utf8.RuneStart(s[at]) {
				at--
			}
		}
		out, s = append(out, s[:at]), s[at:]
	}
	return append(out, s)
}

// tail is the end of a piece, from the beginning of a word on.
func tail(s string) string {
	if len(s) <= overlap {
		return s
	}
	s = s[len(s)-overlap:]
	if i := strings.IndexAny(s, " \n\t"); i >= 0 {
		return s[i+1:]
	}
	return strings.ToValidUTF8(s, "")
}

// sayings gives the names, strings and other values of a JSON document, one after the other: what it says without how. Anything else
// is given as it is.
func sayings(s string) string {
	dec := json.NewDecoder(strings.NewReader(s))
	dec.UseNumber()
	var b bytes.Buffer
	for {
		t, err := dec.Token()
		if err != nil {
			if dec.InputOffset() == 0 || b.Len() == 0 || strings.TrimSpace(s[dec.InputOffset():]) != "" {
				return s
			}
			return b.String()
		}
		switch t := t.(type) {
		case string:
			b.WriteString(t)
			b.WriteByte('\n')
		case json.Number:
			b.WriteString(t.String())
			b.WriteByte('\n')
		}
	}
}
