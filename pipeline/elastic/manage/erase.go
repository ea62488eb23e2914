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

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
)

// Subject is whose contents are meant.
type Subject struct {
	Sessions  []string
	Principal string // SPIFFE ID or user
}

// eraseRounds bounds how often what was written meanwhile is looked for again.
const eraseRounds = 20

// Erase deletes documents of contents, and says how many; with dry it only counts them. What was said is deleted, that something was
// said stays. It needs the privileges read, delete and maintenance on the stream of contents.
func Erase(ctx context.Context, c *client.Client, namespace string, s Subject, dry bool) (deleted int, err error) {
	var should []any
	for _, id := range s.Sessions {
		should = append(should, term("sallyport.session.id", id))
	}
	if s.Principal != "" {
		should = append(should, term("sallyport.principal.spiffe_id", s.Principal), term("user.name", s.Principal))
	}
	if len(should) == 0 {
		return 0, errors.New("say whose contents are to be erased")
	}
	stream := document.Index(document.Content, namespace)
	query := map[string]any{"bool": map[string]any{"should": should}}
	for range eraseRounds {
		err := c.Do(ctx, http.MethodPost, "/"+stream+"/_refresh", nil, nil)
		if client.Is(err, http.StatusNotFound) {
			return deleted, nil
		}
		if err != nil {
			return deleted, fmt.Errorf("refreshing %s: %w", stream, err)
		}
		var list []hit
		n := 0
		flush := func() error {
			if dry || len(list) == 0 {
				return nil
			}
			gone, err := remove(ctx, c, list)
			deleted, list = deleted+gone, list[:0]
			return err
		}
		err = each(ctx, c, stream, query, false, func(h *hit) error {
			n++
			if list = append(list, *h); len(list) == 500 {
				return flush()
			}
			return nil
		})
		if err == nil {
			err = flush()
		}
		if err != nil || dry || n == 0 {
			return max(deleted, n), err
		}
	}
	return deleted, fmt.Errorf("%d documents were deleted, and there are still more: the session goes on, or the deletions do not take effect; try again later", deleted)
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
