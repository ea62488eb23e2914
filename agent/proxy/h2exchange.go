// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// exchange2 is one request and its reply over HTTP/2: the pipeline.Client and the pipeline.Upstream of one Serve. Order
// of fields is not kept, and their names are in lower case.
type exchange2 struct {
	x    *session2
	w    http.ResponseWriter
	r    *http.Request
	meta *pipeline.Meta

	head   pipeline.Head
	hidden []pipeline.Field // the credential fields
	query  secrets
	buf    []byte // of the body
	size   int
	whole  bool      // the body was read to its end
	over   bool      // it was found too large
	by     time.Time // the deadline for reading it that is set
	held   int64     // bytes of the request that count for the scope
	waits  int64     // the same of the reply

	reply   *reply2
	mu      sync.Mutex // of what is written to the application
	begun   bool
	due     bool  // the head was not flushed
	left    int64 // bytes that Content-Length still announces; -1 if nothing does
	none    bool  // there is no body
	failed  error
	stalled *time.Timer
}

func newExchange2(x *session2, w http.ResponseWriter, r *http.Request) *exchange2 {
	c := x.c
	e := &exchange2{x: x, w: w, r: r}
	prints := fingerprinter{key: c.s.o.FingerprintKey}
	defer prints.end()
	fields := fieldsOf(r.Header)
	e.head = pipeline.Head{Method: r.Method, Fields: make([]pipeline.Field, 0, len(fields)+1)}
	e.head.Fields = append(e.head.Fields, pipeline.Field{Name: "host", Value: r.Host})
	cookie := ""
	for _, f := range fields {
		switch name := credentialField([]byte(f.Name)); name {
		case "":
			if f.Name != "host" {
				e.head.Fields = append(e.head.Fields, f)
			}
			continue
		case "cookie":
			cookie += f.Value + "\x00"
		default:
			prints.add(name, []byte(f.Value))
		}
		e.hidden = append(e.hidden, f)
	}
	if r.ContentLength >= 0 && r.Header.Get("Content-Length") == "" && r.ContentLength > 0 {
		e.head.Fields = append(e.head.Fields, pipeline.Field{Name: "content-length", Value: strconv.FormatInt(r.ContentLength, 10)})
	}
	e.head.Target, e.query.target = blank(r.RequestURI)
	for _, v := range e.query.target {
		prints.add("?", []byte(v))
	}
	if len(prints.next) == 0 && cookie != "" {
		prints.add("cookie", []byte(cookie))
	}
	e.head.Credential = prints.sum()
	e.whole = r.ContentLength == 0
	e.meta = &pipeline.Meta{
		Flow: c.id, Scope: c.route.Scope, Mode: c.route.Mode, Workload: c.workload, Principal: c.principal, Endpoint: c.route.Endpoint,
		Start: time.Now(),
	}
	return e
}

