// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/fakees"
)

// While the server is away the journal grows and memory does not. Run it with -benchtime 1000000x for a million records.
func BenchmarkServerAway(b *testing.B) {
	f := fakees.New(b.Errorf)
	defer f.Close()
	f.OnBulk = func(_ int, w http.ResponseWriter) bool {
		fakees.Refuse(w, http.StatusServiceUnavailable, "unavailable", "away")
		return true
	}
	j, err := journal.Open(journal.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	s, err := New(Options{Options: client.Options{URLs: []string{f.URL}}, Journal: j, Host: "h1", MaxBackoff: 100 * time.Millisecond})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	body := json.RawMessage(`{"messages":[{"role":"user","content":"a prompt of some words that is as long as short ones are"}]}`)
	n := 0
	var last <-chan error
	write := func(records int) {
		for ; records > 0; records -= 2 {
			id := fmt.Sprint("exc_", n)
			n += 2
			j.Append(pipeline.Record{Kind: pipeline.KindIntent, Session: "ses_1", Exchange: id, Awaited: true, Body: &pipeline.Intent{Call: pipeline.Call{Operation: "chat", Model: "m"}, Body: body}})
			_, last = j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Session: "ses_1", Exchange: id, Awaited: true, Body: &pipeline.Outcome{Status: 200, Text: "a reply"}})
		}
		if err := <-last; err != nil {
			b.Fatal(err)
		}
	}
	write(10_000)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.State().State != StateRetrying {
		<-tick.C
	}
	before := heap()
	b.ResetTimer()
	write(b.N)
	b.StopTimer()
	b.ReportMetric((heap()-before)/1e6, "MB-heap-more")
	b.ReportMetric(before/1e6, "MB-heap-before")
	b.ReportMetric(float64(j.State().Bytes)/float64(n), "disk-B/record")
	if st := s.State(); st.State != StateRetrying || st.Lag < int64(b.N) {
		b.Errorf("state %+v", st)
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
	if err := j.Close(); err != nil {
		b.Error(err)
	}
}
