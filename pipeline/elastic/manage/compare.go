// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// difference names the first field that is not the same; false if there is one. "+" before it: this program makes the field, and the
// document does not have it; "-": anything else.
func difference(want, got []byte) (string, bool) {
	if bytes.Equal(want, got) {
		return "", true
	}
	var a, b map[string]any
	if json.Unmarshal(want, &a) != nil || json.Unmarshal(got, &b) != nil {
		return "-document", false
	}
	fa, fb := map[string]string{}, map[string]string{}
	flatten("", a, fa)
	flatten("", b, fb)
	more := ""
	for name, v := range fa {
		w, ok := fb[name]
		if ok && v != w {
			return "-" + name, false
		}
		if !ok {
			more = "+" + name
		}
	}
	for name := range fb {
		if _, ok := fa[name]; !ok {
			return "-" + name, false
		}
	}
	return more, more == ""
}

func flatten(at string, v any, out map[string]string) {
	if m, ok := v.(map[string]any); ok {
		for k, v := range m {
			flatten(strings.TrimPrefix(at+"."+k, "."), v, out)
		}
		return
	}
	b, _ := json.Marshal(v) // what was read as JSON encodes
	out[at] = string(b)
}

// pageDocs is how many documents are asked for at once where their contents are not needed.
const pageDocs = 2000

// each gives all documents that a query finds in the data streams that a pattern names, as they were when it began.
func each(ctx context.Context, c *client.Client, pattern string, query, source any, take func(*hit) error) error {
	var pit struct {
		ID string `json:"id"`
	}
	err := c.Do(ctx, http.MethodPost, "/"+pattern+"/_pit?keep_alive=5m&ignore_unavailable=true", nil, &pit)
	if client.Is(err, http.StatusNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("searching for documents: %w", err)
	}
	defer func() { // it ends by itself, later
		_ = c.Do(context.WithoutCancel(ctx), http.MethodDelete, "/_pit", map[string]any{"id": pit.ID}, nil)
	}()
	var after []any
	for {
		ask := map[string]any{"size": pageDocs, "query": query, "_source": source, "track_total_hits": false,
			"pit": map[string]any{"id": pit.ID, "keep_alive": "5m"}, "sort": []any{map[string]any{"_shard_doc": "asc"}}}
		if after != nil {
			ask["search_after"] = after
		}
		var got found
		if err := c.Do(ctx, http.MethodPost, "/_search", ask, &got); err != nil {
			return fmt.Errorf("searching for documents: %w", err)
		}
		if len(got.Hits.Hits) == 0 {
			return nil
		}
		if got.Pit != "" {
			pit.ID = got.Pit
		}
		for i := range got.Hits.Hits {
			if err := take(&got.Hits.Hits[i]); err != nil {
				return err
			}
		}
		after = got.Hits.Hits[len(got.Hits.Hits)-1].Sort
	}
}

func term(field, value string) map[string]any {
	return map[string]any{"term": map[string]any{field: value}}
}

// foreign looks for documents of this host that the journal has no record of.
func (v *verifier) foreign(ctx context.Context) error {
	prefix, suffix, _ := strings.Cut(document.Pattern(v.o.Namespace), "*")
	source := []string{"sallyport.record.segment", "sallyport.record.offset"}
	return each(ctx, v.c, document.Pattern(v.o.Namespace), term("host.name", v.o.Host), source, func(h *hit) error {
		var doc struct {
			Sallyport struct {
				Record struct{ Segment, Offset uint64 }
			}
		}
		_, stream, _ := strings.Cut(h.Index, prefix)
		stream, _, _ = strings.Cut(stream, suffix)
		id, part, _ := strings.Cut(h.ID, "-")
		raw, err := hex.DecodeString(id)
		if err != nil || len(raw) != len(journal.Hash{}) || json.Unmarshal(h.Source, &doc) != nil {
			v.rep.add(Problem{Foreign, stream, h.ID, "its ID is no hash of a record"})
			return nil
		}
		if state, ok := v.known[short(journal.Hash(raw))]; ok {
			if part != "" && state {
				v.rep.add(Problem{Left, stream, h.ID, "its contents were erased in the journal: sallyport elastic erase"})
			}
			return nil
		}
		if at := doc.Sallyport.Record; at.Segment < v.oldest.Segment {
			v.rep.Older++
			return nil
		}
		v.rep.add(Problem{Foreign, stream, h.ID, ""})
		return nil
	})
}
