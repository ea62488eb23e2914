// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
)

// The keys of attributes.
const (
	KeyError     = "error"
	KeyComponent = "component"
	KeyScope     = "scope"
	KeyMode      = "mode"
	KeyPID       = "pid"
	KeyUID       = "uid"
	KeyComm      = "comm"
	KeyCgroup    = "cgroup"
	KeyUnit      = "unit"
	KeySPIFFE    = "spiffe_id"
	KeyEndpoint  = "endpoint"
	KeyHost      = "host"
	KeyAddress   = "address"
	KeyFlow      = "flow_id"
	KeyExchange  = "exchange_id"
	KeySession   = "session_id"
	KeyDecision  = "decision_id"
	KeyRule      = "rule"
	KeyPath      = "path"
	KeyCount     = "count"
	KeyBytes     = "bytes"
	KeyDuration  = "duration"
	KeyVersion   = "version"
	KeyState     = "state"
	KeySegments  = "segments"
)

// Redacted stands where a secret stood.
const Redacted = "[redacted]"

// Secret is implemented by types whose values must not be shown.
type Secret interface {
	// Secret does nothing; having it says what the type is.
	Secret()
}

// Format is how log lines look.
type Format string

// The formats.
const (
	Text Format = "text"
	JSON Format = "json"
)

// New makes a logger that writes lines of the given format to w.
func New(w io.Writer, f Format, level slog.Leveler) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level}
	switch f {
	case Text, "":
		return slog.New(NewHandler(slog.NewTextHandler(w, o))), nil
	case JSON:
		return slog.New(NewHandler(slog.NewJSONHandler(w, o))), nil
	default:
		return nil, fmt.Errorf("log format %q: want text or json", f)
	}
}

// Handler redacts records before another handler sees them.
type Handler struct {
	next   slog.Handler
	secret bool // inside a group whose name is that of a credential
}

// NewHandler wraps next.
func NewHandler(next slog.Handler) *Handler { return &Handler{next: next} }

// Enabled asks the wrapped handler.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.next.Enabled(ctx, l) }

// Handle passes a redacted copy on.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, scrub(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.attr(a, 0))
		return true
	})
	return h.next.Handle(ctx, out)
}

// WithAttrs redacts the attributes once, for all records to come.
func (h *Handler) WithAttrs(as []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(as))
	for i, a := range as {
		out[i] = h.attr(a, 0)
	}
	return &Handler{next: h.next.WithAttrs(out), secret: h.secret}
}

// WithGroup opens a group.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{next: h.next.WithGroup(scrub(name)), secret: h.secret || credentialKey(name)}
}

// maxDepth bounds groups within groups; nobody nests so deep but by accident.
const maxDepth = 16

func (h *Handler) attr(a slog.Attr, depth int) slog.Attr {
	if h.secret || credentialKey(a.Key) || depth > maxDepth {
		return slog.String(scrub(a.Key), Redacted)
	}
	// The type is asked before a LogValuer may turn the value into something else, and after.
	if isSecret(a.Value) {
		return slog.String(scrub(a.Key), Redacted)
	}
	v := a.Value.Resolve()
	if isSecret(v) {
		return slog.String(scrub(a.Key), Redacted)
	}
	return slog.Attr{Key: scrub(a.Key), Value: h.value(v, depth)}
}

func isSecret(v slog.Value) bool {
	if k := v.Kind(); k != slog.KindAny && k != slog.KindLogValuer {
		return false
	}
	_, ok := v.Any().(Secret)
	return ok
}

func (h *Handler) value(v slog.Value, depth int) slog.Value {
	switch v.Kind() {
	case slog.KindString:
		return slog.StringValue(scrub(v.String()))
	case slog.KindGroup:
		in := v.Group()
		out := make([]slog.Attr, len(in))
		for i, a := range in {
			out[i] = h.attr(a, depth+1)
		}
		return slog.GroupValue(out...)
	case slog.KindAny:
		return anyValue(v.Any())
	default:
		return v // numbers, booleans and times hold no secret
	}
}

// anyValue shows a value as text and redacts that. Of composite values only the type is shown: formatting walks into
// unexported fields without asking their types, so a Secret inside would come out.
func anyValue(x any) slog.Value {
	switch x := x.(type) {
	case nil:
		return slog.AnyValue(nil)
	case error:
		return slog.StringValue(scrub(x.Error()))
	case []byte:
		return slog.StringValue(fmt.Sprintf("%d bytes", len(x))) // contents are not for logs
	case json.RawMessage:
		return slog.StringValue(fmt.Sprintf("%d bytes", len(x)))
	case fmt.Stringer:
		return slog.StringValue(scrub(x.String()))
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		if err != nil {
			return slog.StringValue("unprintable: " + scrub(err.Error()))
		}
		return slog.StringValue(scrub(string(b)))
	case []string:
		return slog.StringValue(scrub(strings.Join(x, " ")))
	}
	switch reflect.TypeOf(x).Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Array, reflect.Pointer, reflect.Func, reflect.Chan:
		return slog.StringValue(fmt.Sprintf("(%T)", x))
	default:
		return slog.StringValue(scrub(fmt.Sprint(x)))
	}
}
