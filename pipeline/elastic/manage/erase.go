// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
)

// Subject is whose contents are meant.
type Subject struct {
	Sessions  []string
	Principal string // SPIFFE ID or user
}

// queries are those of which a document of the subject fits one.
func (s *Subject) queries() (out []any) {
	for _, id := range s.Sessions {
		out = append(out, term("sallyport.session.id", id))
	}
	if s.Principal != "" {
		out = append(out, term("sallyport.principal.spiffe_id", s.Principal), term("user.name", s.Principal))
	}
	return out
}

// EraseOptions says how.
type EraseOptions struct {
	Dry   bool      // only count
	Holds []Subject // whose contents must stay, besides those of which Elasticsearch has a record
}

// ErrHeld says that a hold forbids to erase.
var ErrHeld = errors.New("a legal hold forbids it")

const (
	eraseRounds = 20   // how often what was written meanwhile is looked for again
	maxName     = 1024 // the longest name by which a document is found, in characters: ignore_above
)

// Erase deletes documents of contents, and says how many; when dry it only counts them. What was said is deleted, that something was
// said stays. If a document is of somebody under hold, of whichever host, nothing is deleted, and the error is ErrHeld. It needs the
// privileges read, delete and maintenance on the stream of contents, and read on that of administration, which tells of holds.
func Erase(ctx context.Context, c *client.Client, namespace string, s Subject, o EraseOptions) (deleted int, err error) {
	mine := s.queries()
	if len(mine) == 0 {
		return 0, errors.New("say whose contents are to be erased")
	}
	for _, name := range append([]string{s.Principal}, s.Sessions...) {
		if utf8.RuneCountInString(name) > maxName {
			return 0, fmt.Errorf("a name of more than %d characters is not indexed, and its documents cannot be found: erase the sessions, one by one", maxName)
		}
	}
	defer func() {
		if err != nil && deleted > 0 && !o.Dry {
			err = fmt.Errorf("%d documents were deleted, then: %w", deleted, err)
		}
	}()
	stream := document.Index(document.Content, namespace)
	for range eraseRounds {
		err := c.Do(ctx, http.MethodPost, "/"+stream+"/_refresh", nil, nil)
		if client.Is(err, http.StatusNotFound) {
			return deleted, nil
		}
		if err != nil {
			return deleted, fmt.Errorf("refreshing %s: %w", stream, err)
		}
		held, err := heldQueries(ctx, c, namespace, o.Holds)
		if err != nil {
			return deleted, err
		}
		if err := checkHeld(ctx, c, stream, mine, held); err != nil {
			return deleted, err
		}
		n, gone, err := eraseRound(ctx, c, stream, mine, held, o.Dry)
		if deleted += gone; o.Dry {
			deleted = n
		}
		if err != nil || o.Dry || n == 0 {
			return deleted, err
		}
	}
	return deleted, errors.New("there are still more: the session goes on, or the deletions do not take effect; try again later")
}

func anyOf(queries []any) map[string]any {
	return map[string]any{"bool": map[string]any{"should": queries}}
}

// checkHeld refuses if a document is under hold.
func checkHeld(ctx context.Context, c *client.Client, stream string, mine, held []any) error {
	if len(held) == 0 {
		return nil
	}
	got, err := search(ctx, c, "/"+stream+"/_search", map[string]any{"size": 0, "track_total_hits": true, "_source": false,
		"query": map[string]any{"bool": map[string]any{"filter": []any{anyOf(mine), anyOf(held)}}}})
	if err != nil {
		return fmt.Errorf("looking for documents under hold: %w", err)
	}
	if n := got.Hits.Total.Value; n > 0 {
		return fmt.Errorf("%d of these documents are under hold: %w: sallyport hold list, on the host that recorded it, says which", n, ErrHeld)
	}
	return nil
}

// eraseRound deletes what is there now: it was there n times, of which so many are gone. What came under hold meanwhile is left out.
func eraseRound(ctx context.Context, c *client.Client, stream string, mine, held []any, dry bool) (n, gone int, err error) {
	query := map[string]any{"filter": []any{anyOf(mine)}}
	if len(held) > 0 {
		query["must_not"] = []any{anyOf(held)}
	}
	var list []hit
	flush := func() error {
		if dry || len(list) == 0 {
			return nil
		}
		k, err := remove(ctx, c, list)
		gone, list = gone+k, list[:0]
		return err
	}
	err = each(ctx, c, stream, map[string]any{"bool": query}, false, func(h *hit) error {
		n++
		if list = append(list, *h); len(list) == 500 {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	return n, gone, err
}

// remove deletes documents where they are, by their IDs.
func remove(ctx context.Context, c *client.Client, list []hit) (gone int, err error) {
	var body bytes.Buffer
	ids := make([]string, len(list))
	for i := range list {
		line, err := json.Marshal(map[string]any{"delete": map[string]any{"_index": list[i].Index, "_id": list[i].ID}})
		if err != nil {
			return 0, err
		}
		body.Write(append(line, '\n'))
		ids[i] = list[i].ID
	}
	results, err := c.Bulk(ctx, "", "delete", body.Bytes(), ids)
	if err != nil {
		return 0, fmt.Errorf("deleting documents: %w", err)
	}
	busy := false
	for _, r := range results {
		switch r.Status {
		case http.StatusOK:
			gone++
		case http.StatusNotFound: // somebody else did
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			busy = true // the next round takes it
		default:
			return gone, fmt.Errorf("deleting document %s: %w", r.ID, &client.RequestError{Status: r.Status, Type: r.Error.Type, Reason: client.OneLine(r.Error.Reason)})
		}
	}
	if busy {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return gone, ctx.Err()
		}
	}
	return gone, nil
}
