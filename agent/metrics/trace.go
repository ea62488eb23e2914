// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Traces tells OpenTelemetry of exchanges, one span each; those of a session are one trace. Names are those of the semantic conventions
// for generative AI. Spans hold no contents.
type Traces struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// NewTraces sends spans to an OTLP receiver over HTTP, such as http://127.0.0.1:4318. Nothing is sent before there is a span; while the receiver
// is away spans are dropped, and failed is told why.
func NewTraces(ctx context.Context, endpoint, version, host string, failed func(error)) (*Traces, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("the address of the receiver of traces cannot be read")
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces" // OTLP/HTTP, default path
	}
	exp, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithTimeout(5*time.Second))
	if err != nil {
		return nil, fmt.Errorf("making the exporter of traces: %w", err)
	}
	return newTraces(sdk.WithBatcher(telling{exp, failed}, sdk.WithMaxQueueSize(2048)), version, host), nil
}

// telling is an exporter whose errors do not go to the log of OpenTelemetry, which is not ours.
type telling struct {
	sdk.SpanExporter
	failed func(error)
}

// ExportSpans implements sdk.SpanExporter.
func (t telling) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if err := t.SpanExporter.ExportSpans(ctx, spans); err != nil {
		t.failed(fmt.Errorf("%d spans were dropped: %w", len(spans), err))
	}
	return nil
}

func newTraces(out sdk.TracerProviderOption, version, host string) *Traces {
	p := sdk.NewTracerProvider(out, sdk.WithSampler(sdk.AlwaysSample()), sdk.WithResource(resource.NewSchemaless(
		attribute.String("service.name", "sallyport"), attribute.String("service.version", version), attribute.String("host.name", host))))
	return &Traces{p, p.Tracer("github.com/sallyport-dev/sallyport")}
}

// Answered makes the span of an exchange that has ended.
func (t *Traces) Answered(m *pipeline.Meta, c *pipeline.Call, o *pipeline.Outcome) {
	end := time.Now()
	start := m.Start
	if start.IsZero() {
		start = end.Add(-time.Duration(o.DurationMS) * time.Millisecond)
	}
	name := c.Operation
	if c.Model != "" {
		name += " " + c.Model
	}
	attrs := []attribute.KeyValue{
		attribute.String("gen_ai.provider.name", m.Endpoint.Protocol), attribute.String("gen_ai.operation.name", c.Operation),
		attribute.String("gen_ai.request.model", c.Model), attribute.String("gen_ai.response.model", o.ResponseModel), attribute.String("gen_ai.response.id", o.ResponseID),
		attribute.StringSlice("gen_ai.response.finish_reasons", o.Finish), attribute.String("server.address", m.Endpoint.Host), attribute.Int("server.port", int(m.Endpoint.Port)),
		attribute.Int("http.response.status_code", o.Status), attribute.String("sallyport.session.id", m.Session), attribute.String("sallyport.exchange.id", m.Exchange),
		attribute.String("sallyport.scope", m.Scope), attribute.String("sallyport.mode", m.Mode.String()), attribute.Bool("sallyport.enforced", o.Enforced),
		attribute.String("sallyport.verdict.action", o.Verdict.Action.String()), attribute.String("sallyport.verdict.rule", o.Verdict.Rule),
		attribute.String("sallyport.principal.spiffe_id", m.Principal.SPIFFEID), attribute.Int("sallyport.mask.count", len(o.Masks)),
		attribute.Int64("sallyport.overhead_us", o.OverheadUS), attribute.Int64("sallyport.hold_ms", o.HoldMS), attribute.String("sallyport.cut", o.Cut),
	}
	if n := o.Usage.InputTokens; n != nil {
		attrs = append(attrs, attribute.Int64("gen_ai.usage.input_tokens", *n))
	}
	if n := o.Usage.OutputTokens; n != nil {
		attrs = append(attrs, attribute.Int64("gen_ai.usage.output_tokens", *n))
	}
	_, span := t.tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), sessionContext(m)), name, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(start), trace.WithAttributes(attrs...))
	if o.Verdict.Action == pipeline.Deny || o.Cut != "" || o.Status >= 500 {
		span.SetStatus(codes.Error, o.Verdict.Action.String())
	}
	span.End(trace.WithTimestamp(end))
}

// sessionContext is the trace of a session. Its root, which is nobody's span, is the parent of all.
func sessionContext(m *pipeline.Meta) trace.SpanContext {
	sum := sha256.Sum256([]byte(m.Session))
	c := trace.SpanContextConfig{TraceFlags: trace.FlagsSampled, Remote: true}
	copy(c.TraceID[:], sum[:16])
	copy(c.SpanID[:], sum[16:24])
	return trace.NewSpanContext(c)
}

// Close sends what is left, for as long as ctx allows.
func (t *Traces) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }
