// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// exchange is the state of one Serve. One goroutine uses it.
type exchange struct {
	f       *Flow
	m       *pipeline.Meta
	client  pipeline.Client
	up      pipeline.Upstream
	enforce bool
	head    pipeline.Head
	codec   llm.Codec // nil if the request is not inspected
	req     llm.Request
	steps   []pipeline.Step // of the request, masked, for records
	began   time.Time       // the request was read
	asked   time.Time       // the intent was recorded
	waited  time.Duration   // for others than us, since began
	pending []<-chan error  // records that are not known to be on disk
	cred    string

	out       pipeline.Outcome
	tooLarge  bool
	responded bool
	closed    bool // the outcome is written
	seq       int
	buf       *buffers
	h         holding
	side      side
	sentMasks []pipeline.Mask // what was masked in the request before it is sent
	ruled     []pipeline.Mask // the same, by guardrails
	sent      bool            // the request is with the provider
	bodyBytes int64           // of what was sent
	heard     [16]heard       // words that were looked at
	nextHeard int
	kept      *original // of the reply, while it comes; nil: it is not kept
	whole     []byte    // the reply, if it is no stream and its original may be kept
}

// buffers are reused from one exchange to the next.
type buffers struct {
	texts []llm.Text
	chunk llm.Chunk
	out   []byte
	raw   []byte
	edits []llm.Edit
	mask  []byte
	key   []byte
}

var pool = sync.Pool{New: func() any { return new(buffers) }}

// keepBytes is the largest buffer that is kept for reuse.
const keepBytes = 1 << 20

// What is kept of the request's buffers while a reply comes, which may take minutes.
const (
	keepTexts = 32
	keepMask  = 1 << 10
)

func newExchange(f *Flow, m *pipeline.Meta, client pipeline.Client, up pipeline.Upstream) *exchange {
	if m.Exchange == "" {
		m.Exchange = newID("exc_")
	}
	x := &exchange{f: f, m: m, client: client, up: up, enforce: m.Mode != pipeline.ModeObserve, head: client.Head()}
	x.buf = pool.Get().(*buffers)
	x.h.policy = f.o.Decider.Version()
	x.req.Texts = x.buf.texts
	x.out.Enforced = x.enforce
	return x
}

func (x *exchange) free() {
	x.kept.drop()
	b := x.buf
	x.buf = nil
	clear(x.req.Texts[:cap(x.req.Texts)])
	b.texts = x.req.Texts[:0]
	b.chunk.Reset()
	if cap(b.out) > keepBytes || cap(b.raw) > keepBytes || cap(b.mask) > keepBytes || cap(b.texts) > 4096 {
		return
	}
	pool.Put(b)
}

// release lets go of the request, which is with the provider: nothing that points into its body is used any more.
func (x *exchange) release() {
	clear(x.req.Texts)
	x.steps, x.req.Call.Steps = nil, nil
	x.h.body, x.h.shown = nil, nil
	if cap(x.req.Texts) > keepTexts {
		x.req.Texts = nil
	}
	if cap(x.buf.mask) > keepMask {
		x.buf.mask = nil
	}
	if c, ok := x.client.(pipeline.Releaser); ok {
		c.Release()
	}
}

// maxModel bounds the name of a model, in bytes.
const maxModel = 1 << 10

func (x *exchange) decodeRequest(body []byte, read error) error {
	if read != nil {
		x.tooLarge = true
		if int64(len(body)) < x.f.o.BodyLimit { // less was read than might have been: the reason is another
			return llm.NotInspected("%w", read)
		}
		return llm.NotInspected("request body exceeds %d bytes", x.f.o.BodyLimit)
	}
	codec, err := x.f.o.Codecs.For(&x.m.Endpoint, &x.head)
	if err != nil {
		return err
	}
	if err := codec.Request(body, &x.req); err != nil {
		x.req.Reset()
		return err
	}
	if n := len(x.req.Call.Model); n > maxModel { // it is kept, and repeated, for as long as the exchange is remembered
		x.req.Reset()
		return llm.NotInspected("name of a model of %d bytes", n)
	}
	x.codec = codec
	x.req.Call.MaxTokens = x.req.MaxTokens
	return nil
}

// append writes a record. Its channel is kept for settle. false: the record was refused.
func (x *exchange) append(kind string, body any) bool {
	at, durable := x.f.o.Log.Append(pipeline.Record{Kind: kind, Time: x.f.o.Now(), Session: x.m.Session, Exchange: x.m.Exchange, Body: body,
		Awaited: x.enforce})
	if x.enforce && durable != nil {
		x.pending = append(x.pending, durable)
	}
	return at != (pipeline.Position{})
}

