// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"errors"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// memory is a masker that remembers. It masks SECRET, and fails at BROKEN.
type memory struct {
	asked, clean []string
	known        map[string]bool
	last         string
}

func (k *memory) Stream(string, *pipeline.Meta, []byte) Rewriter { return &memoryText{} }

func (k *memory) Request(string, *pipeline.Meta, []byte, bool) Rewriter { return &memoryText{} }

func (k *memory) Known(carrier string, m *pipeline.Meta, before, text []byte, sent bool) (key [16]byte, clean bool) {
	k.last = string(text)
	k.asked = append(k.asked, k.last)
	return [16]byte{1}, k.known[k.last]
}

func (k *memory) Clean([16]byte) { k.clean = append(k.clean, k.last) }

type memoryText struct {
	text  string
	masks []pipeline.Mask
}

func (w *memoryText) Write(dst, src []byte) ([]byte, error) {
	w.text += string(src)
	if strings.Contains(w.text, "BROKEN") {
		return dst, errors.New("broken")
	}
	return dst, nil
}

func (w *memoryText) Flush(dst []byte) ([]byte, error) {
	if strings.Contains(w.text, "SECRET") {
		w.masks = []pipeline.Mask{{Type: "SECRET"}}
		return append(dst, "[SECRET]"...), nil
	}
	return append(dst, w.text...), nil
}
func (w *memoryText) Held() int              { return len(w.text) }
func (w *memoryText) Masks() []pipeline.Mask { return w.masks }
func (w *memoryText) Release()               {}

// TestKnown: only a text of a request that was looked through whole, without an error and without a finding, is remembered.
func TestKnown(t *testing.T) {
	for _, c := range []struct {
		name, text    string
		side          side
		known         bool
		asked, clean  bool
		masked, fails bool
	}{
		{name: "clean", text: "words", side: sideRecord, asked: true, clean: true},
		{name: "clean, before it is sent", text: "words", side: sideSent, asked: true, clean: true},
		{name: "a finding", text: "a SECRET", side: sideRecord, asked: true, masked: true},
		{name: "an error", text: "it is BROKEN", side: sideRecord, asked: true, fails: true},
		{name: "known", text: "words", side: sideRecord, known: true, asked: true},
		{name: "a reply", text: "words", side: sideReply},
		{name: "a reply with a finding that is known in requests", text: "a SECRET", side: sideReply, known: true, masked: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &memory{known: map[string]bool{c.text: c.known}}
			x := &exchange{f: &Flow{o: Options{Masker: k}}, m: &pipeline.Meta{}, buf: new(buffers), side: c.side}
			masked, masks, err := x.maskWhole(pipeline.CarrierPrompt, nil, []byte(c.text))
			if (err != nil) != c.fails || (len(masks) > 0) != c.masked || (masked != nil) != c.masked {
				t.Errorf("%q %+v %v", masked, masks, err)
			}
			if (len(k.asked) > 0) != c.asked || (len(k.clean) > 0) != c.clean {
				t.Errorf("asked %q, clean %q", k.asked, k.clean)
			}
		})
	}
}
