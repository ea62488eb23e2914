// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// carrierOf is what a text of the request is.
func (x *exchange) carrierOf(t *llm.Text) string {
	if t.Word { // see word
		return pipeline.CarrierArgs
	}
	if t.Step < 0 {
		return pipeline.CarrierMetadata
	}
	switch x.req.Call.Steps[t.Step].Kind {
	case pipeline.StepToolResult:
		return pipeline.CarrierResult
	case pipeline.StepToolOffer:
		return pipeline.CarrierOffer
	case pipeline.StepToolCall:
		return pipeline.CarrierArgs
	}
	if x.req.Call.Operation == pipeline.OpEmbeddings {
		return pipeline.CarrierInput
	}
	return pipeline.CarrierPrompt
}

// before is what stands to the left of the value of a member; nil without a key. It is valid until the next call.
func (x *exchange) before(key []byte) []byte {
	if key == nil {
		return nil
	}
	x.buf.key = append(append(append(x.buf.key[:0], '"'), key...), `": `...)
	return x.buf.key
}

// maskPiece masks a text of a reply that is whole. masked is valid until the next call; it is nil if nothing was masked.
func (x *exchange) maskPiece(p *llm.Piece) (masked []byte, masks []pipeline.Mask, err error) {
	if p.Name {
		return x.maskName(carrier(p), p.Text)
	}
	return x.maskWhole(carrier(p), x.before(p.Key), p.Text)
}

// maskText masks a text of a request.
func (x *exchange) maskText(carrier string, t *llm.Text) (masked []byte, masks []pipeline.Mask, err error) {
	if t.Name {
		return x.maskName(carrier, t.Value)
	}
	return x.maskWhole(carrier, x.before(t.Key), t.Value)
}

// behind is what stands behind a key, by which a masker knows it.
const behind = `": `

// maskName is maskWhole for the key of a member. It is shown as one: names of people and addresses are not looked for in keys.
func (x *exchange) maskName(carrier string, name []byte) (masked []byte, masks []pipeline.Mask, err error) {
	x.buf.key = append(append(x.buf.key[:0], name...), behind...)
	if masked, masks, err = x.maskWhole(carrier, nil, x.buf.key); err != nil || len(masks) == 0 {
		return nil, nil, err
	}
	if masked, ok := bytes.CutSuffix(masked, []byte(behind)); ok {
		return masked, masks, nil
	}
	return x.maskWhole(carrier, nil, name) // a value took what stands behind it
}

// carrier is what a text of a reply is.
func carrier(p *llm.Piece) string {
	if p.Carrier == "" {
		return pipeline.CarrierMetadata
	}
	return p.Carrier
}

// maskAtOnce is how much of a whole text is masked at a time: what comes out is compared while it is in the cache, and a text
// in which nothing is found needs no second buffer of its length.
const maskAtOnce = 16 << 10

// maskWhole masks a text that is there as a whole. masked is valid until the next call; it is nil if nothing was masked.
func (x *exchange) maskWhole(carrier string, before, text []byte) (masked []byte, masks []pipeline.Mask, err error) {
	if x.clear(carrier, before, text) {
		return nil, nil, nil
	}
	memory, key, clean := x.known(carrier, before, text)
	if clean {
		return nil, nil, nil
	}
	rw := x.stream(carrier, before)
	defer rw.Release()
	out, same, changed := x.buf.mask[:0], 0, false // same: bytes of text that came out as they went in, and are not in out
	for rest := text; ; {
		n := min(len(rest), maskAtOnce)
		var err error
		if n > 0 {
			out, err = rw.Write(out, rest[:n])
			rest = rest[n:]
		}
		if err == nil && len(rest) == 0 {
			out, err = rw.Flush(out)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("mask: %w", err)
		}
		if !changed {
			if changed = len(rw.Masks()) > 0; changed {
				out = append(append(make([]byte, 0, len(text)+256), text[:same]...), out...)
			} else if !bytes.HasPrefix(text[same:], out) {
				return nil, nil, errors.New("mask: text changed without a mask")
			} else {
				same += len(out)
				out = out[:0]
			}
		}
		if len(rest) == 0 {
			break
		}
	}
	x.buf.mask = out
	if changed {
		return out, rw.Masks(), nil
	}
	if same != len(text) {
		return nil, nil, errors.New("mask: text changed without a mask")
	}
	if memory != nil {
		memory.Clean(key)
	}
	return nil, nil, nil
}
