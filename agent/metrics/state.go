// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// State is what the daemon is asked for at each scrape.
type State struct {
	Ready bool
	// Values are numbers by the name of their metric, less the prefix "sallyport_". A name that is not in the table is left out.
	Values map[string]float64
	// Modes is the mode of each scope.
	Modes map[string]string
}

// numbers are the metrics of State.Values.
var numbers = []struct {
	name, help string
	counter    bool
}{
	{"connections_seen_total", "Connections of protected workloads that the kernel saw.", true},
	{"connections_proxied_total", "Connections that came to the proxy.", true},
	{"connections_passed_total", "Connections that were let pass.", true},
	{"connections_denied_total", "Connections that were refused.", true},
	{"connections_missed_total", "Connections that came to the proxy and that the kernel had no record of.", true},
	{"connections_unexplained", "Connections of protected workloads that are in no record.", false},
	{"connections_bypassed_total", "Connections that passed while a bypass was open.", true},
	{"kernel_errors_total", "Refusals and overflows that the kernel programs counted.", true},
	{"journal_bytes", "Size of the journal.", false},
	{"journal_full", "1 while the journal takes no new exchanges.", false},
	{"archive_exchanges", "Exchanges in the search store.", false},
	{"archive_bytes", "Size of the search store.", false},
	{"archive_stopped", "1 while the search store takes no exchanges.", false},
	{"archive_rebuilds_total", "How often a search store that could not be used was built anew since the start.", true},
	{"elasticsearch_lag_records", "Records that Elasticsearch has not taken yet.", false},
	{"elasticsearch_documents_total", "Documents that Elasticsearch has taken since the start.", true},
	{"elasticsearch_dead_letters_total", "Documents that Elasticsearch refused for good since the start.", true},
	{"approvals_waiting", "What waits for people.", false},
	{"elevations_active", "Roles that are granted for a time.", false},
	{"untrusted_processes", "Processes whose trust in our root is not proven.", false},
	{"quarantined", "Workloads that are cut off.", false},
	{"certificate_expiry_seconds", "Until the first of our certificates ends.", false},
}

// stateCollector asks for the state at each scrape.
type stateCollector struct {
	state   func(context.Context) (State, error)
	scopes  map[string]bool
	version string

	up, ready, build, scope *prometheus.Desc
	numbers                 []*prometheus.Desc // as the table of that name
}

// newStateCollector describes the metrics once.
func newStateCollector(state func(context.Context) (State, error), scopes map[string]bool, version string) *stateCollector {
	c := &stateCollector{state: state, scopes: scopes, version: version, up: desc("up", "1 if the state could be read."), ready: desc("ready", "1 if the agent is ready."),
		build: desc("build_info", "Version of the agent.", "version"), scope: desc("scope_info", "Mode of each scope.", "scope", "mode")}
	for _, n := range numbers {
		c.numbers = append(c.numbers, desc(n.name, n.help))
	}
	return c
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sallyport_"+name, help, labels, nil)
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range append([]*prometheus.Desc{c.up, c.ready, c.build, c.scope}, c.numbers...) {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.build, 1, c.version)
	if c.state == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	st, err := c.state(ctx)
	gauge(c.up, number(err == nil))
	if err != nil {
		return
	}
	gauge(c.ready, number(st.Ready))
	for scope, mode := range st.Modes {
		if c.scopes[scope] {
			gauge(c.scope, 1, scope, mode)
		}
	}
	for i, n := range numbers {
		v, ok := st.Values[n.name]
		if !ok {
			continue
		}
		kind := prometheus.GaugeValue
		if n.counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(c.numbers[i], kind, v)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
