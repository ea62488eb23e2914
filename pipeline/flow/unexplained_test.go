// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// liar masks as its fake does, and tells of no masks. short: it loses the last byte of what it releases instead.
type liar struct {
	fakes.Masker
	short bool
}

type liarWriter struct {
	flow.Rewriter
	short bool
}

func (l liar) Stream(carrier string, m *pipeline.Meta, before []byte) flow.Rewriter {
	return &liarWriter{l.Masker.Stream(carrier, m, before), l.short}
}

func (w *liarWriter) Masks() []pipeline.Mask { return nil }

func (w *liarWriter) Flush(dst []byte) ([]byte, error) {
	dst, err := w.Rewriter.Flush(dst)
	if w.short && len(dst) > 0 {
		dst = dst[:len(dst)-1]
	}
	return dst, err
}

// TestUnexplained: a text that a masker changed, and not by what it says that it masked, is not released.
func TestUnexplained(t *testing.T) {
	said := "key " + secret
	for _, c := range []struct {
		name   string
		masker liar
	}{{"masks are missing", liar{Masker: fakes.Masker{Words: []string{secret}, With: with}}}, {"a byte is missing", liar{Masker: fakes.Masker{Words: []string{"hunter3"}}, short: true}}} {
		t.Run(c.name, func(t *testing.T) {
			whole := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", completion(said))
			whole.opts.Masker = c.masker
			if err := whole.serve(); err != nil || !strings.Contains(string(whole.client.Got), "sallyport_") || strings.Contains(string(whole.client.Got), "key ") {
				t.Errorf("%v: %s", err, whole.client.Got)
			}
			stream := newRig(t, pipeline.ModeEnforce, asked).reply(200, "text/event-stream", text(0, said)+stopped)
			stream.opts.Masker = c.masker
			if err := stream.serve(); !strings.Contains(string(stream.client.Got), "sallyport_") || strings.Contains(string(stream.client.Got), "key ") || strings.Contains(string(stream.client.Got), "[DONE]") {
				t.Errorf("%v: %s", err, stream.client.Got)
			}
		})
	}
}

// once fails at texts that have a key before them, and at nothing else.
type once struct{ fakes.Masker }

func (o once) Stream(carrier string, m *pipeline.Meta, before []byte) flow.Rewriter {
	rw := o.Masker.Stream(carrier, m, before)
	if before == nil {
		return rw
	}
	return &failingWriter{rw, 0}
}

// TestArgumentsFailOnce: arguments whose masker failed are not taken for arguments that are no JSON, and tried in another way.
func TestArgumentsFailOnce(t *testing.T) {
	reply := strings.Replace(completion("x"), `"content":"x"`, `"content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"save","arguments":"{\"password\":\"swordfish\"}"}}]`, 1)
	r := newRig(t, pipeline.ModeEnforce, plain).reply(200, "application/json", reply)
	r.opts.Masker = once{fakes.Masker{Words: []string{secret}, With: with}}
	if err := r.serve(); err != nil && !errors.Is(err, errMasker) || strings.Contains(string(r.client.Got), "swordfish") || !strings.Contains(string(r.client.Got), "sallyport_") {
		t.Fatalf("%v: %s", err, r.client.Got)
	}
}
