// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/bench/internal/wire"
)

// TestRecord: a journal passes only if everything that was answered is in it, and each stream of a soak with its whole
// text.
func TestRecord(t *testing.T) {
	var text strings.Builder
	for i := range soakDeltas {
		text.WriteString(wire.Word(i, false))
	}
	const streams = 3
	for _, c := range []struct {
		name   string
		change func([]pipeline.Outcome) []pipeline.Outcome
		served int64
		want   string // part of the error; "" = none
	}{
		{"all of it", func(o []pipeline.Outcome) []pipeline.Outcome { return o }, streams + 1, ""},
		{"one is missing", func(o []pipeline.Outcome) []pipeline.Outcome { return o[:streams] }, streams + 1, "only 3 exchanges"},
		{"a stream is missing, and the provider forgot it as well", func(o []pipeline.Outcome) []pipeline.Outcome { return o[1:] }, streams, "2 of 3 streams"},
		{"a stream twice, another not at all", func(o []pipeline.Outcome) []pipeline.Outcome { o[0] = o[1]; return o }, streams + 1, "2 of 3 streams"},
		{"a word is missing", func(o []pipeline.Outcome) []pipeline.Outcome { o[1].Text = o[1].Text[4:]; return o }, streams + 1, "2 of 3 streams"},
		{"one was cut", func(o []pipeline.Outcome) []pipeline.Outcome { o[1].Cut = "client"; return o }, streams + 1, "1 exchanges are on record as refused or cut"},
		{"one was denied", func(o []pipeline.Outcome) []pipeline.Outcome { o[1].Verdict.Action = pipeline.Deny; return o }, streams + 1, "refused or cut"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []pipeline.Outcome
			for i := range streams {
				all = append(all, pipeline.Outcome{Status: 200, ResponseID: fmt.Sprintf("chatcmpl-bench-%d", i), Text: text.String()})
			}
			all = append(all, pipeline.Outcome{Status: 200, ResponseID: "chatcmpl-bench-0", Text: wire.Word(0, false)}) // of a warm-up
			dir := t.TempDir()
			j, err := journal.Open(journal.Options{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			for i, o := range c.change(all) {
				_, durable := j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Time: time.Now(), Exchange: fmt.Sprint("exc_", i), Body: &o})
				if err := <-durable; err != nil {
					t.Fatal(err)
				}
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := outcomes(dir)
			if err != nil {
				t.Fatal(err)
			}
			err = got.check(c.served, streams)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
