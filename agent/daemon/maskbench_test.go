// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"testing"

	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// BenchmarkClear is the question about a word, with the roles of a caller looked up.
func BenchmarkClear(b *testing.B) {
	d := maskDaemon(b, maskPolicy, func(*config.Mask) {})
	m := &pipeline.Meta{Session: "ses_1", Mode: pipeline.ModeEnforce, Workload: pipeline.Workload{PID: 1, Unit: "app.service"}}
	text := []byte("chatcmpl-9nAbCdEfGhIjKlMnOpQrStUvWxYz0")
	for name, record := range map[string]bool{"reply": false, "record": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.masking.Clear("args", m, nil, text, record)
			}
		})
	}
}
