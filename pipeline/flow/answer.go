// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// form is how the body of a reply is to be read.
type form int

const (
	formUnknown form = iota
	formStream       // server-sent events, or lines of JSON
	formReply        // the JSON of a success
	formError        // the JSON of an error
	formText         // an error in words
	formNone         // no body
)

// formOf goes by the content type, not by what was asked for: providers answer errors in JSON to a request for a
// stream. framing is that of the streams of the codec.
func formOf(h *pipeline.Head, framing llm.Framing) form {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	ok, bad := h.Status >= 200 && h.Status < 300, h.Status >= 400
	if ok && !plainText(h) {
		return formUnknown
	}
	isJSON := kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
	switch {
	case ok && kind == streamTypes[framing]:
		return formStream
	case ok && isJSON:
		return formReply
	case bad && isJSON:
		return formError
	case bad && (strings.HasPrefix(kind, "text/") && kind != "text/event-stream"):
		return formText
	case h.Status == 204 || bad && h.Get("Content-Length") == "0":
		return formNone
	}
	return formUnknown
}

// plainText tells whether everybody reads the body of a reply in the same way: it has one type and one coding, and its
// characters are UTF-8. Some clients join fields of one name, and go by the character set that a field says.
func plainText(h *pipeline.Head) bool {
	types, codings := 0, 0
	for i := range h.Fields {
		f := &h.Fields[i]
		switch {
		case strings.EqualFold(f.Name, "Content-Encoding"):
			codings++
		case strings.EqualFold(f.Name, "Content-Type"):
			types++
			_, params, _ := strings.Cut(strings.ToLower(f.Value), ";")
			if strings.Contains(params, "*") { // a name in pieces, or coded
				return false
			}
			for p := range strings.SplitSeq(params, ";") {
				name, value, _ := strings.Cut(p, "=")
				set := strings.Trim(value, " \t\"'")
				if strings.TrimSpace(name) == "charset" && set != "utf-8" && set != "utf8" && set != "us-ascii" {
					return false
				}
			}
		}
	}
	return types <= 1 && codings <= 1
}

// streamTypes are the content types of streams.
var streamTypes = [...]string{llm.SSE: "text/event-stream", llm.NDJSON: "application/x-ndjson"}

// answer takes the reply of an enforcing scope to the application.
func (x *exchange) answer(ctx context.Context, reply pipeline.Reply) error {
	head := reply.Head()
	x.out.Status = head.Status
	src := &source{ctx: ctx, x: x, reply: reply}
	kind := formOf(&head, x.codec.Framing())
	var err error
	if x.h.early && kind != formStream {
		return x.answerLate(ctx, src, head, kind)
	}
	switch kind {
	case formUnknown:
		err = llm.NotInspected("reply with status %d and content type %q", head.Status, head.Get("Content-Type"))
	case formStream:
		return x.answerStream(ctx, src, head)
	default:
		err = x.answerWhole(ctx, src, head, kind)
	}
	if err == nil || x.responded {
		return err
	}
	x.seal(head, err)
	var cut *cutError
	if errors.As(err, &cut) { // nothing was written: the line breaks as it would without us
		x.cut(cut.by, err)
		x.finish(head.Status)
		return errors.Join(err, x.settle(context.WithoutCancel(ctx), 0))
	}
	var no *deniedError
	if errors.As(err, &no) {
		return x.refuse(ctx, no.d)
	}
	return x.refuse(ctx, x.failed(err))
}

// deniedError carries a denial up.
type deniedError struct{ d *denial }

func (e *deniedError) Error() string { return "denied by " + e.d.verdict.Rule }

// answerWhole reads a whole body, and writes it only when all of it is decided and on record.
func (x *exchange) answerWhole(ctx context.Context, src *source, head pipeline.Head, kind form) error {
	body, raw, err := x.readWhole(src, head.Get("Content-Encoding"))
	if err != nil {
		return err
	}
	x.h.reply = raw
	var now []byte
	changed := false
	err = x.inspect("reply", func() error {
		var err error
		now, changed, err = x.processWhole(ctx, body, kind)
		return err
	})
	if err != nil {
		return err
	}
	send := raw
	if changed {
		send = now
		head = head.Clone()
		for _, name := range []string{"Content-Encoding", "Transfer-Encoding", "Content-MD5", "Digest", "Content-Digest", "Repr-Digest"} {
			head.Del(name)
		}
		head.Set("Content-Length", strconv.Itoa(len(send)))
	}
	shown := body
	if changed {
		shown = now
	}
	if len(shown) > 0 {
		x.append(pipeline.KindEvent, &pipeline.Event{Seq: x.seq, Bytes: len(send), Data: llm.Shared(shown)})
	}
	x.released(len(send))
	x.finish(head.Status)
	if err := x.settle(ctx, 0); err != nil {
		return err
	}
	x.responded = true
	if err := x.client.Respond(head); err != nil {
		return fmt.Errorf("reply: %w", err)
	}
	if len(send) == 0 {
		return nil
	}
	return x.client.Write(send)
}

// released notes a release for the outcome.
func (x *exchange) released(n int) {
	at := x.f.o.Now().Sub(x.asked).Milliseconds()
	if x.out.BytesReleased == 0 {
		x.out.FirstReleaseMS = at
	}
	x.seq++
	x.out.BytesReleased += int64(n)
	x.out.Pace = append(x.out.Pace, pipeline.Pace{At: at, Bytes: n})
}

// readWhole reads a body: decoded, and as it came.
func (x *exchange) readWhole(src *source, coding string) (body, raw []byte, err error) {
	coded := coding != "" && !strings.EqualFold(coding, "identity")
	if coded {
		x.buf.raw = x.buf.raw[:0]
		src.keep = &x.buf.raw
	}
	next, done, err := decoded(src, coding)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	body = x.buf.out[:0]
	for {
		p, err := next()
		body = append(body, p...)
		x.buf.out = body[:0]
		if int64(len(body)) > x.f.o.ReplyLimit {
			return nil, nil, llm.NotInspected("reply exceeds %d bytes", x.f.o.ReplyLimit)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if x.f.o.Originals != nil {
		x.whole = body
	}
	if coded {
		return body, x.buf.raw, nil
	}
	return body, body, nil
}

// processWhole decodes, masks and decides a whole reply. now is the new body if it changed.
func (x *exchange) processWhole(ctx context.Context, body []byte, kind form) (now []byte, changed bool, err error) {
	if kind == formNone || len(body) == 0 && kind != formReply {
		if len(body) > 0 {
			return nil, false, llm.NotInspected("a body where none belongs")
		}
		return nil, false, nil
	}
	c := &x.buf.chunk
	switch kind {
	case formReply:
		if err := x.codec.Reply(body, c); err != nil {
			return nil, false, err
		}
	case formError:
		c.Reset()
		if err := c.Strings(body); err != nil {
			return x.processText(body)
		}
	case formText:
		return x.processText(body)
	}
	return x.processChunk(ctx, body, c)
}

// processText masks a body that is nothing but text.
func (x *exchange) processText(body []byte) ([]byte, bool, error) {
	masked, masks, err := x.maskWhole(pipeline.CarrierError, nil, body)
	if err != nil || len(masks) == 0 {
		return nil, false, err
	}
	x.out.Masks = append(x.out.Masks, masks...)
	return append([]byte(nil), masked...), true, nil
}
