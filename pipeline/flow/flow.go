// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// Options are what a Flow needs. Holder may be nil, the rest of the interfaces may not; zero limits mean defaults.
type Options struct {
	Decider  Decider
	Holder   Holder
	Masker   Masker
	Log      Log
	Sessions Sessions
	Codecs   Codecs

	BodyLimit  int64  // largest request body, bytes; 32 MiB
	ReplyLimit int64  // largest reply that is no stream, content coding removed, and most that a stream may say, bytes; 64 MiB
	EventLimit int    // largest event of a stream, bytes; 4 MiB
	HelpURL    string // where people ask for access; named in denials

	// Originals begins to seal the reply of an exchange as it came, which is recorded if something in it is masked; nil = that is
	// not kept. What goes wrong with it is noticed and recorded, and changes nothing else.
	Originals func(exchange string) Sealer

	Now    func() time.Time
	Notice func(stage string, err error) // told of failures of our own; errors hold no content. May be nil.
}

// Flow serves exchanges. It is safe for concurrent use.
type Flow struct {
	o     Options
	flood flood
	vault *vault

	clearer Clearer // the masker, if it is one
}

// New checks the options.
func New(o Options) (*Flow, error) {
	if o.Decider == nil || o.Masker == nil || o.Log == nil || o.Sessions == nil || o.Codecs == nil {
		return nil, errors.New("flow: decider, masker, log, sessions and codecs are all needed")
	}
	if o.BodyLimit <= 0 {
		o.BodyLimit = 32 << 20
	}
	if o.ReplyLimit <= 0 {
		o.ReplyLimit = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Notice == nil {
		o.Notice = func(string, error) {}
	}
	v, err := newVault(o.Now)
	if err != nil {
		return nil, err
	}
	f := &Flow{o: o, vault: v}
	f.clearer, _ = o.Masker.(Clearer)
	return f, nil
}

// Serve takes one exchange from head to outcome. It returns nil after a complete reply (a denial is one), an error
// otherwise; see proxy.Handler. Modes other than observe are served as enforce.
func (f *Flow) Serve(ctx context.Context, m *pipeline.Meta, client pipeline.Client, up pipeline.Upstream) (err error) {
	x := newExchange(f, m, client, up)
	defer x.free()
	defer x.account()
	defer func() {
		if p := recover(); p != nil {
			err = x.panicked(p)
		}
	}()

	if x.enforce {
		ok, tell := f.flood.enter(m, f.o.Now())
		f.tell(tell)
		if !ok {
			return x.drowned()
		}
	}

	// What is asked?
	body, err := client.Body(ctx, f.o.BodyLimit)
	if err != nil && !errors.Is(err, pipeline.ErrBodyTooLarge) {
		return fmt.Errorf("read request: %w", err) // the application went away; nothing was sent
	}
	x.began = f.o.Now()
	unread := x.inspect("request", func() error { return x.decodeRequest(body, err) })
	f.o.Sessions.Assign(m, &x.req.Call)

	// What must not leave the host is masked before anybody is asked: what is decided is what is sent. What policy wants changed is
	// changed before anything else is done with the request.
	var said asked
	if unread == nil {
		if body, said.err = x.maskSent(body); said.err == nil {
			said = x.askRequest()
			body = x.transform(&said, body)
		}
	}

	// Write down that it is asked, with everything masked.
	x.recordIntent(body, unread)
	if unread != nil && x.enforce {
		return x.refuse(ctx, x.uninspected(unread))
	}

	// May it be asked?
	if unread == nil {
		denied, err := x.decideRequest(ctx, &said)
		if by := leftBy(err); by != "" && x.enforce { // while it was held
			return x.cutBy(ctx, nil, by, err)
		}
		if err != nil && x.enforce {
			denied = x.failed(err)
		}
		if denied != nil {
			return x.refuse(ctx, denied)
		}
	} else {
		x.uninspected(unread) // observed: recorded, and on it goes
	}

	// Ask. No body byte leaves before the intent is on disk.
	reply, err := x.send(ctx, body)
	if reply == nil {
		return err
	}
	defer func() { _ = reply.Close() }()
	x.release()

	// Answer.
	switch {
	case !x.enforce:
		return x.observe(ctx, reply, unread == nil)
	default:
		return x.answer(ctx, reply)
	}
}

// inspect runs f and turns a panic into an error: a decoder that fails must not decide what passes.
func (x *exchange) inspect(stage string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v", stage, panicType(p))
			x.f.o.Notice(stage, fmt.Errorf("%w at %s", err, firstFrames(debug.Stack())))
		}
	}()
	return f()
}

// panicType describes a panic without its values, which may hold content.
func panicType(p any) string {
	if e, ok := p.(interface{ RuntimeError() }); ok {
		return fmt.Sprintf("%T", e)
	}
	return fmt.Sprintf("value of type %T", p)
}

// firstFrames keeps the top of a stack.
func firstFrames(b []byte) []byte {
	if len(b) > 2048 {
		b = b[:2048]
	}
	return b
}

// panicked is the last resort: whatever happened, the connection ends and nothing more is released.
func (x *exchange) panicked(p any) error {
	err := fmt.Errorf("flow: panic: %s", panicType(p))
	x.f.o.Notice("flow", fmt.Errorf("%w at %s", err, firstFrames(debug.Stack())))
	return err
}

// newID makes a UUIDv7 with a prefix.
func newID(prefix string) string {
	id, err := uuid.NewV7()
	if err != nil { // the system has no randomness: nothing can be trusted any more
		panic(err)
	}
	return prefix + id.String()
}

var _ Codecs = llm.Registry(nil)
