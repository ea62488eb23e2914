// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// Decider evaluates policy (pipeline/policy). It is pure and fast; step nil asks about the call itself. The steps of the call
// are those of the request while that is decided, and none while its reply is; no text of a step may be kept.
type Decider interface {
	Decide(m *pipeline.Meta, c *pipeline.Call, step *pipeline.Step) pipeline.Verdict
	Version() string
}

// Holder waits for people (pipeline/approval). Without one, a hold is a denial. The verdict allows or denies for good, or holds
// still: then patience was over, and what is held is not released now. Its Approval names what people decide about. The bytes of
// Held are valid until Wait returns. When ctx ends, whoever asked is gone.
type Holder interface {
	Wait(context.Context, *pipeline.Held) (pipeline.Verdict, error)
}

// Accountant is a Decider that wants to know what exchanges used.
type Accountant interface {
	// Account is called once when an exchange ends whose request was sent, whether it was answered or cut. Where the provider did not
	// say what it counted, the usage is an estimate.
	Account(m *pipeline.Meta, c *pipeline.Call, v pipeline.Verdict, u pipeline.Usage)
}

// Masker makes a rewriter for one text of one exchange (pipeline/mask). carrier is one of pipeline.Carriers. before is what
// stands to the left of the text and is no part of it, such as the key of an argument: it helps to tell what the text is, is never
// released, and is not kept.
type Masker interface {
	Stream(carrier string, m *pipeline.Meta, before []byte) Rewriter
}

// Rewriter masks one text that arrives in pieces. Any split of the text gives the bytes of the whole text.
type Rewriter interface {
	// Write takes the next piece and appends to dst what may be released now.
	Write(dst, src []byte) ([]byte, error)
	// Flush ends the text and appends the rest. After it, the rewriter is done.
	Flush(dst []byte) ([]byte, error)
	// Held is the number of bytes of the original text, at its end, that are not yet released or replaced.
	Held() int
	// Masks lists the spans masked so far, in order; At and Len are offsets into the original text. Owned by the rewriter
	// until Release.
	Masks() []pipeline.Mask
	// Release ends the use of the rewriter.
	Release()
}

// Log is the journal. Append returns after the record is written (it survives kill -9 of this process); the channel
// yields nil once it is on disk, or why it is not. An Awaited record need not be written before it is on disk. The body is
// encoded before Append returns.
type Log interface {
	Append(pipeline.Record) (pipeline.Position, <-chan error)
}

// Sessions gives the exchange its session: sets m.Session, and what m says of the exchange's place in it. No text of a step may be
// kept. Answered tells how the exchange ended, and what it used, in part by estimate if the provider did not say all of it; it is called once, and not
// for one that ended before it had a session. Recorded tells what steps an exchange is recorded with, and gives Intent.Repeats and
// Intent.SameFrame; without steps nothing of it is recorded after all.
type Sessions interface {
	Assign(m *pipeline.Meta, c *pipeline.Call)
	Recorded(m *pipeline.Meta, steps []pipeline.Step) (repeats int, sameFrame bool)
	Answered(m *pipeline.Meta, c *pipeline.Call, o *pipeline.Outcome, used pipeline.Usage)
}

// Sealer seals one reply as it came, piece by piece, for people who are not on this host (pipeline/journal/original). Nothing of it
// can be read before Key was given away, by nobody. It is used by one goroutine.
type Sealer interface {
	// Key is what opens the pieces, as JSON, sealed to these people. An error holds nothing of the reply.
	Key() ([]byte, error)
	// Piece appends the next piece to dst, sealed, and says in it whether it is the last. plain is not kept.
	Piece(dst, plain []byte, last bool) []byte
	// Close destroys the key. Nothing else is called after it.
	Close()
}

// Codecs finds the codec of a request; an error means "not inspected" and says why.
type Codecs interface {
	For(*pipeline.Endpoint, *pipeline.Head) (llm.Codec, error)
}
