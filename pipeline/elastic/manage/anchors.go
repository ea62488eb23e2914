// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/journal/anchor"
)

// Anchors gives the signed checkpoints of a host ("" = of all), the oldest first. One that is there twice is given once; whether a
// signature is right is for the verifier to say.
func Anchors(ctx context.Context, c *client.Client, namespace, host string) ([]anchor.Anchor, error) {
	filter := []any{map[string]any{"exists": map[string]any{"field": "sallyport.anchor.signature"}}}
	if host != "" {
		filter = append(filter, term("host.name", host))
	}
	var out []anchor.Anchor
	err := each(ctx, c, document.Index(document.Agent, namespace), map[string]any{"bool": map[string]any{"filter": filter}}, []string{"sallyport.anchor"}, func(h *hit) error {
		var doc struct {
			Sallyport struct {
				Anchor struct {
					anchor.Anchor
					Time string `json:"time"`
				}
			}
		}
		if err := json.Unmarshal(h.Source, &doc); err != nil {
			return fmt.Errorf("document %s in %s is no anchor: %w", h.ID, h.Index, err)
		}
		a := doc.Sallyport.Anchor.Anchor
		var err error
		if a.Time, err = time.Parse(time.RFC3339Nano, doc.Sallyport.Anchor.Time); err != nil {
			return fmt.Errorf("document %s in %s is no anchor: %w", h.ID, h.Index, err)
		}
		out = append(out, a)
		return nil
	})
	slices.SortStableFunc(out, func(a, b anchor.Anchor) int {
		return cmp.Or(cmp.Compare(a.Journal, b.Journal), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.Signature, b.Signature))
	})
	return slices.Compact(out), err
}
