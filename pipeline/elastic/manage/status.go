// SPDX-License-Identifier: Apache-2.0

package manage

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
)

// StreamStatus is how one data stream is doing.
type StreamStatus struct {
	Stream    string    `json:"stream"`
	Exists    bool      `json:"exists"`
	Health    string    `json:"health,omitempty"`
	Indices   int       `json:"indices"`
	Documents int       `json:"documents"`
	Newest    time.Time `json:"newest,omitzero"` // of its documents
	Policy    string    `json:"policy,omitempty"`
}

// Status is how things stand in Elasticsearch.
type Status struct {
	Namespace string         `json:"namespace"`
	Streams   []StreamStatus `json:"streams"`
	Missing   []string       `json:"missing"` // templates and policies that are not there
	Unknown   []string       `json:"unknown"` // that the key may not ask for
}

// Ask finds out.
func Ask(ctx context.Context, c *client.Client, namespace string) (*Status, error) {
	st := &Status{Namespace: namespace, Missing: []string{}, Unknown: []string{}}
	for _, t := range document.Templates(document.Lifecycle{}) {
		switch err := c.Do(ctx, http.MethodGet, t.Path, nil, nil); {
		case client.Is(err, http.StatusNotFound):
			st.Missing = append(st.Missing, t.Kind+" "+t.Name)
		case client.Is(err, http.StatusForbidden):
			st.Unknown = append(st.Unknown, t.Kind+" "+t.Name)
		case err != nil:
			return nil, fmt.Errorf("asking for the %s %s: %w", t.Kind, t.Name, err)
		}
	}
	var streams struct {
		List []struct {
			Name    string `json:"name"`
			Status  string `json:"status"`
			Policy  string `json:"ilm_policy"`
			Indices []struct {
				Name string `json:"index_name"`
			} `json:"indices"`
		} `json:"data_streams"`
	}
	if err := c.Do(ctx, http.MethodGet, "/_data_stream/"+document.Pattern(namespace), nil, &streams); err != nil && !client.Is(err, http.StatusNotFound) {
		return nil, fmt.Errorf("asking for the data streams: %w", err)
	}
	for _, s := range document.Streams() {
		d := StreamStatus{Stream: s.Index(namespace), Policy: document.PolicyName(s.Class)}
		for _, is := range streams.List {
			if is.Name != d.Stream {
				continue
			}
			d.Exists, d.Health, d.Indices = true, is.Status, len(is.Indices)
			if is.Policy != "" {
				d.Policy = is.Policy
			}
			if err := newest(ctx, c, &d); err != nil {
				return nil, err
			}
		}
		st.Streams = append(st.Streams, d)
	}
	return st, nil
}

func newest(ctx context.Context, c *client.Client, d *StreamStatus) error {
	got, err := search(ctx, c, "/"+d.Stream+"/_search", map[string]any{"size": 1, "track_total_hits": true, "_source": []string{"@timestamp"},
		"query": map[string]any{"match_all": map[string]any{}}, "sort": []any{map[string]any{"@timestamp": "desc"}}})
	if client.Is(err, http.StatusForbidden) {
		d.Documents = -1 // not for this key to know
		return nil
	}
	if err != nil {
		return fmt.Errorf("counting the documents of %s: %w", d.Stream, err)
	}
	d.Documents = got.Hits.Total.Value
	for _, h := range got.Hits.Hits {
		var doc struct {
			Time time.Time `json:"@timestamp"`
		}
		if err := json.Unmarshal(h.Source, &doc); err == nil {
			d.Newest = doc.Time
		}
	}
	return nil
}

// Privileges are the bodies of requests that make keys and roles, for an administrator to send.
type Privilege struct {
	Doc  string          `json:"doc"`
	Path string          `json:"path"`
	Body json.RawMessage `json:"body"`
}

// Suggest gives the keys and roles that a namespace needs.
func Suggest(namespace string) []Privilege {
	all := document.Pattern(namespace)
	on := func(names []string, privileges ...string) map[string]any {
		return map[string]any{"names": names, "privileges": privileges}
	}
	key := func(name string, indices ...any) map[string]any {
		return map[string]any{"name": name, "role_descriptors": map[string]any{"shipper": map[string]any{"cluster": []string{"monitor"}, "indices": indices}}}
	}
	var metadata []string
	for _, s := range document.Streams() {
		if s.Class == document.ClassMetadata {
			metadata = append(metadata, s.Index(namespace))
		}
	}
	role := func(indices ...any) map[string]any { return map[string]any{"indices": indices} }
	list := []struct {
		doc, path string
		body      map[string]any
	}{
		{"A key for the agent that may only create: whoever has it can read nothing and change nothing. After a rollover, a document whose answer was lost can be there twice.",
			"/_security/api_key", key("sallyport-"+namespace, on([]string{all}, "create_doc", "auto_configure"))},
		{"A key for the agent that may look for such documents as well: whoever has it can read all of the streams.",
			"/_security/api_key", key("sallyport-"+namespace+"-look", on([]string{all}, "create_doc", "auto_configure", "read", "view_index_metadata"))},
		{"A role that reads what happened, and nothing of what was said.", "/_security/role/sallyport-" + namespace + "-metadata", role(on(metadata, "read", "view_index_metadata"))},
		{"A role that reads what was said.", "/_security/role/sallyport-" + namespace + "-content", role(on([]string{document.Index(document.Content, namespace)}, "read", "view_index_metadata"))},
		{"A role that reads what administrators did, and the anchors.", "/_security/role/sallyport-" + namespace + "-audit",
			role(on([]string{document.Index(document.Admin, namespace), document.Index(document.Agent, namespace)}, "read", "view_index_metadata"))},
		{"A role that erases contents, unless a legal hold is on record.", "/_security/role/sallyport-" + namespace + "-erase", role(on([]string{document.Index(document.Content, namespace)}, "read", "view_index_metadata", "delete", "maintenance"),
			on([]string{document.Index(document.Admin, namespace)}, "read"))},
	}
	var out []Privilege
	for _, p := range list {
		b, err := json.MarshalIndent(p.body, "", "  ")
		if err != nil {
			continue // maps of strings always encode
		}
		out = append(out, Privilege{p.doc, p.path, b})
	}
	return out
}
