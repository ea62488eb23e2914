// SPDX-License-Identifier: Apache-2.0

package elastic

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
)

// batch is what is gathered and sent before the cursor moves. Its memory is used again.
type batch struct {
	items []item
	bytes int
}

type item struct {
	document.Doc
	record document.Record
	doubt  bool // it may be there already: it was sent and its answer is not known
}

func (b *batch) reset() {
	clear(b.items)
	b.items, b.bytes = b.items[:0], 0
}

func (b *batch) add(d document.Doc, r document.Record, doubt bool) {
	b.items = append(b.items, item{d, r, doubt})
	b.bytes += len(d.JSON)
}

// send keeps trying until every document of the batch is acknowledged or buried. It returns an error only if the shipper cannot go
// on, or that of ctx.
func (s *Shipper) send(ctx context.Context, b *batch) error {
	pending := b.items
	for attempt := 0; len(pending) > 0; attempt++ {
		if err := s.prepare(ctx); err != nil {
			return err
		}
		left, err := s.settle(ctx, pending)
		if err == nil {
			left, err = s.try(ctx, left)
		}
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

// try sends documents once, in requests of a bounded size, and returns those that are still to be sent, with the reason.
func (s *Shipper) try(ctx context.Context, items []item) (left []item, err error) {
	for len(items) > 0 {
		n, size := 0, 0
		for n < len(items) && (n == 0 || size+len(items[n].JSON) <= s.o.BatchBytes) {
			size += len(items[n].JSON)
			n++
		}
		again, err := s.once(ctx, items[:n])
		left = append(left, again...)
		if items = items[n:]; err != nil {
			return append(left, items...), err
		}
	}
	return left, nil
}

// once sends one request, or several if Elasticsearch finds it too long.
func (s *Shipper) once(ctx context.Context, items []item) ([]item, error) {
	results, err := s.bulk(ctx, items)
	var re *client.RequestError
	if errors.As(err, &re) && re.Status == http.StatusRequestEntityTooLarge {
		if len(items) == 1 {
			if err := s.bury(ctx, []letter{letterOf(&items[0], re.Status, "the document is too long: "+re.Reason)}); err != nil {
				return nil, &localError{err}
			}
			return nil, nil
		}
		half := len(items) / 2
		left, err := s.once(ctx, items[:half])
		if err != nil {
			return slices.Concat(left, items[half:]), err
		}
		return s.once(ctx, items[half:])
	}
	if err != nil {
		if re == nil || re.Status >= 500 { // it may have been carried out
			for i := range items {
				items[i].doubt = true
			}
		}
		return items, err
	}
	var left []item
	var dead []letter
	var why error
	acked := 0
	for i, r := range results {
		switch {
		case r.Status == http.StatusCreated || r.Status == http.StatusOK || r.Status == http.StatusConflict:
			acked++
			s.seen(items[i].Stream, r.Index)
		case permanent(r.Status):
			dead = append(dead, letterOf(&items[i], r.Status, r.Error.Type+": "+r.Error.Reason))
		default:
			if r.Status == http.StatusNotFound {
				s.prepared = false // somebody has deleted the templates
			}
			if r.Status >= 500 {
				items[i].doubt = true // a shard may have it, and another not
			}
			left = append(left, items[i])
			why = &client.RequestError{Status: r.Status, Type: r.Error.Type, Reason: client.OneLine(r.Error.Reason)}
		}
	}
	if len(dead) > 0 {
		if err := s.bury(ctx, dead); err != nil {
			return nil, &localError{err}
		}
	}
	if why == nil {
		s.succeed(acked)
	} else {
		s.count(acked)
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

// bulk sends one request. It returns one result for each document, in their order.
func (s *Shipper) bulk(ctx context.Context, items []item) ([]client.Result, error) {
	size := 0
	ids := make([]string, len(items))
	for i := range items {
		ids[i] = items[i].ID
		size += len(items[i].JSON) + 192
	}
	body := bytes.NewBuffer(make([]byte, 0, size))
	for i := range items { // names and IDs need no escaping
		body.WriteString(`{"create":{"_index":"` + s.index(items[i].Stream) + `","_id":"` + ids[i] + "\"}}\n")
		body.Write(items[i].JSON)
		body.WriteByte('\n')
	}
	return s.client.Bulk(ctx, "require_data_stream=true&", "create", body.Bytes(), ids)
}

func (s *Shipper) index(stream string) string { return document.Index(stream, s.o.Namespace) }
