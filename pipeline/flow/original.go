// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"fmt"
	"io"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// How much of a reply is there in the clear, and how much sealed, before anything of it is recorded.
const (
	originalPiece = 64 << 10
	originalHeld  = 1 << 20
)

// original seals a reply as it came while it comes. Whether something in it is masked shows only later: until then sealed pieces are
// held, and when they are too many recorded without their key. The key is recorded once something was masked, else nobody ever gets
// it, and what was recorded stays noise. The reply passes whatever goes wrong here; the outcome says what is missing.
type original struct {
	x      *exchange
	s      Sealer
	m      *events             // the stream, which has masks that the outcome does not have yet; nil for a whole reply
	plain  []byte              // of the next piece: it is the last if nothing follows
	held   []pipeline.Original // sealed
	size   int                 // of held
	taken  int64               // bytes of the reply
	sealed int                 // pieces
	kept   pipeline.Kept       // what is recorded
	key    bool                // so is the key
	end    bool                // nothing more is taken
	failed string              // why nothing can be read of it
}

// beginOriginal begins the original of a reply, if originals are kept. m is the stream that it is, or nil.
func (x *exchange) beginOriginal(m *events) {
	if x.f.o.Originals == nil || x.kept != nil {
		return
	}
	o := &original{x: x, m: m}
	if o.try(func() error { o.s = x.f.o.Originals(x.m.Exchange); return nil }); o.s == nil {
		o.end = true
	}
	x.kept = o
}

// keep takes the next bytes of a reply, as they came, content coding removed.
func (x *exchange) keep(p []byte) {
	if o := x.kept; o != nil && !o.end && len(p) > 0 {
		o.try(func() error { return o.take(p) })
	}
}

// endOriginal records what is left of an original if something was masked, for the outcome that follows, and forgets it if not.
func (x *exchange) endOriginal() {
	if x.whole != nil && x.masked() {
		x.beginOriginal(nil)
		x.keep(x.whole)
	}
	o := x.kept
	if o == nil {
		return
	}
	if x.kept, x.whole = nil, nil; o.masked() {
		if o.s != nil && o.failed == "" && o.kept.Cut != pipeline.KeptNotRecorded {
			o.try(func() error {
				o.piece(true)
				return o.flush()
			})
		}
		switch {
		case o.key:
			if x.out.Original = &o.kept; o.failed != "" {
				o.kept.Cut = pipeline.KeptNotSealed
			}
		case o.failed != "":
			x.out.OriginalMissing = o.failed
		default:
			x.out.OriginalMissing = "the journal refused it"
		}
	}
	o.drop()
}

// masked tells whether something in the reply was masked, as far as the outcome has it.
func (x *exchange) masked() bool {
	for i := range x.out.Masks {
		if !x.out.Masks[i].Upstream {
			return true
		}
	}
	return false
}

func (o *original) masked() bool {
	if o.x.masked() {
		return true
	}
	if o.m != nil {
		for _, l := range o.m.lanes {
			if len(l.found()) > 0 {
				return true
			}
		}
	}
	return false
}

// try guards the reply against what fails here. Whatever is held then is of no use any more.
func (o *original) try(f func() error) {
	if err := o.x.inspect("original", f); err != nil {
		o.failed, o.end = pipeline.Why(err), true
		o.x.f.o.Notice("original", fmt.Errorf("the original of a reply is not kept: %w", err))
		o.forget()
	}
}

// take adds bytes up to the limit.
func (o *original) take(p []byte) error {
	if room := o.x.f.o.ReplyLimit - o.taken; int64(len(p)) > room {
		p = p[:room]
		o.stop(pipeline.KeptLimit)
	}
	o.taken += int64(len(p))
	for len(p) > 0 && o.kept.Cut != pipeline.KeptNotRecorded {
		if len(o.plain) == originalPiece {
			o.piece(false)
			if o.key || o.masked() || o.size > originalHeld {
				if err := o.flush(); err != nil {
					return err
				}
			}
		}
		if o.plain == nil {
			o.plain = make([]byte, 0, originalPiece) // at once: what would be left behind by growing cannot be cleared
		}
		n := min(len(p), originalPiece-len(o.plain))
		o.plain = append(o.plain, p[:n]...)
		p = p[n:]
	}
	return nil
}

// piece seals what there is.
func (o *original) piece(last bool) {
	data := o.s.Piece(make([]byte, 0, len(o.plain)+64), o.plain, last)
	o.held = append(o.held, pipeline.Original{Seq: o.sealed, Bytes: len(o.plain), Data: data})
	o.sealed++
	o.size += len(data)
	clear(o.plain)
	o.plain = o.plain[:0]
}

// flush records what is held, with the key if something was masked and it is not recorded yet.
func (o *original) flush() error {
	masked := !o.key && o.masked()
	for i := range o.held {
		p := &o.held[i]
		if masked && !o.key {
			var err error
			if p.Key, err = o.s.Key(); err != nil {
				return err
			}
		}
		_, durable := o.x.f.o.Log.Append(pipeline.Record{Kind: pipeline.KindOriginal, Time: o.x.f.o.Now(), Session: o.x.m.Session, Exchange: o.x.m.Exchange, Body: p})
		select { // whether it is on disk shows with the outcome
		case err := <-durable:
			if err != nil {
				o.x.f.o.Notice("original", fmt.Errorf("the original of a reply is not kept any further: %w", err))
				o.stop(pipeline.KeptNotRecorded)
				o.forget()
				return nil
			}
		default:
		}
		o.key = o.key || masked
		o.kept.Pieces++
		o.kept.Bytes += int64(p.Bytes)
	}
	o.held, o.size = o.held[:0], 0
	return nil
}

// stop says that the rest of the reply is not kept. The first reason stays, unless the other leaves more out.
func (o *original) stop(why string) {
	if o == nil {
		return
	}
	if o.kept.Cut == "" || why == pipeline.KeptNotRecorded {
		o.kept.Cut = why
	}
	o.end = true
}

// keptSoFar says that a reply is not read on. rerr is what its last read gave: nothing is left if that was its end.
func (x *exchange) keptSoFar(rerr error) {
	if !errors.Is(rerr, io.EOF) && !errors.As(rerr, new(*cutError)) {
		x.kept.stop(pipeline.KeptNotRead)
	}
}

// forget lets go of what is not recorded.
func (o *original) forget() {
	clear(o.plain[:cap(o.plain)])
	o.plain, o.held, o.size = nil, nil, 0
}

// drop ends the use of it.
func (o *original) drop() {
	if o == nil {
		return
	}
	o.forget()
	if o.s != nil {
		_ = o.x.inspect("original", func() error { o.s.Close(); return nil })
		o.s = nil
	}
}
