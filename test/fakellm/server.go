// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Options configures a Server. The zero value serves api.openai.com without pauses and keeps its log in memory only.
type Options struct {
	Names []string         // of the certificate; default api.openai.com
	Pace  time.Duration    // between two deltas of a stream
	Log   io.Writer        // gets each Request as a line of JSON
	Clock func() time.Time // for the Date field; default time.Now
}

// Request is one line of the log. It is written when the body has arrived, before the answer begins.
type Request struct {
	Time       time.Time `json:"time"`
	Conn       int       `json:"conn"` // counts connections from 1
	Remote     string    `json:"remote"`
	SNI        string    `json:"sni,omitempty"`
	Method     string    `json:"method"`
	Path       string    `json:"path"`
	Model      string    `json:"model,omitempty"`
	Stream     bool      `json:"stream"`
	BodyBytes  int       `json:"body_bytes"`
	BodySHA256 string    `json:"body_sha256"`
	// Head is the head as it arrived, line by line; the values of credentials are replaced by "sha256:" and the first
	// 16 hex digits of their hash.
	Head []string `json:"head"`
}

// Server is the fake provider. Its methods may be used by several goroutines.
type Server struct {
	opts   Options
	tls    *tls.Config
	ca     []byte
	ctx    context.Context
	cancel context.CancelFunc

	mu        sync.Mutex
	requests  []Request
	conns     map[net.Conn]struct{}
	listeners map[net.Listener]struct{}
	connCount int
	logErr    error
	wg        sync.WaitGroup
}

// New makes a server with a new CA.
func New(o Options) (*Server, error) {
	if len(o.Names) == 0 {
		o.Names = []string{"api.openai.com"}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	cert, ca, err := newIdentity(o.Names)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, ca: ca, conns: map[net.Conn]struct{}{}, listeners: map[net.Listener]struct{}{}}
	s.tls = &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// CA is the certificate, in PEM, that clients have to trust.
func (s *Server) CA() []byte { return s.ca }

// Serve answers HTTPS on l until Close, which closes l.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, true) }

// ServePlain is Serve without TLS.
func (s *Server) ServePlain(l net.Listener) error { return s.serve(l, false) }

func (s *Server) serve(l net.Listener, secure bool) error {
	s.mu.Lock()
	if s.ctx.Err() != nil {
		s.mu.Unlock()
		return errors.Join(net.ErrClosed, l.Close())
	}
	s.listeners[l] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	for {
		c, err := l.Accept()
		if s.ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting connections of the fake provider: %w", err)
		}
		s.mu.Lock()
		s.connCount++
		n := s.connCount
		s.conns[c] = struct{}{}
		s.wg.Add(1)
		s.mu.Unlock()
		go func() {
			defer s.wg.Done()
			s.converse(c, n, secure)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
	}
}

// Drop ends all connections at once and goes on listening: what an application sees of a provider that was killed and is
// back. TLS says no goodbye.
func (s *Server) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Close ends all connections and listeners and waits for them. It returns the first error of writing the log.
func (s *Server) Close() error {
	s.mu.Lock()
	s.cancel()
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.logErr
}

// Requests lists what arrived so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Asked counts what Requests lists.
func (s *Server) Asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// LogHandler serves the log as lines of JSON at /__log. It belongs on a listener of its own, where no client under
// test goes.
func (s *Server) LogHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /__log", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		enc := json.NewEncoder(w)
		for _, r := range s.Requests() {
			if enc.Encode(r) != nil {
				return // the reader is gone
			}
		}
	})
	return mux
}

func (s *Server) record(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	if s.opts.Log != nil && s.logErr == nil {
		line, err := json.Marshal(r)
		if err == nil {
			_, err = s.opts.Log.Write(append(line, '\n'))
		}
		if err != nil {
			s.logErr = fmt.Errorf("writing the request log: %w", err)
		}
	}
}

// converse serves the requests of one connection.
func (s *Server) converse(raw net.Conn, n int, secure bool) {
	c, sni := raw, ""
	if secure {
		t := tls.Server(raw, s.tls)
		if t.HandshakeContext(s.ctx) != nil {
			return // whoever does not trust us goes away; the log shows that nothing came
		}
		c, sni = t, t.ConnectionState().ServerName
	}
	br := bufio.NewReaderSize(c, 64<<10)
	for {
		head, err := peekHead(br)
		if err != nil {
			return
		}
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		sum := sha256.Sum256(body)
		var probe struct {
			Model  string
			Stream bool
		}
		// Bodies that are no JSON are answered with an error later; here they are merely without a model.
		_ = json.Unmarshal(body, &probe)
		s.record(Request{Time: time.Now(), Conn: n, Remote: raw.RemoteAddr().String(), SNI: sni, Method: req.Method, Path: req.RequestURI,
			Model: probe.Model, Stream: probe.Stream, BodyBytes: len(body), BodySHA256: hex.EncodeToString(sum[:]), Head: head})
		a := &answer{s: s, c: c, raw: raw, br: br, req: req, body: body, id: hex.EncodeToString(sum[:])}
		if !a.serve() || req.Close {
			return
		}
	}
}

// peekHead waits for a whole request head and returns its lines, credentials hashed, without taking it.
func peekHead(br *bufio.Reader) ([]string, error) {
	for want := 1; ; want = br.Buffered() + 1 {
		if _, err := br.Peek(want); err != nil {
			return nil, err
		}
		b, _ := br.Peek(br.Buffered())
		head, _, whole := bytes.Cut(b, []byte("\r\n\r\n"))
		if !whole {
			continue
		}
		lines := strings.Split(string(head), "\r\n")
		for i, l := range lines[1:] {
			name, value, _ := strings.Cut(l, ":")
			switch strings.ToLower(name) {
			case "authorization", "x-api-key", "api-key", "cookie":
				sum := sha256.Sum256([]byte(strings.TrimSpace(value)))
				lines[i+1] = name + ": sha256:" + hex.EncodeToString(sum[:8])
			}
		}
		return lines, nil
	}
}
