// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/content"
)

// Entry is one record as read. It and what Decode reads from it stay valid until the reader's following Next.
type Entry struct {
	Position   pipeline.Position // of the record
	End        pipeline.Position // of what follows it: where a later reader starts to continue after this record
	Kind       string
	Time       time.Time
	Session    string
	Exchange   string
	Generation uint64
	Sequence   uint64
	Hash       Hash
	Prev       Hash

	kind    byte
	flags   byte
	synced  uint64
	digest  Hash
	content []byte
	keys    *keyring
}

// The states of the content of a record: what people, models and tools said. What a record tells besides is always there.
const (
	ContentHere    = ""        // or there was none
	ContentErased  = "erased"  // its key was destroyed
	ContentNoKey   = "no_key"  // the journal was copied without its keys
	ContentOmitted = "omitted" // no key could be made when it was recorded, and the record had to be
)

// Content says whether Decode can give the content of the record. An error means that the keys cannot be read.
func (e *Entry) Content() (string, error) {
	switch {
	case e.flags&flagOmitted != 0:
		return ContentOmitted, nil
	case e.flags&flagSealed == 0:
		return ContentHere, nil
	}
	_, sealed, err := e.halves()
	if err != nil {
		return "", err
	}
	return e.state(e.keys.opener().Available(e.Generation, sealed))
}

// state tells the reasons for which content is not there from errors.
func (e *Entry) state(err error) (string, error) {
	switch {
	case err == nil:
		return ContentHere, nil
	case errors.Is(err, content.ErrErased):
		return ContentErased, nil
	case errors.Is(err, content.ErrNoKey):
		return ContentNoKey, nil
	}
	return "", fmt.Errorf("reading the content of the %s record at segment %d offset %d: %w", e.Kind, e.Position.Segment, e.Position.Offset, err)
}

// halves are the two parts of what follows the names: the JSON, and what is kept beside it.
func (e *Entry) halves() (first, second []byte, err error) {
	if e.flags&(flagAttachment|flagSealed) == 0 {
		return e.content, nil, nil
	}
	if len(e.content) < 4 {
		return nil, nil, e.damage("the content is shorter than its own length field")
	}
	n := int64(binary.LittleEndian.Uint32(e.content))
	if n > int64(len(e.content)-4) {
		return nil, nil, e.damage("the content is shorter than its own length field")
	}
	return e.content[4 : 4+n], e.content[4+n:], nil
}

// parts are the JSON documents of the record, of which later ones add to those before, and its attachment, nil if there is none.
func (e *Entry) parts() (docs [2][]byte, attachment []byte, state string, err error) {
	var second []byte
	if docs[0], second, err = e.halves(); err != nil {
		return docs, nil, "", err
	}
	switch {
	case e.flags&flagOmitted != 0:
		return docs, nil, ContentOmitted, nil
	case e.flags&flagSealed == 0:
		return docs, second, ContentHere, nil
	}
	plain, split, err := e.keys.opener().Open(e.Generation, second, e.bound(nil))
	if err != nil {
		if state, err = e.state(err); state != ContentHere {
			return docs, nil, state, nil
		}
		return docs, nil, "", err
	}
	docs[1] = plain[:split]
	if e.flags&flagAttachment != 0 {
		attachment = plain[split:]
	}
	return docs, attachment, ContentHere, nil
}

// bound is what sealed content is bound to: it cannot be moved to a record of another kind, session or exchange.
func (e *Entry) bound(dst []byte) []byte { return appendBound(dst, e.kind, e.Session, e.Exchange) }

func appendBound(dst []byte, kind byte, session, exchange string) []byte {
	dst = append(dst, kind, byte(len(session)))
	return append(append(dst, session...), exchange...)
}

func (e *Entry) damage(what string) error {
	return &Damage{Segment: e.Position.Segment, Offset: e.Position.Offset, What: what}
}

