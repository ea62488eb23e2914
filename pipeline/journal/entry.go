// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
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

	flags   byte
	synced  uint64
	digest  Hash
	content []byte
}

// JSON is the body without its attachment, and the attachment, nil if there is none.
func (e *Entry) parts() (body, attachment []byte, err error) {
	if e.flags&flagAttachment == 0 {
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

func (e *Entry) damage(what string) error {
	return &Damage{Segment: e.Position.Segment, Offset: e.Position.Offset, What: what}
}

// Decode reads the body into v. An Intent gets its request body, an Event its data; both point into the reader's memory.
func (e *Entry) Decode(v any) error {
	body, attachment, err := e.parts()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("decoding the %s record at segment %d offset %d: %w", e.Kind, e.Position.Segment, e.Position.Offset, err)
	}
	switch v := v.(type) {
	case *pipeline.Intent:
		if attachment != nil {
			v.Body = attachment
		}
		return e.texts(v)
	case *pipeline.Event:
		v.Data = string(attachment)
	}
	return nil
}

// MarshalJSON gives the record as one JSON object, for exports: the body is joined with its attachment.
func (e *Entry) MarshalJSON() ([]byte, error) {
	var body any
	switch e.Kind {
	case pipeline.KindIntent:
		in := new(pipeline.Intent)
		if err := e.Decode(in); err != nil {
			return nil, err
		}
		in.Body = validJSON(in.Body)
		body = in
	case pipeline.KindEvent:
		body = new(pipeline.Event)
		if err := e.Decode(body); err != nil {
			return nil, err
		}
	default:
		raw, _, err := e.parts()
		if err != nil {
			return nil, err
		}
		body = json.RawMessage(raw)
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
		Body       any       `json:"body"`
	}{e.Kind, e.Time, e.Session, e.Exchange, e.Generation, e.Sequence, e.Hash, e.Position.Segment, e.Position.Offset, body})
}

// appendContent encodes a body. Request bodies and released pieces are kept beside the JSON as they are: encoding them
// again would cost more than everything else about the record.
func appendContent(dst *bytes.Buffer, body any) (flags byte, err error) {
	switch v := body.(type) {
	case *pipeline.Intent:
		if v != nil {
			return appendAttached(dst, v)
		}
	case pipeline.Intent:
		return appendAttached(dst, &v)
	case *pipeline.Event:
		if v != nil {
			appendEvent(dst, v)
			dst.WriteString(v.Data)
			return flagAttachment, nil
		}
	case pipeline.Event:
		appendEvent(dst, &v)
		dst.WriteString(v.Data)
		return flagAttachment, nil
	}
	return 0, appendBody(dst, body)
}

// appendAttached encodes an intent and puts the request's body behind it, if there is one.
func appendAttached(dst *bytes.Buffer, in *pipeline.Intent) (flags byte, err error) {
	start := dst.Len()
	if in.Body != nil {
		dst.Grow(len(in.Body) + 2048)
		dst.Write([]byte{0, 0, 0, 0})
	}
	b, err := appendIntent(dst.AvailableBuffer(), in, true)
	if err != nil {
		return 0, err
	}
	dst.Write(b)
	if in.Body == nil {
		return 0, nil
	}
	binary.LittleEndian.PutUint32(dst.Bytes()[start:], uint32(dst.Len()-start-4))
	dst.Write(in.Body)
	return flagAttachment, nil
}

func appendBody(dst *bytes.Buffer, body any) error {
	if v, ok := body.(*pipeline.Outcome); ok && v != nil {
		b, err := appendOutcome(dst.AvailableBuffer(), v)
		if err == nil {
			dst.Write(b)
		}
		return err
	}
	enc := json.NewEncoder(dst)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return err
	}
	dst.Truncate(dst.Len() - 1) // the encoder's newline
	return nil
}

// appendEvent writes the JSON of the most frequent record by hand, with its length before it.
func appendEvent(dst *bytes.Buffer, v *pipeline.Event) {
	var buf [80]byte
	b := append(buf[:4], `{"seq":`...)
	b = strconv.AppendInt(b, int64(v.Seq), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, int64(v.Bytes), 10)
	b = append(b, '}')
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	dst.Write(b)
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
