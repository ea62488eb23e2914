// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal/content"
)

// A body is recorded in two parts: what everybody who reads the journal may know, as JSON, and the content, which is sealed under a
// key of the session. The content is a JSON document that adds to the first, and the attachment of an intent or event behind it.

// sealedBody is a body that may have content.
type sealedBody interface {
	// metadata appends the JSON of what is no content.
	metadata(dst []byte) ([]byte, error)
	// content appends the rest, and says where its attachment begins. Nothing appended: there is none.
	content(dst []byte) (b []byte, split int, attached bool, err error)
}

// bodyOf says how a body is divided; nil if it has no content, whatever it holds.
func bodyOf(body any) sealedBody {
	switch v := body.(type) {
	case *pipeline.Intent:
		if v != nil {
			return (*intentBody)(v)
		}
	case pipeline.Intent:
		return (*intentBody)(&v)
	case *pipeline.Event:
		if v != nil {
			return (*eventBody)(v)
		}
	case pipeline.Event:
		return (*eventBody)(&v)
	case *pipeline.Original:
		if v != nil {
			return (*originalBody)(v)
		}
	case *pipeline.Outcome:
		if v != nil {
			return (*outcomeBody)(v)
		}
	case pipeline.Outcome:
		return (*outcomeBody)(&v)
	case *pipeline.Decision:
		if v != nil {
			return (*decisionBody)(v)
		}
	case pipeline.Decision:
		return (*decisionBody)(&v)
	case *pipeline.Approval:
		if v != nil {
			return (*approvalBody)(v)
		}
	case pipeline.Approval:
		return (*approvalBody)(&v)
	}
	return nil
}

type intentBody pipeline.Intent

func (b *intentBody) metadata(dst []byte) ([]byte, error) {
	return appendIntent(dst, (*pipeline.Intent)(b), intentMetadata)
}

func (b *intentBody) content(dst []byte) ([]byte, int, bool, error) {
	if b.Body == nil && len(b.Call.Steps) == 0 && b.BodySHA256 == "" && b.SealedOriginal == nil {
		return dst, 0, false, nil
	}
	start := len(dst)
	dst, err := appendIntent(dst, (*pipeline.Intent)(b), intentContent)
	split := len(dst) - start
	return append(dst, b.Body...), split, b.Body != nil, err
}

type eventBody pipeline.Event

// metadata writes the JSON of the most frequent record by hand.
func (b *eventBody) metadata(dst []byte) ([]byte, error) {
	dst = append(dst, `{"seq":`...)
	dst = strconv.AppendInt(dst, int64(b.Seq), 10)
	dst = append(dst, `,"bytes":`...)
	dst = strconv.AppendInt(dst, int64(b.Bytes), 10)
	return append(dst, '}'), nil
}

func (b *eventBody) content(dst []byte) ([]byte, int, bool, error) {
	return append(dst, b.Data...), 0, true, nil
}

// originalBody has its data, which is sealed to auditors, sealed once more: so it goes with the session's key.
type originalBody pipeline.Original

func (b *originalBody) metadata(dst []byte) ([]byte, error) {
	f := fields{b: dst}
	f.open("", '{')
	f.int("seq", int64(b.Seq))
	f.int("bytes", int64(b.Bytes))
	f.shut('}')
	return f.b, f.err
}

func (b *originalBody) content(dst []byte) ([]byte, int, bool, error) {
	start := len(dst)
	if len(b.Key) > 0 {
		f := fields{b: dst}
		f.open("", '{')
		f.anyIf("key", true, b.Key)
		f.shut('}')
		if dst = f.b; f.err != nil {
			return dst, 0, false, f.err
		}
	}
	split := len(dst) - start
	return append(dst, b.Data...), split, true, nil
}

type outcomeBody pipeline.Outcome

func (b *outcomeBody) metadata(dst []byte) ([]byte, error) {
	o := pipeline.Outcome(*b)
	o.Text, o.Tools = "", bare(o.Tools)
	return appendOutcome(dst, &o)
}

func (b *outcomeBody) content(dst []byte) ([]byte, int, bool, error) {
	said := b.Text != ""
	for i := range b.Tools {
		said = said || !isBare(&b.Tools[i])
	}
	if !said {
		return dst, 0, false, nil
	}
	start := len(dst)
	f := fields{b: dst}
	f.open("", '{')
	f.textIf("text", b.Text)
	f.steps("tools", b.Tools, false, 0)
	f.shut('}')
	return f.b, len(f.b) - start, false, f.err
}

type decisionBody pipeline.Decision

func (b *decisionBody) metadata(dst []byte) ([]byte, error) {
	d := pipeline.Decision(*b)
	d.Step = bareStep(d.Step)
	return appendJSON(dst, &d)
}

