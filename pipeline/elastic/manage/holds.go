// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// heldQueries are those of which a document under hold fits one: the holds that are given, and those that Elasticsearch has a record of, of
// all hosts of the tenant. A hold is released by the host that made it.
func heldQueries(ctx context.Context, c *client.Client, namespace string, given []Subject) (out []any, err error) {
	for i := range given {
		out = append(out, given[i].queries()...)
	}
	all, err := recordedHolds(ctx, c, namespace)
	if err != nil {
		return nil, fmt.Errorf("whether a legal hold forbids it cannot be known: %w", err)
	}
	for i := range all {
		out = append(out, all[i].queries()...)
	}
	return out, nil
}

// change is a record of a hold, or of its release.
type change struct {
	host                 string
	time                 time.Time
	generation, sequence uint64
	body                 journal.HoldChange
}

// recordedHolds folds the records of administration into the holds that are in force.
func recordedHolds(ctx context.Context, c *client.Client, namespace string) (out []Subject, err error) {
	stream := document.Index(document.Admin, namespace)
	query := anyOf([]any{term("event.action", journal.ActionHold), term("event.action", journal.ActionRelease)})
	var list []change
	err = each(ctx, c, stream, query, true, func(h *hit) error {
		var doc struct {
			Time      time.Time `json:"@timestamp"`
			Host      struct{ Name string }
			Sallyport struct {
				Record struct{ Generation, Sequence uint64 }
				Admin  struct{ Detail string }
			}
		}
		x := change{}
		err := json.Unmarshal(h.Source, &doc)
		if err == nil {
			err = json.Unmarshal([]byte(doc.Sallyport.Admin.Detail), &x.body)
		}
		if err != nil {
			return fmt.Errorf("document %s in %s tells of a hold and cannot be read: %w", h.ID, h.Index, err)
		}
		x.host, x.time, x.generation, x.sequence = doc.Host.Name, doc.Time, doc.Sallyport.Record.Generation, doc.Sallyport.Record.Sequence
		list = append(list, x)
		return nil
	})
	if client.Is(err, http.StatusForbidden) {
		return nil, fmt.Errorf("the privilege read on %s is needed: %w", stream, err)
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b change) int {
		return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.generation, b.generation), cmp.Compare(a.sequence, b.sequence))
	})
	type key struct {
		host string
		of   journal.Subject
	}
	var order []key
	held := map[key]bool{}
	for i := range list {
		k := key{list[i].host, list[i].body.Subject}
		if !slices.Contains(order, k) {
			order = append(order, k)
		}
		held[k] = list[i].body.Action == journal.ActionHold
	}
	for _, k := range order {
		s := Subject{Principal: k.of.Principal}
		if k.of.Session != "" {
			s.Sessions = []string{k.of.Session}
		}
		if held[k] {
			out = append(out, s)
		}
	}
	return out, nil
}
