// SPDX-License-Identifier: Apache-2.0

package kibana

// Stream is a data stream that Sallyport writes: the last part of its data set's name.
type Stream string

// The data streams. All stands for all of them at once.
const (
	All      Stream = "*"
	Exchange Stream = "exchange"
	Content  Stream = "content"
	Decision Stream = "decision"
	Flow     Stream = "flow"
	Admin    Stream = "admin"
	Agent    Stream = "agent"
)

// Streams lists the data streams, without All.
func Streams() []Stream { return []Stream{Exchange, Content, Decision, Flow, Admin, Agent} }

// Pattern matches the data streams of all tenants.
func (s Stream) Pattern() string { return "logs-sallyport." + string(s) + "-*" }

func (s Stream) viewID() string {
	if s == All {
		return "sallyport-all"
	}
	return "sallyport-" + string(s)
}

// kind is how a panel looks.
type kind string

const (
	number kind = "metric"         // one big figure for each metric
	bars   kind = "histogram"      // bars that stand on an axis of time
	ranks  kind = "horizontal_bar" // bars beside names
	table  kind = "table"
)

// metric is one figure.
type metric struct {
	agg      string // an aggregation of Elasticsearch, or count
	field    string
	label    string
	percents []float64
}

func count(label string) metric         { return metric{agg: "count", label: label} }
func sum(field, label string) metric    { return metric{agg: "sum", field: field, label: label} }
func latest(field, label string) metric { return metric{agg: "max", field: field, label: label} }
func different(field, label string) metric {
	return metric{agg: "cardinality", field: field, label: label}
}
func percentile(field, label string) metric {
	return metric{"percentiles", field, label, []float64{50, 95, 99}}
}

// bucket divides documents.
type bucket struct {
	agg   string // date_histogram or terms
	field string
	label string
	size  int // of terms
}

func overTime() bucket                        { return bucket{agg: "date_histogram", field: timeField, label: "Time"} }
func by(field, label string, size int) bucket { return bucket{"terms", field, label, size} }
func (p panel) of(b ...bucket) panel          { p.buckets = append(p.buckets, b...); return p }
func (p panel) shows(m ...metric) panel       { p.metrics = append(p.metrics, m...); return p }
func (p panel) where(query string) panel      { p.query = query; return p }
func (p panel) sized(width, height int) panel { p.width, p.height = width, height; return p }
func (p panel) on(s Stream) panel             { p.stream = s; return p }
func show(k kind, id, title string) panel {
	return panel{kind: k, id: id, title: title, stream: Exchange}
}
func (s savedSearch) where(q string) savedSearch { s.query = q; return s }
func (s savedSearch) on(v Stream) savedSearch    { s.stream = v; return s }
func list(id, title string, c ...string) savedSearch {
	return savedSearch{id: id, title: title, stream: Exchange, columns: c}
}

// panel is one visualisation. Terms are ordered by the first metric, most first.
type panel struct {
	kind          kind
	id, title     string
	stream        Stream
	query         string // Lucene; empty: all
	metrics       []metric
	buckets       []bucket
	width, height int // of 48 columns
}

// savedSearch is a list of documents, newest first.
type savedSearch struct {
	id, title string
	stream    Stream
	query     string
	columns   []string
}

// board is one dashboard. Panels are set in rows from left to right; the search stands below them.
type board struct {
	id, title, description string
	panels                 []panel
	search                 string // ID of a saved search
}

const (
	timeField = "@timestamp"
	columns   = 48 // of a dashboard's grid
)