// settle waits until the records written so far are on disk, but for the last keep ones.
func (x *exchange) settle(ctx context.Context, keep int) error {
	for len(x.pending) > keep {
		select {
		case err := <-x.pending[0]:
			x.pending = x.pending[1:] // it yields once
			if err != nil {
				return fmt.Errorf("%w: %w", pipeline.ErrNotRecorded, err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// recordIntent masks the request for the record and writes it down. The request itself is sent as it is here.
func (x *exchange) recordIntent(body []byte, unread error) {
	in := &pipeline.Intent{
		Flow: x.m.Flow, Scope: x.m.Scope, Mode: x.m.Mode, Workload: x.m.Workload, Principal: x.m.Principal, Endpoint: x.m.Endpoint,
		Method: x.plain(x.head.Method), Target: x.plain(cutQuery(x.head.Target)), UserAgent: x.plain(x.head.Get("User-Agent")), Credential: x.head.Credential,
		BodyBytes: int64(len(body)), Policy: x.f.o.Decider.Version(),
		Parent: x.m.Parent, Chain: x.m.Chain, Opening: x.m.Opening,
	}
	if unread == nil {
		// A masker that fails leaves the texts out of the record; deciding then fails too, in decideRequest.
		x.side = sideRecord
		if err := x.inspect("mask request", func() error { return x.maskRequest(body, in) }); err != nil {
			x.f.o.Notice("mask request", err)
			x.steps, in.Body = nil, nil
			in.Uninspected = "the request could not be masked"
		}
		x.side = sideReply
		in.Masks = append(append(in.Masks, x.sentMasks...), x.ruled...)
	} else {
		in.Uninspected = x.reason(unread)
	}
	model := x.word(x.req.Call.Model)
	if model != x.req.Call.Model { // a key in the wrong place
		in.Body, in.Uninspected = nil, "the name of the model holds what is to be masked"
	}
	if !x.tooLarge && (len(in.Masks) > 0 || in.Uninspected != "") { // else the record has the bytes themselves
		sum := sha256.Sum256(body)
		in.BodySHA256 = hex.EncodeToString(sum[:])
		in.Original = body
	}
	x.h.body, x.h.shown = body, in.Body
	in.Call = *x.call()
	in.Call.Steps = x.steps
	in.Repeats, in.SameFrame = x.f.o.Sessions.Recorded(x.m, x.steps)
	x.asked = x.f.o.Now()
	if !x.append(pipeline.KindIntent, in) {
		x.f.o.Sessions.Recorded(x.m, nil)
	}
	for i := range x.steps { // of the intent only: decisions repeat what they are about
		x.steps[i].From = [2]int{}
	}
}

// cutQuery keeps the names of a query and cuts the values out.
func cutQuery(target string) string {
	path, query, ok := strings.Cut(target, "?")
	if !ok {
		return target
	}
	parts := strings.Split(query, "&")
	for i, p := range parts {
		name, _, has := strings.Cut(p, "=")
		if has {
			name += "="
		}
		parts[i] = name
	}
	return path + "?" + strings.Join(parts, "&")
}

// unshown stands in records for arguments that are no JSON and hide what is to be masked.
const unshown = "[arguments that are no JSON]"

// maskRequest fills the intent with the masked request and x.steps with the masked steps.
func (x *exchange) maskRequest(body []byte, in *pipeline.Intent) error {
	x.steps = append([]pipeline.Step(nil), x.req.Call.Steps...)
	for i := range x.steps {
		s := &x.steps[i]
		s.Name, s.ID = x.word(s.Name), x.word(s.ID)
	}
	edits := x.buf.edits[:0]
	moved := 0 // how far what follows has moved in the masked body
	for i := range x.req.Texts {
		t := &x.req.Texts[i]
		var masked []byte
		var masks []pipeline.Mask
		var err error
		if t.Args {
			masked, masks, err = x.maskArgs(t.Value)
			if errors.Is(err, llm.ErrNotInspected) { // the record can do without them
				masked, err = []byte(unshown), nil
				masks = []pipeline.Mask{{Carrier: pipeline.CarrierArgs, Type: "arguments", Len: len(t.Value), With: unshown}}
			}
		} else {
			masked, masks, err = x.maskText(x.carrierOf(t), t)
		}
		if err != nil {
			return err
		}
		if len(masks) == 0 {
			if t.Args && t.Step >= 0 {
				x.steps[t.Step].Args = jsonOrString(x.steps[t.Step].Args)
			} else if t.Step >= 0 {
				x.steps[t.Step].From = [2]int{t.At.Start + moved, t.At.End + moved}
			}
			continue
		}
		in.Masks = append(in.Masks, masks...)
		with := argsValue(masked, t.Raw)
		edits = append(edits, llm.Edit{Span: t.At, With: with})
		at := t.At.Start + moved
		moved += len(with) - (t.At.End - t.At.Start)
		if t.Step < 0 {
			continue
		}
		if t.Args {
			x.steps[t.Step].Args = jsonOrString(append([]byte(nil), masked...))
		} else {
			x.steps[t.Step].Text, x.steps[t.Step].From = string(masked), [2]int{at, at + len(with)}
		}
	}
	x.buf.edits = edits[:0]
	if len(edits) == 0 {
		in.Body = json.RawMessage(body)
		return nil
	}
	masked, err := llm.Splice(make([]byte, 0, len(body)+64*len(edits)), body, edits)
	in.Body = masked
	return err
}
