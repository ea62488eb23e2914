// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/test/fakes"
)

// BenchmarkReply is what an exchange costs whose reply is not changed, in the forms in which replies come.
func BenchmarkReply(b *testing.B) {
	words := strings.Fields(strings.Repeat("The quick brown fox jumps over the lazy dog and runs away from it . ", 15))
	var deltas, probs []string
	for _, w := range words {
		deltas = append(deltas, text(0, " "+w))
		probs = append(probs, strings.Replace(text(0, " "+w), `"finish_reason"`,
			fmt.Sprintf(`"logprobs":{"content":[{"token":%q,"logprob":-0.1,"bytes":null,"top_logprobs":[]}],"refusal":null},"finish_reason"`, " "+w), 1))
	}
	end := []string{delta(0, "{}", "stop"), done}
	args := call(0, 0, "c1", "search", `{"q":"`) + call(0, 0, "", "", strings.Repeat("words and ", 20)) + call(0, 0, "", "", `"}`)
	for _, c := range []struct {
		name, request, kind string
		pieces              []string
	}{
		{"whole", plain, "application/json", []string{completion(strings.Join(words, " "))}},
		{"stream", asked, "text/event-stream", append(deltas, end...)},
		{"logprobs", asked, "text/event-stream", append(probs, end...)},
		{"call", asked, "text/event-stream", []string{args, delta(0, "{}", "tool_calls"), done}},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := int64(0)
			for _, p := range c.pieces {
				n += int64(len(p))
			}
			b.SetBytes(n)
			b.ReportAllocs()
			for b.Loop() {
				r := newRig(b, pipeline.ModeEnforce, c.request).reply(200, c.kind, c.pieces...)
				r.log.Discard = true
				r.opts.Masker = fakes.Masker{}
				r.must()
			}
		})
	}
}
