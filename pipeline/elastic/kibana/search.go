// SPDX-License-Identifier: Apache-2.0

package kibana

import (
	"strconv"
)

// Search is what Elasticsearch is asked for one panel or saved search.
type Search struct {
	ID     string
	Stream Stream
	Body   map[string]any
	Fields []string // that it names outside of its query
	Query  string   // in Lucene's syntax; empty: everything
	Levels int      // nested buckets; their aggregations are named 100, 101, …
}

// Searches lists what Kibana asks for all panels and saved searches. since is the start of the time shown, such as "now-7d".
func Searches(since string) []Search {
	var out []Search
	for _, b := range boards() {
		for i := range b.panels {
			out = append(out, b.panels[i].search(since))
		}
	}
	for _, s := range searches() {
		out = append(out, Search{ID: s.id, Stream: s.stream, Query: s.query, Fields: s.columns, Body: map[string]any{
			"size": 10, "query": query(s.query, since), "fields": s.columns, "sort": []any{map[string]any{timeField: "desc"}}}})
	}
	return out
}

// query is how Kibana combines the query of a panel with the time shown.
func query(lucene, since string) map[string]any {
	must := []any{map[string]any{"range": map[string]any{timeField: map[string]any{"gte": since}}}}
	if lucene != "" {
		must = append(must, map[string]any{"query_string": map[string]any{"query": lucene, "analyze_wildcard": true}})
	}
	return map[string]any{"bool": map[string]any{"filter": must}}
}

// The names of aggregations: metrics count from 1, buckets from 100.
func metricID(i int) string { return strconv.Itoa(1 + i) }
func bucketID(i int) string { return strconv.Itoa(100 + i) }

func (p *panel) search(since string) Search {
	s := Search{ID: p.id, Stream: p.stream, Query: p.query, Levels: len(p.buckets)}
	figures := func() map[string]any {
		out := map[string]any{}
		for i, m := range p.metrics {
			switch m.agg {
			case "count": // each bucket says it by itself
			case "percentiles":
				out[metricID(i)] = map[string]any{m.agg: map[string]any{"field": m.field, "percents": m.percents}}
			default:
				out[metricID(i)] = map[string]any{m.agg: map[string]any{"field": m.field}}
			}
		}
		return out
	}
	aggs := figures()
	for i := len(p.buckets) - 1; i >= 0; i-- {
		outer := figures()
		outer[bucketID(i)] = map[string]any{p.buckets[i].agg: p.divide(i), "aggs": aggs}
		aggs = outer
	}
	for _, m := range p.metrics {
		if m.field != "" {
			s.Fields = append(s.Fields, m.field)
		}
	}
	for _, b := range p.buckets {
		s.Fields = append(s.Fields, b.field)
	}
	s.Body = map[string]any{"size": 0, "track_total_hits": true, "query": query(p.query, since), "aggs": aggs}
	return s
}

func (p *panel) divide(i int) map[string]any {
	b := p.buckets[i]
	if b.agg == "date_histogram" {
		return map[string]any{"field": b.field, "fixed_interval": "1h", "min_doc_count": 1, "time_zone": "UTC"}
	}
	order := "_count"
	if p.metrics[0].agg != "count" {
		order = metricID(0)
	}
	return map[string]any{"field": b.field, "size": b.size, "order": map[string]any{order: "desc"}}
}
