// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/llm"
)

// RequestMasker is a Masker that tells requests from replies. Request makes a rewriter for one text of a request: of what is sent upstream, where nil
// says that nothing of it is masked, or of what is recorded, which never ends the exchange.
type RequestMasker interface {
	Request(carrier string, m *pipeline.Meta, before []byte, sent bool) Rewriter
}

// Rememberer is a RequestMasker that knows texts of requests again. Known gives a key under which it remembers this text, zero if it does not want to, and
// says whether nothing is to be masked in it, as was found before. Clean tells of a text that was looked through without a finding.
type Rememberer interface {
	RequestMasker
	Known(carrier string, m *pipeline.Meta, before, text []byte, sent bool) (key [16]byte, clean bool)
	Clean(key [16]byte)
}

// known asks a masker that remembers texts for one of a request. r is nil if it is not to be told of this one.
func (x *exchange) known(carrier string, before, text []byte) (r Rememberer, key [16]byte, clean bool) {
	if r, _ = x.f.o.Masker.(Rememberer); r == nil || x.side == sideReply {
		return nil, key, false
	}
	if key, clean = r.Known(carrier, x.m, before, text, x.side == sideSent); key == [16]byte{} {
		return nil, key, false
	}
	return r, key, clean
}

// side is what texts are masked for.
type side uint8

const (
	sideReply  side = iota
	sideRecord      // of a request
	sideSent        // a request, before it is decided
)

// stream makes a rewriter for one text; nil only of a request that is to be sent.
func (x *exchange) stream(carrier string, before []byte) Rewriter {
	if r, ok := x.f.o.Masker.(RequestMasker); ok && x.side != sideReply {
		return r.Request(carrier, x.m, before, x.side == sideSent)
	}
	return x.f.o.Masker.Stream(carrier, x.m, before)
}

// sentRefused is a MaskRefused of a request before it is sent.
type sentRefused struct{ error }

func (e sentRefused) Unwrap() error { return e.error }

// maskRefused records that a value was found that ends the exchange.
func (x *exchange) maskRefused(err error, no pipeline.MaskRefused) *denial {
	m := no.Refused()
	m.At, m.Len, m.With, m.Action = 0, 0, "", pipeline.Deny.String()
	v := pipeline.Verdict{Action: pipeline.Deny, Stage: pipeline.StepResponse, Rule: "mask/" + m.Rule, Reason: "it holds a value of type " + m.Type + ", which must not pass"}
	switch {
	case errors.As(err, new(sentRefused)):
		m.Upstream = true
		v.Stage = pipeline.StepPrompt
	case m.Carrier == pipeline.CarrierArgs:
		v.Stage = pipeline.StepToolCall
	}
	x.out.Masks = append(x.out.Masks, m)
	return &denial{code: codeDenied, id: x.decision(v, nil), verdict: v}
}

// maskSent masks what must not leave the host in a request, and reads the body that is left again, so that everything after it is about what is
// sent. Where nothing is enforced, no byte changes.
func (x *exchange) maskSent(body []byte) ([]byte, error) {
	if _, ok := x.f.o.Masker.(RequestMasker); !ok || !x.enforce {
		return body, nil
	}
	x.side = sideSent
	defer func() { x.side = sideReply }()
	err := x.inspect("mask request", func() error {
		now, err := x.maskTexts(body)
		if err == nil {
			body = now
		}
		return err
	})
	if errors.As(err, new(pipeline.MaskRefused)) {
		err = sentRefused{err}
	}
	if err != nil {
		err = fmt.Errorf("masking the request: %w", err)
	}
	return body, err
}

func (x *exchange) maskTexts(body []byte) ([]byte, error) {
	var edits []llm.Edit
	for i := range x.req.Texts {
		t := &x.req.Texts[i]
		if t.Word { // without it, the request would be another
			continue
		}
		carrier := x.carrierOf(t)
		rw := x.stream(carrier, nil)
		if rw == nil {
			continue
		}
		rw.Release()
		var masked []byte
		var masks []pipeline.Mask
		var err error
		if t.Args {
			masked, masks, err = x.maskArgs(t.Value)
		} else {
			masked, masks, err = x.maskText(carrier, t)
		}
		if err != nil {
			return nil, err
		}
		if len(masks) == 0 {
			continue
		}
		edits = append(edits, llm.Edit{Span: t.At, With: argsValue(append([]byte(nil), masked...), t.Raw)})
		for _, m := range masks {
			m.Upstream = true
			x.sentMasks = append(x.sentMasks, m)
		}
	}
	if len(edits) == 0 {
		return body, nil
	}
	now, err := llm.Splice(make([]byte, 0, len(body)+64*len(edits)), body, edits)
	if err != nil {
		return nil, err
	}
	return now, x.reread(now, make([]bool, len(x.req.Call.Steps)))
}

// tellSent records, once, that a request was masked before it is sent.
func (x *exchange) tellSent() {
	if len(x.sentMasks) == 0 {
		return
	}
	x.decision(pipeline.Verdict{Action: pipeline.Transform, Stage: pipeline.StepPrompt, Rule: "builtin/mask",
		Reason: strconv.Itoa(len(x.sentMasks)) + " masked before it left this host", Done: true}, nil)
}

// tellGuardrails records, at the end, which guardrails masked a reply, as if they had been asked.
func (x *exchange) tellGuardrails() {
	var counts map[string]int
	var rules []string
	for i := range x.out.Masks {
		if m := &x.out.Masks[i]; m.Carrier != pipeline.CarrierArgs && strings.HasPrefix(m.Rule, "guardrail/") {
			if counts == nil {
				counts = map[string]int{}
			}
			if counts[m.Rule]++; counts[m.Rule] == 1 {
				rules = append(rules, m.Rule)
			}
		}
	}
	slices.Sort(rules)
	for _, r := range rules {
		x.decision(pipeline.Verdict{Action: pipeline.Transform, Stage: pipeline.StepResponse, Rule: r, Reason: strconv.Itoa(counts[r]) + " masked in the reply",
			Matched: []pipeline.Matched{{Rule: r, Action: pipeline.Transform}}, Done: true}, nil)
	}
}
