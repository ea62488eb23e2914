// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/sallyport-dev/sallyport/pipeline"
)

func full() State {
	st := State{Ready: true, Values: map[string]float64{"not_in_the_table": 1}, Modes: map[string]string{"agents": "enforce", "made-up": "off"}}
	for i, n := range numbers {
		st.Values[n.name] = float64(i)
	}
	return st
}

func scrape(t *testing.T, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// exchange is one of which everything can be counted. Its strings are what must be in no metric.
func exchange() (*pipeline.Meta, *pipeline.Call, *pipeline.Outcome) {
	n := int64(7)
	m := &pipeline.Meta{Session: "ses_canary", Exchange: "exc_canary", Scope: "agents", Mode: pipeline.ModeEnforce, Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai"}}
	c := &pipeline.Call{Operation: "chat", Model: "gpt", Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "canary-prompt"}}}
	o := &pipeline.Outcome{Status: 200, Verdict: pipeline.Verdict{Action: pipeline.Deny, Rule: "guardrail/x", Reason: "canary-reason"}, Enforced: true, Cut: "client", Text: "canary-answer",
		CutReason: "canary-cut", Tools: []pipeline.Step{{Name: "canary-tool"}}, Masks: []pipeline.Mask{{Type: "EMAIL", Fingerprint: "canary-print"}, {Type: "NEW_TYPE"}},
		Usage: pipeline.Usage{InputTokens: &n}, DurationMS: 1500, OverheadUS: 300, HoldMS: 2000}
	return m, c, o
}

