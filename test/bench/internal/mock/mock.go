// SPDX-License-Identifier: Apache-2.0

// Package mock is a deterministic stand-in for an OpenAI-style upstream.
package mock

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sallyport-dev/sallyport/test/bench/internal/wire"
)

// Stats counts what the mock served; read it at /stats.
type Stats struct{ Chats, Streams, Deltas, Blobs atomic.Int64 }

var bufs = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// Handler serves POST /v1/chat/completions, GET /blob/BYTES, GET /v1/models,
// GET /stats and GET /healthz.
func Handler(st *Stats) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) { chat(w, r, st) })
	mux.HandleFunc("POST /chat/completions", func(w http.ResponseWriter, r *http.Request) { chat(w, r, st) })
	mux.HandleFunc("GET /blob/{n}", func(w http.ResponseWriter, r *http.Request) { blob(w, r, st) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"object":"list","data":[{"id":"bench-1","object":"model","created":1700000000,"owned_by":"bench"}]}`)
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"chats":%d,"streams":%d,"deltas":%d,"blobs":%d}`+"\n", st.Chats.Load(), st.Streams.Load(), st.Deltas.Load(), st.Blobs.Load())
	})
	return mux
}

func chat(w http.ResponseWriter, r *http.Request, st *Stats) {
	bp := bufs.Get().(*[]byte)
	defer bufs.Put(bp)
	body, err := readAll((*bp)[:0], r.Body)
	*bp = body
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	spec, ok := wire.ParseTag(body)
	if !ok {
		http.Error(w, `{"error":{"message":"no bench tag in the prompt","type":"invalid_request_error"}}`, http.StatusBadRequest)
		return
	}
	if wire.WantsStream(body) {
		st.Streams.Add(1)
		stream(w, r, spec, st)
		return
	}
	st.Chats.Add(1)
	if spec.First > 0 {
		time.Sleep(spec.First)
	}
	out := bufs.Get().(*[]byte)
	*out = wire.ResponseBody((*out)[:0], spec, body)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(*out)))
	w.Write(*out)
	bufs.Put(out)
}

// stream sends the deltas on an absolute schedule, so that slow writes do not
// stretch the clock of later deltas.
func stream(w http.ResponseWriter, r *http.Request, s wire.Spec, st *Stats) {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	buf := make([]byte, 0, 512)
	start := time.Now()
	send := func(b []byte) bool {
		_, err := w.Write(b)
		return err == nil && rc.Flush() == nil && r.Context().Err() == nil
	}
	for i := range s.Deltas {
		if d := time.Until(start.Add(s.First + time.Duration(i)*s.Delay)); d > 0 {
			time.Sleep(d)
		}
		buf = buf[:0]
		if i == 0 {
			buf = wire.AppendFirst(buf, s.ID)
		}
		if !send(wire.AppendChunk(buf, s, i, time.Now())) {
			return
		}
		st.Deltas.Add(1)
	}
	send(wire.AppendLast(buf[:0], s.ID))
}

func readAll(b []byte, r io.Reader) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
}

var block = []byte(wire.Text(256 << 10))

func blob(w http.ResponseWriter, r *http.Request, st *Stats) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 0 || n > 64<<30 {
		http.Error(w, "bad size", http.StatusBadRequest)
		return
	}
	st.Blobs.Add(1)
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	for n > 0 {
		k, err := w.Write(block[:min(n, int64(len(block)))])
		if n -= int64(k); err != nil {
			return
		}
	}
}

// ServeRaw answers each TCP connection's 8-byte big-endian count with that
// many bytes: plain bytes for passthrough and splice figures.
func ServeRaw(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			var h [8]byte
			for {
				if _, err := io.ReadFull(c, h[:]); err != nil {
					return
				}
				for n := int64(binary.BigEndian.Uint64(h[:])); n > 0; {
					k, err := c.Write(block[:min(n, int64(len(block)))])
					if n -= int64(k); err != nil {
						return
					}
				}
			}
		}()
	}
}