// Decode reads the body into v. An Intent gets its request body, an Event or Original its data; they may point into the reader's memory. What
// is not there any more, as Content says, is left out.
func (e *Entry) Decode(v any) error {
	docs, attachment, state, err := e.parts()
	if err != nil {
		return err
	}
	for _, doc := range docs {
		if len(doc) == 0 {
			continue
		}
		if err := e.decode(doc, v); err != nil {
			return err
		}
	}
	switch v := v.(type) {
	case *pipeline.Intent:
		if attachment != nil {
			v.Body = attachment
		}
		if state == ContentHere {
			return e.texts(v)
		}
	case *pipeline.Event:
		v.Data = string(attachment)
	case *pipeline.Original:
		v.Data = attachment
	}
	return nil
}

// Metadata is Decode without content, for those who need none: nothing is decrypted.
func (e *Entry) Metadata(v any) error {
	doc, _, err := e.halves()
	if err != nil {
		return err
	}
	return e.decode(doc, v)
}

func (e *Entry) decode(doc []byte, v any) error {
	if err := json.Unmarshal(doc, v); err != nil {
		return fmt.Errorf("decoding the %s record at segment %d offset %d: %w", e.Kind, e.Position.Segment, e.Position.Offset, err)
	}
	return nil
}

// MarshalJSON gives the record as one JSON object, for exports: the body is joined with its attachment.
func (e *Entry) MarshalJSON() ([]byte, error) {
	state, err := e.Content()
	if err != nil {
		return nil, err
	}
	var body any
	switch e.Kind {
	case pipeline.KindIntent:
		in := new(pipeline.Intent)
		err, body = e.Decode(in), in
		in.Body = validJSON(in.Body)
	case pipeline.KindEvent:
		body = new(pipeline.Event)
		err = e.Decode(body)
	case pipeline.KindOriginal:
		body = new(pipeline.Original)
		err = e.Decode(body)
	case pipeline.KindOutcome:
		body = new(pipeline.Outcome)
		err = e.Decode(body)
	case pipeline.KindDecision:
		body = new(pipeline.Decision)
		err = e.Decode(body)
	case pipeline.KindApproval, pipeline.KindElevation:
		body = new(pipeline.Approval)
		err = e.Decode(body)
	default:
		var raw []byte
		raw, _, err = e.halves()
		body = json.RawMessage(raw)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Kind       string    `json:"kind"`
		Time       time.Time `json:"time"`
		Session    string    `json:"session_id,omitempty"`
		Exchange   string    `json:"exchange_id,omitempty"`
		Generation uint64    `json:"generation"`
		Sequence   uint64    `json:"sequence"`
		Hash       Hash      `json:"hash"`
		Segment    uint64    `json:"segment"`
		Offset     uint64    `json:"offset"`
		Content    string    `json:"content,omitempty"` // why there is none
		Body       any       `json:"body"`
	}{e.Kind, e.Time, e.Session, e.Exchange, e.Generation, e.Sequence, e.Hash, e.Position.Segment, e.Position.Offset, state, body})
}

// texts gives steps the texts that their record left out.
func (e *Entry) texts(in *pipeline.Intent) error {
	for i := range in.Call.Steps {
		s := &in.Call.Steps[i]
		from, end := s.From[0], s.From[1]
		if from == 0 && end == 0 {
			continue
		}
		if from < 0 || from > end || end > len(in.Body) {
			return e.damage("the text of a step lies outside the request")
		}
		if err := json.Unmarshal(in.Body[from:end], &s.Text); err != nil {
			return e.damage("the text of a step is no text of the request")
		}
		s.From = [2]int{}
	}
	return nil
}

// validJSON keeps valid JSON and makes a string of anything else.
func validJSON(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || json.Valid(raw) {
		return raw
	}
	quoted, err := json.Marshal(string(raw))
	if err != nil {
		return nil // a string always encodes
	}
	return quoted
}
