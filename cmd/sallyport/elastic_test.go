// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/fakees"
)

// elasticCmd starts an Elasticsearch, "elastic", and ships a journal with two exchanges to it, "elastic DIR". Its address is in $ES.
func elasticCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: elastic [DIR]")
	}
	f := fakees.New(func(format string, args ...any) { ts.Logf(format, args...) })
	ts.Defer(f.Close)
	ts.Setenv("ES", f.URL)
	if len(args) == 0 {
		return
	}
	j, err := journal.Open(journal.Options{Dir: ts.MkAbs(args[0]), SegmentBytes: 64 << 10})
	ts.Check(err)
	for i := range 2 {
		id := fmt.Sprint("exc_", i)
		j.Append(pipeline.Record{Kind: pipeline.KindIntent, Session: "ses_1", Exchange: id, Body: &pipeline.Intent{Principal: pipeline.Principal{User: "ada"},
			Call: pipeline.Call{Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "a prompt"}}}}})
		_, done := j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Session: "ses_1", Exchange: id, Body: &pipeline.Outcome{Status: 200, Text: "a reply"}})
		ts.Check(<-done)
	}
	s, err := elastic.New(elastic.Options{Options: client.Options{URLs: []string{f.URL}}, Journal: j, Host: "h1", Version: version, Linger: time.Millisecond, MinBackoff: time.Millisecond})
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); s.State().Lag != 0 || s.State().State != elastic.StateOK; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("not shipped: %+v", s.State())
		}
	}
	ts.Check(j.Close()) // with a last checkpoint, which is shipped before Run returns
	ts.Check(<-ended)
	cancel()
}