func (b *decisionBody) content(dst []byte) ([]byte, int, bool, error) {
	if b.Step == nil || isBare(b.Step) {
		return dst, 0, false, nil
	}
	return contentJSON(dst, struct {
		Step *pipeline.Step `json:"step"`
	}{b.Step})
}

type approvalBody pipeline.Approval

func (b *approvalBody) metadata(dst []byte) ([]byte, error) {
	a := pipeline.Approval(*b)
	if a.Asked != nil {
		asked := *a.Asked
		asked.Step, asked.Body = bareStep(asked.Step), ""
		a.Asked = &asked
	}
	return appendJSON(dst, &a)
}

func (b *approvalBody) content(dst []byte) ([]byte, int, bool, error) {
	type asked struct {
		Step *pipeline.Step `json:"step,omitempty"`
		Body string         `json:"body,omitempty"`
	}
	if b.Asked == nil || b.Asked.Body == "" && (b.Asked.Step == nil || isBare(b.Asked.Step)) {
		return dst, 0, false, nil
	}
	return contentJSON(dst, struct {
		Asked asked `json:"asked"`
	}{asked{b.Asked.Step, b.Asked.Body}})
}

// isBare says whether a step has no content.
func isBare(s *pipeline.Step) bool { return len(s.Args) == 0 && s.Text == "" && s.From == [2]int{} }

func bareStep(s *pipeline.Step) *pipeline.Step {
	if s == nil || isBare(s) {
		return s
	}
	out := *s
	out.Args, out.Text, out.From = nil, "", [2]int{}
	return &out
}

func bare(steps []pipeline.Step) []pipeline.Step {
	if len(steps) == 0 {
		return steps
	}
	out := make([]pipeline.Step, len(steps))
	for i := range steps {
		out[i] = *bareStep(&steps[i])
	}
	return out
}

func appendJSON(dst []byte, v any) ([]byte, error) {
	f := fields{b: dst}
	f.any(v)
	return f.b, f.err
}

func contentJSON(dst []byte, v any) ([]byte, int, bool, error) {
	start := len(dst)
	dst, err := appendJSON(dst, v)
	return dst, len(dst) - start, false, err
}

// encode appends the body of a record to its frame.
func (j *Journal) encode(dst *bytes.Buffer, r *pipeline.Record, kind byte) (flags byte, note content.Note, err error) {
	body := bodyOf(r.Body)
	if body == nil {
		b, err := appendJSON(dst.AvailableBuffer(), r.Body)
		if err == nil {
			dst.Write(b)
		}
		return 0, note, err
	}
	scratch := j.buffers.Get().(*bytes.Buffer)
	defer j.release(scratch)
	scratch.Reset()
	in, _ := body.(*intentBody)
	if in != nil && len(in.Original) > 0 && j.o.Seal != nil {
		with := *in
		if with.SealedOriginal, err = j.o.Seal(in.Original); err != nil {
			// The record of the request does not depend on it: it says that this is missing, and so do we.
			with.SealedOriginal, with.OriginalMissing = nil, pipeline.Why(err)
			j.o.Notice(fmt.Errorf("the original of a request is not kept: %w", err))
			err = nil
		}
		in = &with
		body = in
	}
	if in != nil {
		scratch.Grow(len(in.Body) + 1024)
	}
	plain, split, attached, err := body.content(scratch.AvailableBuffer())
	if err != nil {
		return 0, note, err
	}
	scratch.Write(plain) // keeps what was allocated for the next
	start := dst.Len()
	dst.Write([]byte{0, 0, 0, 0})
	b, err := body.metadata(dst.AvailableBuffer())
	if err != nil {
		return 0, note, err
	}
	dst.Write(b)
	if len(plain) == 0 && !attached { // plain JSON, as a record without content is
		copy(dst.Bytes()[start:], dst.Bytes()[start+4:])
		dst.Truncate(dst.Len() - 4)
		return 0, note, nil
	}
	binary.LittleEndian.PutUint32(dst.Bytes()[start:], uint32(dst.Len()-start-4))
	session, err := j.keys.Session(r.Session)
	if err != nil {
		if !essential(r) {
			return 0, note, fmt.Errorf("%w: free disk space", err)
		}
		copy(dst.Bytes()[start:], dst.Bytes()[start+4:])
		dst.Truncate(dst.Len() - 4)
		return flagOmitted, note, nil
	}
	flags = flagSealed
	if attached {
		flags |= flagAttachment
	}
	aad := appendBound(scratch.AvailableBuffer(), kind, r.Session, r.Exchange)
	dst.Grow(len(plain) + content.Overhead)
	b, note = session.Seal(dst.AvailableBuffer(), aad, plain, split, in != nil)
	dst.Write(b)
	return flags, note, nil
}
