// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// other stands for a value that is in no configured set.
const other = "other"

// Options configures New.
type Options struct {
	Version   string
	Scopes    []string // the values that labels may have
	Endpoints []string
	Types     []string // of masked values
	// State is asked at each scrape; what it cannot tell is left out. nil = nothing.
	State func(context.Context) (State, error)
}

// Metrics counts. It is safe for concurrent use.
type Metrics struct {
	registry  *prometheus.Registry
	scopes    map[string]bool
	endpoints map[string]bool
	types     map[string]bool

	exchanges *prometheus.CounterVec
	cuts      *prometheus.CounterVec
	masks     *prometheus.CounterVec
	tokens    *prometheus.CounterVec
	estimated *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	overhead  prometheus.Histogram
	hold      prometheus.Histogram
}

// New makes the metrics.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), scopes: set(o.Scopes), endpoints: set(o.Endpoints), types: set(o.Types)}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "sallyport", Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	m.exchanges = counter("exchanges_total", "Exchanges that ended, by the most severe verdict.", "scope", "mode", "endpoint", "verdict", "enforced")
	m.cuts = counter("exchanges_cut_total", "Exchanges whose reply did not end by itself, by who ended it.", "by")
	m.masks = counter("masked_values_total", "Values that were masked in replies, by type.", "type")
	m.tokens = counter("tokens_total", "Tokens that providers counted or, where they did not say, an estimate.", "endpoint", "kind")
	m.estimated = counter("estimated_exchanges_total", "Exchanges whose tokens are, in part, an estimate.", "endpoint")
	m.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "sallyport", Name: "exchange_duration_seconds",
		Help: "From the request to the last byte of the reply.", Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300}}, []string{"endpoint"})
	m.overhead = prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "sallyport", Name: "exchange_overhead_seconds",
		Help: "Time that an exchange spent with the agent, waiting for provider and people left out.", Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .025, .1, .5}})
	m.hold = prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "sallyport", Name: "exchange_hold_seconds",
		Help: "Time that held exchanges waited for people.", Buckets: []float64{1, 5, 15, 60, 120, 300, 600, 1800}})
	m.registry.MustRegister(m.duration, m.overhead, m.hold, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(newStateCollector(o.State, m.scopes, o.Version))
	return m
}

func set(names []string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

// known is a value that a label may have.
func known(set map[string]bool, v string) string {
	if set[v] {
		return v
	}
	return other
}

// Answered counts an exchange that has ended. It keeps nothing of it.
func (m *Metrics) Answered(x *pipeline.Meta, o *pipeline.Outcome, used pipeline.Usage) {
	endpoint := known(m.endpoints, x.Endpoint.Name)
	m.exchanges.WithLabelValues(known(m.scopes, x.Scope), x.Mode.String(), endpoint, o.Verdict.Action.String(), fmt.Sprint(o.Enforced)).Inc()
	if o.Cut != "" {
		by := o.Cut
		if !cutters[by] {
			by = other
		}
		m.cuts.WithLabelValues(by).Inc()
	}
	for i := range o.Masks {
		m.masks.WithLabelValues(known(m.types, o.Masks[i].Type)).Inc()
	}
	for _, t := range []struct {
		kind string
		n    *int64
	}{{"input", used.InputTokens}, {"output", used.OutputTokens}, {"cached", used.CachedTokens}} {
		if t.n != nil && *t.n > 0 {
			m.tokens.WithLabelValues(endpoint, t.kind).Add(float64(*t.n))
		}
	}
	if o.Estimated(used) {
		m.estimated.WithLabelValues(endpoint).Inc()
	}
	m.duration.WithLabelValues(endpoint).Observe(float64(o.DurationMS) / 1000)
	m.overhead.Observe(float64(o.OverheadUS) / 1e6)
	if o.HoldMS > 0 {
		m.hold.Observe(float64(o.HoldMS) / 1000)
	}
}

// cutters are who can end a reply.
var cutters = map[string]bool{"client": true, "upstream": true, "agent": true, "error": true}

// Handler serves the metrics in the form that the scraper asks for.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Serve answers GET /metrics on a listener until ctx ends; then it returns nil. The listener is closed.
func (m *Metrics) Serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	s := &http.Server{Handler: hosts(mux), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 20 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.Shutdown(end) != nil {
			_ = s.Close()
		}
	})
	err := s.Serve(l)
	if !stop() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) && ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serving metrics: %w", err)
}

// hosts refuses requests that a web page of another name sends (DNS rebinding): the listener is known by its address.
func hosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if host != "localhost" && net.ParseIP(strings.Trim(host, "[]")) == nil {
			http.Error(w, "ask by address", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
