// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
)

// The rule for documents in doubt.
//
// A document is created with the hash of its record as ID, so a second attempt is a conflict, which counts as done. But Elasticsearch
// sees a conflict only within the backing index that a data stream writes to now. So a document is in doubt if it may have been
// created before a rollover: its request was sent and the answer lost, cut, or one that does not say what was done; or this process
// did not write its record, so that an earlier one may have sent it. Such a document is looked for, by a get for each backing index
// from the one that was written to when the cursor was last saved, up to the newest, before it is sent again. A get by ID sees what
// was written, refreshed or not. What is found is done. If a rollover comes between the question and the second attempt, the first
// attempt is in an index that was asked.
//
// What is left: a request that the server still carries out after its connection was lost, and after the question, while a rollover
// comes in between. Looking needs the privileges read and view_index_metadata. Without them documents in doubt are sent as they are,
// and one can be there twice, with the same ID and event.hash, if a rollover came in between.

// lookDocs bounds one question.
const lookDocs = 1000

// settle returns those documents of which it is not known that they are there.
func (s *Shipper) settle(ctx context.Context, items []item) ([]item, error) {
	if s.blind {
		return items, nil
	}
	var streams []string
	for i := range items {
		if items[i].doubt && !slices.Contains(streams, items[i].Stream) {
			streams = append(streams, items[i].Stream)
		}
	}
	if len(streams) == 0 {
		return items, nil
	}
	found := map[string]bool{}
	for _, name := range streams {
		if err := s.look(ctx, name, items, found); err != nil {
			if client.Is(err, http.StatusForbidden) {
				s.setBlind(err)
				return items, nil
			}
			return items, err
		}
	}
	var left []item
	for i := range items {
		if items[i].doubt && found[items[i].ID] {
			continue
		}
		items[i].doubt = false
		left = append(left, items[i])
	}
	if n := len(items) - len(left); len(left) == 0 {
		s.succeed(n)
	} else {
		s.count(n)
	}
	return left, nil
}

// look finds out which documents in doubt of one stream are there.
func (s *Shipper) look(ctx context.Context, stream string, items []item, found map[string]bool) error {
	var answer struct {
		Streams []struct {
			Indices []struct {
				Name string `json:"index_name"`
			} `json:"indices"`
		} `json:"data_streams"`
	}
	err := s.client.Do(ctx, http.MethodGet, "/_data_stream/"+s.index(stream), nil, &answer)
	if client.Is(err, http.StatusNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for documents in doubt: %w", err)
	}
	if len(answer.Streams) == 0 {
		return nil
	}
	var indices []string // the oldest first
	for _, i := range answer.Streams[0].Indices {
		indices = append(indices, i.Name)
	}
	if at := slices.Index(indices, s.written[stream]); at >= 0 {
		indices = indices[at:]
	}
	type place struct {
		Index string `json:"_index"`
		ID    string `json:"_id"`
	}
	var ask []place
	flush := func() error {
		if len(ask) == 0 {
			return nil
		}
		var got struct {
			Docs []struct {
				ID    string `json:"_id"`
				Found bool   `json:"found"`
				Error struct {
					Type string `json:"type"`
				} `json:"error"`
			} `json:"docs"`
		}
		if err := s.client.Do(ctx, http.MethodPost, "/_mget?_source=false", map[string]any{"docs": ask}, &got); err != nil {
			return fmt.Errorf("looking for documents in doubt: %w", err)
		}
		if len(got.Docs) != len(ask) {
			return errors.New("looking for documents in doubt: the answer does not fit the question")
		}
		for i, d := range got.Docs {
			switch {
			case d.Error.Type == "":
			case strings.HasPrefix(d.Error.Type, "index_not_found"):
			case d.Error.Type == "security_exception":
				return &client.RequestError{Status: http.StatusForbidden, Type: d.Error.Type}
			default:
				return fmt.Errorf("looking for documents in doubt: %s", client.OneLine(d.Error.Type))
			}
			if d.Found && d.ID == ask[i].ID {
				found[d.ID] = true
			}
		}
		ask = ask[:0]
		return nil
	}
	for i := range items {
		if !items[i].doubt || items[i].Stream != stream {
			continue
		}
		for _, index := range indices {
			if ask = append(ask, place{index, items[i].ID}); len(ask) == lookDocs {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// setBlind notes that documents in doubt cannot be looked for.
func (s *Shipper) setBlind(err error) {
	s.blind = true
	s.mu.Lock()
	s.state.Blind = true
	s.mu.Unlock()
	s.o.Log.Warn("the Elasticsearch key may not look for documents whose answer was lost: after a rollover one can be there twice; see docs/elasticsearch.md", "error", err)
}

// seen notes which backing index a stream writes to.
func (s *Shipper) seen(stream, index string) {
	if index != "" {
		s.written[stream] = index
	}
}