// TestEstimated: what is counted as an estimate is what pipeline.Outcome calls one, as in the archive; also a cut reply whose tokens are
// what the provider had said by then.
func TestEstimated(t *testing.T) {
	n := int64(9)
	all := pipeline.Usage{InputTokens: &n, OutputTokens: &n}
	for _, c := range []struct {
		name string
		o    pipeline.Outcome
		want bool
	}{
		{"said", pipeline.Outcome{Text: "word", Usage: all}, false},
		{"not said", pipeline.Outcome{Text: "word"}, true},
		{"cut", pipeline.Outcome{Text: "word", Cut: "upstream", Usage: all}, true},
		{"kept", pipeline.Outcome{Text: "word", ReplyOf: "exc_1"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := New(Options{Endpoints: []string{"openai"}, State: func(context.Context) (State, error) { return State{}, nil }})
			x, _, _ := exchange()
			m.Answered(x, &c.o, c.o.Used(400))
			if got := strings.Contains(scrape(t, m.Handler()), `sallyport_estimated_exchanges_total{endpoint="openai"} 1`); got != c.want {
				t.Errorf("counted: %t", got)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	m := New(Options{Version: "v1", Scopes: []string{"agents"}, Endpoints: []string{"openai"}, Types: []string{"EMAIL"}, State: func(context.Context) (State, error) { return full(), nil }})
	x, _, o := exchange()
	m.Answered(x, o, o.Used(400))
	stranger := *x
	stranger.Scope, stranger.Endpoint.Name = "evil\n1", "whatever"
	cut := *o
	cut.Cut = "nobody"
	m.Answered(&stranger, &cut, pipeline.Usage{})
	out := scrape(t, m.Handler())
	for _, want := range []string{
		`sallyport_exchanges_total{endpoint="openai",enforced="true",mode="enforce",scope="agents",verdict="deny"} 1`,
		`sallyport_exchanges_total{endpoint="other",enforced="true",mode="enforce",scope="other",verdict="deny"} 1`,
		`sallyport_exchanges_cut_total{by="client"} 1`,
		`sallyport_exchanges_cut_total{by="other"} 1`,
		`sallyport_masked_values_total{type="EMAIL"} 2`,
		`sallyport_masked_values_total{type="other"} 2`,
		`sallyport_tokens_total{endpoint="openai",kind="input"} 7`,
		`sallyport_tokens_total{endpoint="openai",kind="output"} 3`,
		`sallyport_estimated_exchanges_total{endpoint="openai"} 1`,
		`sallyport_exchange_duration_seconds_bucket{endpoint="openai",le="2.5"} 1`,
		`sallyport_exchange_hold_seconds_count 2`,
		`sallyport_scope_info{mode="enforce",scope="agents"} 1`,
		"sallyport_up 1", "sallyport_ready 1", `sallyport_build_info{version="v1"} 1`,
	} {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("lacks %s", want)
		}
	}
	for _, n := range numbers {
		if !strings.Contains(out, "\nsallyport_"+n.name+" ") {
			t.Errorf("lacks sallyport_%s", n.name)
		}
	}
	for _, bad := range []string{"canary", "evil", "made-up", "not_in_the_table", "gpt"} {
		if strings.Contains(out, bad) {
			t.Errorf("has %q", bad)
		}
	}
	problems, err := promlint.New(strings.NewReader(out)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "sallyport_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestStateFails: what cannot be asked for is told as down; the counters stay.
func TestStateFails(t *testing.T) {
	m := New(Options{State: func(context.Context) (State, error) { return full(), errors.New("canary") }})
	out := scrape(t, m.Handler())
	if !strings.Contains(out, "sallyport_up 0\n") || strings.Contains(out, "sallyport_ready") || strings.Contains(out, "canary") {
		t.Error(out)
	}
}

func TestServe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(Options{}).Serve(ctx, l) }()
	for _, c := range []struct {
		name, method, path, host string
		want                     int
	}{
		{"metrics", "GET", "/metrics", "", 200},
		{"by name", "GET", "/metrics", "localhost:9464", 200},
		{"by a name of somebody else", "GET", "/metrics", "rebound.example:9464", 403},
		{"something else", "GET", "/", "", 404},
		{"another method", "POST", "/metrics", "", 405},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+l.Addr().String()+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if err := res.Body.Close(); err != nil || res.StatusCode != c.want {
			t.Errorf("%s: %d, want %d, %v", c.name, res.StatusCode, c.want, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTraces(t *testing.T) {
	out := tracetest.NewInMemoryExporter()
	tr := newTraces(sdk.WithSyncer(out), "v1", "h1")
	m, c, o := exchange()
	tr.Answered(m, c, o)
	second := *m
	second.Exchange = "exc_2"
	tr.Answered(&second, c, o)
	spans := out.GetSpans()
	if len(spans) != 2 || spans[0].SpanContext.TraceID() != spans[1].SpanContext.TraceID() || spans[0].Name != "chat gpt" || spans[0].Status.Code.String() != "Error" {
		t.Fatalf("%+v", spans)
	}
	attrs := map[string]string{}
	for _, a := range spans[0].Attributes {
		attrs[string(a.Key)] = a.Value.String()
		for _, bad := range []string{"canary-prompt", "canary-answer", "canary-tool", "canary-reason", "canary-cut", "canary-print"} {
			if strings.Contains(a.Value.String(), bad) {
				t.Errorf("%s holds %s", a.Key, bad)
			}
		}
	}
	if attrs["gen_ai.request.model"] != "gpt" || attrs["gen_ai.usage.input_tokens"] != "7" || attrs["sallyport.exchange.id"] != "exc_canary" {
		t.Error(attrs)
	}
	if d := spans[0].EndTime.Sub(spans[0].StartTime); d.Milliseconds() < 1500 {
		t.Errorf("a span of %v", d)
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestExport sends spans to a real receiver, and none while it is away.
func TestExport(t *testing.T) {
	got := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r.URL.Path
	}))
	failed := make(chan error, 10)
	tell := func(err error) { failed <- err }
	tr, err := NewTraces(t.Context(), s.URL, "v1", "h1", tell)
	if err != nil {
		t.Fatal(err)
	}
	tr.Answered(exchange())
	if err := tr.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if p := <-got; p != "/v1/traces" {
		t.Errorf("sent to %s", p)
	}
	s.Close()
	if tr, err = NewTraces(t.Context(), s.URL, "v1", "h1", tell); err != nil {
		t.Fatal(err)
	}
	tr.Answered(exchange())
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	if err := tr.Close(ctx); err == nil {
		select {
		case err := <-failed:
			if strings.Contains(err.Error(), "canary") {
				t.Error(err)
			}
		case <-t.Context().Done():
			t.Error("spans that nobody took are said to be sent")
		}
	}
}
