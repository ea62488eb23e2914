// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"context"
	"fmt"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
)

// ActionDeadLetter is the action of an admin record that says which documents were given up.
const ActionDeadLetter = "elastic.dead_letter"

// DeadLetters is the body of such a record. What the documents were made from is in the journal.
type DeadLetters struct {
	Action  string   `json:"action"`
	Target  string   `json:"target"` // the data stream of the first
	Reason  string   `json:"reason"` // that of the first
	Letters []letter `json:"letters"`
}

type letter struct {
	Stream   string            `json:"stream"`
	ID       string            `json:"id"`   // of the document
	Hash     string            `json:"hash"` // of the record
	Kind     string            `json:"kind"`
	Exchange string            `json:"exchange_id,omitempty"`
	At       pipeline.Position `json:"position"`
	Status   int               `json:"status,omitempty"` // of Elasticsearch; absent if the record could not be read
	Reason   string            `json:"reason"`

	own bool // of the record of a dead letter
}

func letterOf(it *item, status int, reason string) letter {
	r := &it.record
	return letter{it.Stream, it.ID, r.Hash.String(), r.Kind, r.Exchange, r.At, status, client.OneLine(reason), it.Action == ActionDeadLetter}
}

// maxLetters bounds one record.
const maxLetters = 100

// bury gives documents up: they are on record, counted, and not tried again. A document that tells of such a record, and is refused
// itself, makes no further record.
func (s *Shipper) bury(ctx context.Context, dead []letter) error {
	s.mu.Lock()
	s.state.Dead += uint64(len(dead))
	s.mu.Unlock()
	var note []letter
	for i := range dead {
		l := &dead[i]
		s.o.Log.Error("Elasticsearch refuses a document for good; its record stays in the journal", "stream", l.Stream, "hash", l.Hash, "exchange", l.Exchange, "status", l.Status, "error", l.Reason)
		if l.Stream == document.Content || l.Status == 0 {
			s.lacks(l.Exchange)
		}
		if !l.own {
			note = append(note, *l)
		}
	}
	for len(note) > 0 {
		n := min(len(note), maxLetters)
		body := &DeadLetters{ActionDeadLetter, s.index(note[0].Stream), note[0].Reason, note[:n]}
		_, done := s.o.Journal.Append(pipeline.Record{Kind: pipeline.KindAdmin, Time: time.Now(), Body: body})
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("recording a dead letter: %w", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		note = note[n:]
	}
	return nil
}
