// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// BenchmarkStart is the time of a start as the daemon makes it (Open with an index, CloseOpen, Approvals) on a journal of JOURNAL_BENCH_RECORDS
// records, 100,000 unless it says otherwise, in conversations of ten turns. It must not grow with the journal.
func BenchmarkStart(b *testing.B) {
	records := 100_000
	if s := os.Getenv("JOURNAL_BENCH_RECORDS"); s != "" {
		var err error
		if records, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	j := open(b, Options{Dir: dir})
	var last <-chan error
	for i := 0; i < records; i += 3 {
		session := fmt.Sprint("ses_", i/30)
		r, _ := turn(session, i/3%10)
		r.Exchange = fmt.Sprint("exc_", i)
		j.Append(r)
		j.Append(pipeline.Record{Kind: pipeline.KindEvent, Session: session, Exchange: r.Exchange, Body: &pipeline.Event{Bytes: 60, Data: "data: {\"choices\":[{\"delta\":{\"content\":\"some words\"}}]}\n\n"}})
		_, last = j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Session: session, Exchange: r.Exchange, Body: &pipeline.Outcome{Status: 200, Text: "some words"}})
	}
	if err := <-last; err != nil {
		b.Fatal(err)
	}
	closeJournal(b, j)
	size, keys := int64(0), int64(0)
	for _, e := range must(os.ReadDir(dir)) {
		if info := must(e.Info()); !info.IsDir() {
			size += info.Size()
		}
	}
	for _, e := range must(os.ReadDir(keysDir(dir))) {
		keys += must(e.Info()).Size()
	}
	for b.Loop() {
		j, err := Open(Options{Dir: dir, Index: NewIndex(0)})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := j.CloseOpen(context.Background()); err != nil {
			b.Fatal(err)
		}
		if _, err := Approvals(dir, time.Now().Add(-48*time.Hour), func(pipeline.Record) error { return nil }); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		closeJournal(b, j)
		b.StartTimer()
	}
	b.ReportMetric(float64(size)/float64(records), "journal-B/record")
	b.ReportMetric(float64(keys)/float64(records), "keys-B/record")
}

// A start after a long run closes what was left open wherever it began, and reads no more than it must.
func TestStartReadsFromTheOldestOpenExchange(t *testing.T) {
	dir := t.TempDir()
	j := open(t, options(t, dir))
	fill := func(n int) {
		for i := range n {
			put(t, j, by("bob", "ses_1", 1))
			put(t, j, pipeline.Record{Kind: pipeline.KindOutcome, Session: "ses_1", Exchange: "exc_ses_1_1", Body: &pipeline.Outcome{Text: fmt.Sprint(i)}})
			put(t, j, event("exc_other", i, "x"))
		}
	}
	fill(150)
	at := put(t, j, by("bob", "ses_open", 0)) // never ends
	fill(150)
	dead := copyDir(t, dir)
	closeJournal(t, j)
	if newest := must(listSegments(dead)); at.Segment < 2 || len(newest) < int(at.Segment)+2 {
		t.Fatalf("the exchange begins in segment %d of %d", at.Segment, len(newest))
	}
	for i := range 2 {
		j = open(t, options(t, dead))
		if i == 0 {
			if from := must(j.unsettled()); from != at.Segment {
				t.Errorf("reading from segment %d, want %d", from, at.Segment)
			}
		}
		n, err := j.CloseOpen(context.Background())
		if err != nil || n != 1-i {
			t.Errorf("start %d closed %d exchanges: %v", i, n, err)
		}
		closeJournal(t, j)
	}
	cut := 0
	for _, e := range entries(t, dead) {
		var o pipeline.Outcome
		if e.Kind == pipeline.KindOutcome && e.Exchange == "exc_ses_open_0" && e.Decode(&o) == nil && o.Cut == CutAgent {
			cut++
		}
	}
	if cut != 1 {
		t.Errorf("cut %d times", cut)
	}
}
