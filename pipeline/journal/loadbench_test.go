// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// BenchmarkLoad is what the archive and the shipper read of each exchange.
func BenchmarkLoad(b *testing.B) {
	j := open(b, Options{Dir: b.TempDir()})
	r := benchRecord(1024)
	r.Session, r.Exchange = "ses_1", "exc_1"
	x := Refs{Session: "ses_1", Exchange: "exc_1"}
	var done <-chan error
	x.Intent, done = j.Append(r)
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	out := r
	out.Kind, out.Body = pipeline.KindOutcome, &pipeline.Outcome{Status: 200, Text: string(benchBody[:1000]), ResponseID: "chatcmpl-1", ResponseModel: "gpt-4o-mini", Finish: []string{"stop"}}
	x.Outcome, done = j.Append(out)
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	l := NewLoader(j.Dir())
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Load(&x); err != nil {
			b.Fatal(err)
		}
	}
}
