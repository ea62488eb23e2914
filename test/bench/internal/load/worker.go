// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/test/bench/internal/wire"
)

// worker is one client: it has at most one connection and one request open.
type worker struct {
	r    *runner
	n    int
	conn *h1
	req  []byte
	body []byte
}

// loop takes request numbers until the count or the time is used up. At a
// constant rate each request has a due time, and its latency counts from then:
// a stall makes all requests that were due meanwhile slow, as for real users.
func (w *worker) loop(ctx context.Context, limit int64, rate float64) {
	r := w.r
	for ctx.Err() == nil {
		id := r.next.Add(1) - 1
		if limit > 0 && id >= limit {
			return
		}
		start := time.Now()
		if rate > 0 {
			start = r.t0.Add(time.Duration(float64(id) / rate * 1e9))
			if start.After(r.deadline) {
				return
			}
			time.Sleep(time.Until(start))
		} else if start.After(r.deadline) {
			return
		}
		s := r.Spec
		s.ID = id
		switch r.Mode {
		case "stream":
			w.stream(ctx, s, start)
		case "raw":
			w.raw(ctx, start)
		default:
			w.single(ctx, s, start)
		}
		if r.NewConn {
			w.drop()
		}
	}
}

func (w *worker) drop() {
	if w.conn != nil {
		w.conn.c.Close()
		w.conn = nil
	}
}

func (w *worker) connect(ctx context.Context) bool {
	if w.conn != nil {
		return true
	}
	t := time.Now()
	c, err := w.r.Dialer.Dial(ctx)
	if err != nil {
		w.r.fail("connect: " + kind(err))
		time.Sleep(time.Millisecond)
		return false
	}
	if w.r.recording.Load() {
		w.r.conn.Record(int64(time.Since(t)))
	}
	w.conn = newH1(c)
	return true
}

// build renders request head and body into w.req; w.body is the body part.
func (w *worker) build(s wire.Spec, stream bool) {
	t := w.r.Dialer.Target
	var b bytes.Buffer
	if w.r.Mode == "blob" {
		fmt.Fprintf(&b, "GET /blob/%d HTTP/1.1\r\nHost: %s\r\n", w.r.BlobBytes, t.Host)
		w.body = nil
	} else {
		w.body = wire.RequestBody(w.r.Model, s, w.r.PromptBytes, stream)
		b.Grow(len(w.body) + 512)
		fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", t.RequestURI(), t.Host, len(w.body))
	}
	for _, h := range w.r.Headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(w.body)
	w.req = b.Bytes()
}

func (w *worker) single(ctx context.Context, s wire.Spec, start time.Time) {
	r := w.r
	if r.H2 {
		w.singleH2(ctx, s, start)
		return
	}
	if !w.connect(ctx) {
		return
	}
	w.build(s, false)
	w.conn.c.SetDeadline(time.Now().Add(r.Timeout))
	if r.Mode == "blob" {
		w.blob(start)
		return
	}
	resp, body, err := w.conn.do(w.req)
	took := time.Since(start)
	if err != nil {
		w.drop()
		r.fail("read: " + kind(err))
		return
	}
	if resp.close {
		defer w.drop()
	}
	w.judge(s, resp.status, body, took)
}

func (w *worker) judge(s wire.Spec, status int, body []byte, took time.Duration) {
	r := w.r
	switch {
	case status != 200:
		r.fail(fmt.Sprintf("status %d: %.120s", status, body))
	case !w.right(s, body):
		r.fail("wrong body")
		if os.Getenv("LLMLOAD_DEBUG") != "" {
			fmt.Fprintf(os.Stderr, "wrong body: %.600s\n", body)
		}
	default:
		r.ok.Add(1)
		if r.recording.Load() {
			r.lat.Record(int64(took))
			r.bytes.Add(int64(len(body)))
		}
	}
}

// right compares an answer with what the mock must have said.
func (w *worker) right(s wire.Spec, body []byte) bool {
	switch w.r.Check {
	case "status":
		return true
	case "content":
		var v struct {
			Choices []struct {
				Message struct {
					Content string `json:"content"`
				} `json:"message"`
			} `json:"choices"`
		}
		return json.Unmarshal(body, &v) == nil && len(v.Choices) == 1 && v.Choices[0].Message.Content == wire.Answer(s)
	default:
		return bytes.Equal(body, wire.ResponseBody(nil, s, w.body))
	}
}

func (w *worker) singleH2(ctx context.Context, s wire.Spec, start time.Time) {
	r := w.r
	body := wire.RequestBody(r.Model, s, r.PromptBytes, false)
	w.body = body
	req, err := http.NewRequestWithContext(ctx, "POST", r.Dialer.Target.String(), bytes.NewReader(body))
	if err != nil {
		r.fail(err.Error())
		return
	}
	req.Header.Set("Content-Type", "application/json")
	for _, h := range r.Headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	resp, err := r.h2c.Do(req)
	if err != nil {
		r.fail("h2: " + kind(err))
		return
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		r.fail("h2 read: " + kind(err))
		return
	}
	w.judge(s, resp.StatusCode, b, time.Since(start))
}

