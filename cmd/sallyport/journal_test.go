// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
	"github.com/sallyport-dev/sallyport/pipeline/journal/original"
)

// journalCmd writes a journal of one generation for a script: "journal DIR [ANCHORS [IDENTITY…]]". Ada says something in ses_1, bob in ses_2.
func journalCmd(ts *testscript.TestScript, _ bool, args []string) {
	o := journal.Options{Dir: ts.MkAbs(args[0]), BootID: "boot"}
	if len(args) > 1 {
		o.Anchors = anchor.Open(ts.MkAbs(args[1]))
	}
	originals := map[string][]byte{}
	var seal *original.Sealer
	if len(args) > 2 {
		var keys []string
		for _, name := range args[2:] {
			id, err := age.GenerateX25519Identity()
			ts.Check(err)
			ts.Check(os.WriteFile(ts.MkAbs(name), []byte(id.String()+"\n"), 0o600))
			keys = append(keys, id.Recipient().String())
		}
		s, err := original.New(keys)
		ts.Check(err)
		o.Seal, originals["ada"], seal = s.Seal, []byte(`{"say":"the very words"}`), s
	}
	j, err := journal.Open(o)
	ts.Check(err)
	if len(args) > 1 {
		for i, who := range []string{"ada", "bob"} {
			_, durable := j.Append(pipeline.Record{Kind: pipeline.KindIntent, Time: time.Date(2026, 1, 31, 11, i, 0, 0, time.UTC), Session: "ses_" + string(rune('1'+i)), Exchange: "exc_" + who,
				Body: &pipeline.Intent{Principal: pipeline.Principal{User: who}, Body: []byte(`{"say":"words of ` + who + `"}`), Original: originals[who]}})
			ts.Check(<-durable)
		}
		if seal != nil {
			replies(ts, j, seal)
		}
	}
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for i := range 10 {
		_, durable := j.Append(pipeline.Record{Kind: pipeline.KindFlow, Time: now.Add(time.Duration(i) * time.Second), Body: pipeline.Flow{ID: "flow"}})
		ts.Check(<-durable)
	}
	ts.Check(j.Close())
}

// replies writes exchanges of ses_1 of whose replies something was masked: whole, cut, still coming, and not kept.
func replies(ts *testscript.TestScript, j *journal.Journal, s *original.Sealer) {
	for i, x := range []struct {
		name   string
		last   bool
		cut    string
		reason string
		ended  bool
	}{{"ada", true, "", "", true}, {"cut", true, pipeline.KeptLimit, "", true}, {"open", false, "", "", false}, {"lost", false, "", "no recipient\x1b[2J", true}} {
		record := pipeline.Record{Time: time.Date(2026, 1, 31, 11, 5, i, 0, time.UTC), Session: "ses_1", Exchange: "exc_" + x.name}
		put := func(kind string, body any) {
			record.Kind, record.Body = kind, body
			_, durable := j.Append(record)
			ts.Check(<-durable)
		}
		if x.name != "ada" {
			put(pipeline.KindIntent, &pipeline.Intent{Body: []byte(`{"say":"words"}`)})
		}
		out := &pipeline.Outcome{Status: 200, Text: "[MASKED]", OriginalMissing: x.reason}
		if x.reason == "" {
			r := s.Reply(record.Exchange)
			key, err := r.Key()
			ts.Check(err)
			put(pipeline.KindOriginal, &pipeline.Original{Seq: 0, Bytes: 10, Key: key, Data: r.Piece(nil, []byte("what came "), false)})
			put(pipeline.KindOriginal, &pipeline.Original{Seq: 1, Bytes: 4, Data: r.Piece(nil, []byte("back"), x.last)})
			r.Close()
			out.Original = &pipeline.Kept{Pieces: 2, Bytes: 14, Cut: x.cut}
		}
		if x.ended {
			put(pipeline.KindOutcome, out)
		}
	}
}

// flipCmd changes one byte of a journal: "flip DIR TEXT" changes the first byte of TEXT in the newest segment.
func flipCmd(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*.segment"))
	ts.Check(err)
	for i := len(files) - 1; i >= 0; i-- {
		raw, err := os.ReadFile(files[i])
		ts.Check(err)
		for at := range raw {
			if string(raw[at:min(at+len(args[1]), len(raw))]) == args[1] {
				raw[at] ^= 1
				ts.Check(os.WriteFile(files[i], raw, 0o600))
				return
			}
		}
	}
	ts.Fatalf("no %q in %s", args[1], args[0])
}
