// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// batch is what one request carries. Its memory is used again.
type batch struct {
	items []item
	bytes int
}

type item struct {
	id       string // record hash
	exchange string
	at       pipeline.Position
	doc      []byte
}

func (b *batch) reset() {
	clear(b.items)
	b.items, b.bytes = b.items[:0], 0
}

func (b *batch) add(x *journal.Refs, doc []byte) {
	b.items = append(b.items, item{x.Hash.String(), x.Exchange, x.Outcome, doc})
	b.bytes += len(doc)
}

// send keeps trying until every document of the batch is acknowledged or buried. It returns an error only if the
// shipper cannot go on, or that of ctx.
func (s *Shipper) send(ctx context.Context, b *batch) error {
	pending := b.items
	for attempt := 0; len(pending) > 0; attempt++ {
		if err := s.prepare(ctx); err != nil {
			return err
		}
		left, err := s.try(ctx, pending)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var local *localError
		if errors.As(err, &local) {
			return local.error
		}
		if len(left) < len(pending) {
			attempt = 0
		}
		pending = left
		if err != nil {
			s.fail(StateRetrying, err)
			if err := s.pause(ctx, attempt); err != nil {
				return err
			}
		}
	}
	return nil
}

// localError is an error of our own files, not of Elasticsearch.
type localError struct{ error }

// requestError is an answer to a whole request.
type requestError struct {
	status int
	reason string
}

func (e *requestError) Error() string {
	msg := fmt.Sprintf("Elasticsearch answered %d %s", e.status, http.StatusText(e.status))
	if e.reason != "" {
		msg += ": " + e.reason
	}
	switch e.status {
	case http.StatusUnauthorized:
		msg += "; check elasticsearch.api_key_file"
	case http.StatusForbidden:
		msg += "; the key needs create_doc and auto_configure on " + templateName + "-*"
	}
	return msg
}

// try sends documents once and returns those that are still to be sent, with the reason.
func (s *Shipper) try(ctx context.Context, items []item) ([]item, error) {
	results, err := s.bulk(ctx, items)
	var re *requestError
	if errors.As(err, &re) && re.status == http.StatusRequestEntityTooLarge {
		if len(items) == 1 {
			if err := s.bury(&items[0], re.status, re.reason); err != nil {
				return nil, &localError{err}
			}
			return nil, nil
		}
		half := len(items) / 2
		left, err := s.try(ctx, items[:half])
		if err != nil {
			return slices.Concat(left, items[half:]), err
		}
		return s.try(ctx, items[half:])
	}
	if err != nil {
		return items, err
	}
	var left []item
	var why error
	acked := 0
	for i, r := range results {
		switch {
		case r.Status == http.StatusCreated || r.Status == http.StatusOK || r.Status == http.StatusConflict:
			acked++
		case permanent(r.Status):
			if err := s.bury(&items[i], r.Status, r.Error.Type+": "+r.Error.Reason); err != nil {
				return nil, &localError{err}
			}
		default:
			if r.Status == http.StatusNotFound {
				s.prepared = false // somebody has deleted the templates
			}
			left = append(left, items[i])
			why = &requestError{r.Status, r.Error.Type + ": " + r.Error.Reason}
		}
	}
	if why == nil {
		s.succeed(acked)
	} else {
		s.mu.Lock()
		s.state.Acked += uint64(acked)
		s.mu.Unlock()
	}
	return left, why
}

// permanent says that a document is at fault, not the state of the server: a read-only index, missing rights and a
// missing template can be mended.
func permanent(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status < 500
}

// result is the answer to one document.
type result struct {
	ID     string `json:"_id"`
	Status int    `json:"status"`
	Error  struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	} `json:"error"`
}

// maxAnswer bounds what is read of an answer: some 400 bytes a document, errors included.
const maxAnswer = 16 << 20

// bulk sends one request. It returns one result for each document, in their order.
func (s *Shipper) bulk(ctx context.Context, items []item) ([]result, error) {
	var body bytes.Buffer
	for i := range items {
		body.WriteString(`{"create":{"_id":"` + items[i].id + "\"}}\n") // hex digits
		body.Write(items[i].doc)
		body.WriteByte('\n')
	}
	yes := true
	res, err := esapi.BulkRequest{Index: s.stream, Body: &body, RequireDataStream: &yes,
		FilterPath: []string{"errors", "items.*._id", "items.*.status", "items.*.error.type", "items.*.error.reason"}}.Do(ctx, s.client)
	if err != nil {
		return nil, fmt.Errorf("sending to Elasticsearch: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading Elasticsearch's answer: %w", err)
	}
	if res.IsError() {
		return nil, &requestError{res.StatusCode, reasonOf(raw)}
	}
	var answer struct {
		Items []map[string]result `json:"items"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, fmt.Errorf("reading Elasticsearch's answer: %w", err)
	}
	if len(answer.Items) != len(items) {
		return nil, fmt.Errorf("the answer of Elasticsearch is for %d of %d documents", len(answer.Items), len(items))
	}
	out := make([]result, len(items))
	for i, m := range answer.Items {
		r, ok := m["create"]
		if !ok || r.ID != items[i].id {
			return nil, errors.New("the answer of Elasticsearch is for other documents than were sent")
		}
		out[i] = r
	}
	return out, nil
}

// reasonOf finds the reason in the body of an error, which may be anything.
func reasonOf(raw []byte) string {
	var e struct {
		Error json.RawMessage `json:"error"`
	}
	var detail struct {
		Type   string `json:"type"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal(raw, &e) != nil || json.Unmarshal(e.Error, &detail) != nil {
		return ""
	}
	return oneLine(detail.Type + ": " + detail.Reason)
}
