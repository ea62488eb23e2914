// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
)

// difference names the first field that is not the same; false if there is one. "+" before it: this program makes the field, and the
// document does not have it; "-": anything else. If the contents are gone, the document may be older than that.
func difference(want, got []byte, gone bool) (string, bool) {
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
	if gone {
		before(fa, fb)
	}
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

// before makes two documents alike as far as one was made when the contents were still there: what else came from them cannot be checked
// any more.
func before(now, then map[string]string) {
	const state = "sallyport.content.state"
	if _, ok := then[state]; ok {
		return
	}
	delete(now, state)
	for _, name := range []string{"sallyport.step.offered", "sallyport.request.sha256"} {
		if _, ok := now[name]; !ok {
			delete(then, name)
		}
	}
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

// search asks once. An answer without all that is there is an error: what is not seen must not be taken for what is not.
func search(ctx context.Context, c *client.Client, path string, ask any) (*found, error) {
	got := new(found)
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	if err := c.Do(ctx, http.MethodPost, path+sep+"allow_partial_search_results=false", ask, got); err != nil {
		return nil, err
	}
	if got.TimedOut || got.Shards.Failed > 0 {
		return nil, fmt.Errorf("not all could be searched: %d of %d shards failed; see the health of Elasticsearch, and try again", got.Shards.Failed, got.Shards.Total)
	}
	return got, nil
}

// each gives all documents that a query finds in a data stream, as they were when it began. One that does not exist has none.
func each(ctx context.Context, c *client.Client, stream string, query, source any, take func(*hit) error) error {
	var pit struct {
		ID string `json:"id"`
	}
	err := c.Do(ctx, http.MethodPost, "/"+stream+"/_pit?keep_alive=5m", nil, &pit)
	if client.Is(err, http.StatusNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("searching %s for documents: %w", stream, err)
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
		got, err := search(ctx, c, "/_search", ask)
		if err != nil {
			return fmt.Errorf("searching %s for documents: %w", stream, err)
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