func (w *worker) blob(start time.Time) {
	r := w.r
	if _, err := w.conn.c.Write(w.req); err != nil {
		w.drop()
		r.fail("write: " + kind(err))
		return
	}
	resp, err := w.conn.head()
	if err == nil && resp.status != 200 {
		err = fmt.Errorf("status %d", resp.status)
	}
	var n int64
	if err == nil {
		n, err = io.Copy(io.Discard, w.conn.reader(resp))
	}
	if err == nil && n != r.BlobBytes {
		err = fmt.Errorf("short blob")
	}
	if err != nil {
		w.drop()
		r.fail(kind(err))
		return
	}
	w.conn.finish(resp)
	w.done(n, start)
}

func (w *worker) done(n int64, start time.Time) {
	w.r.ok.Add(1)
	if w.r.recording.Load() {
		w.r.bytes.Add(n)
		w.r.lat.Record(int64(time.Since(start)))
	}
}

// raw asks the mock's raw port for bytes, without TLS or HTTP.
func (w *worker) raw(ctx context.Context, start time.Time) {
	r := w.r
	if w.conn == nil {
		c, err := r.Dialer.Raw(ctx)
		if err != nil {
			r.fail("connect: " + kind(err))
			return
		}
		w.conn = newH1(c)
	}
	w.conn.c.SetDeadline(time.Now().Add(r.Timeout))
	var h [8]byte
	binary.BigEndian.PutUint64(h[:], uint64(r.BlobBytes))
	_, err := w.conn.c.Write(h[:])
	if w.body == nil {
		w.body = make([]byte, 256<<10)
	}
	var n int64
	for err == nil && n < r.BlobBytes {
		var k int
		k, err = w.conn.c.Read(w.body)
		n += int64(k)
	}
	if err != nil {
		w.drop()
		r.fail(kind(err))
		return
	}
	w.done(n, start)
}

// stream reads one SSE answer and times each delta: TTFT from the start of the
// request, the gap to the delta before, and its way from the mock's write.
func (w *worker) stream(ctx context.Context, s wire.Spec, start time.Time) {
	r := w.r
	var rd io.Reader
	var h1r response
	if r.H2 {
		req, _ := http.NewRequestWithContext(ctx, "POST", r.Dialer.Target.String(), bytes.NewReader(wire.RequestBody(r.Model, s, r.PromptBytes, true)))
		req.Header.Set("Content-Type", "application/json")
		resp, err := r.h2c.Do(req)
		if err != nil {
			r.fail("h2: " + kind(err))
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode != 200 {
			r.fail(fmt.Sprintf("status %d", resp.StatusCode))
			return
		}
		rd = resp.Body
	} else {
		if !w.connect(ctx) {
			return
		}
		w.build(s, true)
		w.conn.c.SetDeadline(time.Now().Add(r.Timeout))
		_, err := w.conn.c.Write(w.req)
		if err == nil {
			h1r, err = w.conn.head()
		}
		if err != nil {
			w.drop()
			r.fail("stream head: " + kind(err))
			return
		}
		if h1r.status != 200 {
			b := make([]byte, 120)
			n, _ := io.ReadFull(w.conn.reader(h1r), b[:min(120, max(0, h1r.length))])
			w.drop()
			r.fail(fmt.Sprintf("status %d: %s", h1r.status, b[:n]))
			return
		}
		rd = w.conn.reader(h1r)
	}
	br := bufio.NewReaderSize(rd, 4096)
	rec := r.recording.Load()
	var last time.Time
	seen, end := 0, false
	var exact *wire.Verifier
	if r.Check == "exact" || r.Check == "" {
		exact = wire.NewVerifier(s)
	}
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 6 && bytes.HasPrefix(line, []byte("data:")) {
			if i, at, ok := wire.ParseDelta(line); ok {
				now := time.Now()
				if i != seen {
					w.drop()
					r.fail("delta out of order")
					return
				}
				seen++
				if rec {
					r.transit.Record(now.UnixNano() - at)
					if i == 0 {
						r.ttft.Record(int64(now.Sub(start)))
					} else {
						g := now.Sub(last)
						r.gap.Record(int64(g))
						r.jit.Record(int64((g - s.Delay).Abs()))
					}
					r.tokens.Add(1)
				}
				last = now
			} else if bytes.Contains(line, []byte("[DONE]")) {
				end = true
			}
		}
		if exact != nil && len(line) > 0 {
			if err := exact.Line(line); err != nil {
				w.drop()
				r.fail("stream differs: " + err.Error())
				return
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			w.drop()
			r.fail("stream: " + kind(err))
			return
		}
	}
	if w.conn != nil {
		if err := w.conn.finish(h1r); err != nil || h1r.close || (!h1r.chunks && h1r.length < 0) {
			w.drop()
		}
	}
	if seen != s.Deltas || !end || exact != nil && !exact.Ended() {
		r.fail(fmt.Sprintf("stream cut at %d of %d, end mark %v", seen, s.Deltas, end))
		return
	}
	r.ok.Add(1)
	if rec {
		r.lat.Record(int64(time.Since(start)))
	}
}

// kind shortens an error so that equal causes count together.
func kind(err error) string {
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		return "timeout"
	}
	if ue, ok := err.(*url.Error); ok {
		err = ue.Err
	}
	if oe, ok := err.(*net.OpError); ok {
		err = oe.Err
	}
	s := err.Error()
	return s[:min(len(s), 100)]
}