// fieldsOf lists a header, sorted by name, so that records do not differ by chance.
func fieldsOf(h http.Header) []pipeline.Field {
	out := make([]pipeline.Field, 0, len(h))
	for name, values := range h {
		for _, v := range values {
			out = append(out, pipeline.Field{Name: strings.ToLower(name), Value: v})
		}
	}
	slices.SortStableFunc(out, func(a, b pipeline.Field) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// free ends the exchange.
func (e *exchange2) free() {
	e.x.c.s.crowd.release(e.x.c.route.Scope, e.held+e.waits)
	e.held, e.waits = 0, 0
	if e.buf != nil {
		e.x.c.s.bufs.put(e.buf)
		e.buf = nil
	}
	if e.stalled != nil {
		e.stalled.Stop()
	}
}

// Head implements pipeline.Client.
func (e *exchange2) Head() pipeline.Head { return e.head }

// Body implements pipeline.Client.
func (e *exchange2) Body(ctx context.Context, limit int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	bufs := &e.x.c.s.bufs
	for !e.whole && !e.over {
		if int64(e.size) > limit || e.r.ContentLength > limit && int64(e.size) >= limit {
			e.over = true
			e.hurry(false) // the rest is relayed, for as long as it takes
			break
		}
		if e.size == len(e.buf) {
			want := min(max(e.r.ContentLength+1, firstBuffer), upfront)
			n := max(int(want), 2*len(e.buf))
			if !e.x.c.hold(&e.held, n) {
				e.over = true
				return e.buf[:e.size:e.size], errNoRoom
			}
			if e.buf == nil {
				e.buf = bufs.get(n)
			} else {
				e.buf = bufs.grow(e.buf, e.size, n)
			}
		}
		e.hurry(true)
		n, err := e.r.Body.Read(e.buf[e.size:])
		e.size += n
		switch {
		case errors.Is(err, io.EOF):
			e.whole = true
			e.hurry(false)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, fmt.Errorf("read request body: %w", errSlow)
		case err != nil:
			if cerr := ctx.Err(); cerr != nil {
				err = cerr
			}
			return nil, fmt.Errorf("read request body: %w", err)
		}
	}
	b := e.buf[:e.size:e.size]
	if e.over || int64(len(b)) > limit {
		e.over = true
		return b[:min(limit, int64(len(b)))], pipeline.ErrBodyTooLarge
	}
	return b, nil
}

// hurry gives the application a limited time to send some more of the body, or takes the limit back.
func (e *exchange2) hurry(on bool) {
	var by time.Time
	if limit := e.x.c.s.o.StallTimeout; on {
		now := time.Now()
		if e.by.Sub(now) >= limit-limit/4 {
			return
		}
		by = now.Add(limit)
	} else if e.by.IsZero() {
		return
	}
	e.by = by
	_ = http.NewResponseController(e.w).SetReadDeadline(by)
}

// Send implements pipeline.Upstream.
func (e *exchange2) Send(ctx context.Context, h pipeline.Head, body []byte, credential string, durable <-chan error) (pipeline.Reply, error) {
	if e.reply != nil {
		_ = e.reply.Close()
	}
	if e.over && (len(body) > e.size || len(body) > 0 && &body[0] != &e.buf[0]) {
		return nil, errors.New("proxy: a body that is too large can only be sent as it is")
	}
	req, err := e.request(ctx, h, body, credential)
	if err != nil {
		return nil, err
	}
	cl, err := e.x.provider(ctx)
	if err != nil {
		return nil, err
	}
	if durable != nil {
		select {
		case err := <-durable:
			if err != nil {
				return nil, fmt.Errorf("%w: %w", pipeline.ErrNotRecorded, err)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(e.x.c.s.o.UpstreamTimeout, func() { cancel(errStalled) })
	resp, err := cl.cc.RoundTrip(req.WithContext(rctx))
	late.Stop()
	if err != nil {
		kind := FailReply
		if errors.Is(context.Cause(rctx), errStalled) {
			kind, err = FailTimeout, errStalled
		}
		cancel(nil)
		return nil, sendError(ctx, kind, err)
	}
	e.reply = &reply2{e: e, resp: resp, ctx: rctx, cancel: cancel, late: late, head: replyHead(resp)}
	return e.reply, nil
}

// request makes what goes upstream. Field names that HTTP/2 does not know are left out.
func (e *exchange2) request(ctx context.Context, h pipeline.Head, body []byte, credential string) (*http.Request, error) {
	target, fields := h.Target, h.Fields
	if target == e.head.Target {
		target = e.r.RequestURI
	} else {
		target = unblank(target, e.query.target)
	}
	if credential != "" {
		if e.x.c.s.o.Credentials == nil {
			return nil, fmt.Errorf("proxy: no credential %q: none are configured", credential)
		}
		target = h.Target // without the caller's
		fields = slices.Clone(fields)
		if err := e.x.c.s.o.Credentials.Apply(ctx, credential, e.meta, &fields, body); err != nil {
			return nil, fmt.Errorf("apply credential: %w", err)
		}
	} else {
		fields = append(slices.Clone(fields), e.hidden...)
	}
	req := &http.Request{
		Method: h.Method, Host: e.r.Host, Header: make(http.Header, len(fields)), ContentLength: int64(len(body)),
		Proto: "HTTP/2.0", ProtoMajor: 2,
		// The path as it came, not as a parser would write it.
		URL: &url.URL{Scheme: "https", Host: e.r.Host, Opaque: "//" + e.r.Host + target},
	}
	if target == "*" {
		req.URL = &url.URL{Scheme: "https", Host: e.r.Host, Opaque: "*"}
	}
	for _, f := range fields {
		if name := http.CanonicalHeaderKey(f.Name); !connectionField(name) && name != "Host" && name != "Content-Length" {
			req.Header[name] = append(req.Header[name], f.Value)
		}
	}
	if req.Header["User-Agent"] == nil {
		req.Header["User-Agent"] = []string{""} // none, rather than Go's
	}
	switch {
	case e.over:
		req.Body = io.NopCloser(io.MultiReader(bytes.NewReader(e.buf[:e.size]), e.r.Body))
		req.ContentLength = e.r.ContentLength
	case len(body) > 0:
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	return req, nil
}

// connectionField tells whether a field is about one HTTP/1.1 connection (RFC 9113 section 8.2.2).
func connectionField(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// relay is what becomes of a request that nobody inspects, in observe mode.
func (e *exchange2) relay(ctx context.Context) error {
	e.over = !e.whole
	reply, err := e.Send(ctx, e.head, nil, "", nil)
	if err != nil {
		return err
	}
	if err := e.Respond(reply.Head()); err != nil {
		return err
	}
	for {
		b, err := reply.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := e.Write(b); err != nil {
			return err
		}
	}
}
