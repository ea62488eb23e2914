// SPDX-License-Identifier: Apache-2.0

// Package fakees is an Elasticsearch for tests of what talks to one: it keeps templates, data streams and their backing indices,
// refuses what the real one refuses, and can be told to misbehave. It knows the requests that Sallyport makes, and no others.
package fakees

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
)

// Server is one node. Set changes what follows the lock.
type Server struct {
	*httptest.Server
	complain func(format string, args ...any)

	mu        sync.Mutex
	Put       map[string]json.RawMessage // templates and policies, by path
	Streams   map[string]*Stream
	Order     []Hit // as they were created
	Sent      []int // documents of each bulk request
	Conflicts int
	Looked    int    // documents that were asked for by ID
	Auth      string // of the last request
	pits      int

	Foreign   bool                                                    // another product answers
	Key       string                                                  // the Authorization that is wanted; "" = any
	NoTempl   bool                                                    // the key may not make templates
	NoRead    bool                                                    // the key may only create
	Version   string                                                  // of the product
	Deny      []string                                                // paths that the key may not ask, in the form of path.Match
	OnRequest func(w http.ResponseWriter, r *http.Request) bool       // before anything is done: true if it has answered
	OnBulk    func(n int, w http.ResponseWriter) bool                 // for bulk request n, from 1: true if it has answered
	OnItem    func(stream, id string, doc map[string]any) (int, bool) // status instead of creating
	OnDelete  func(index, id string) (int, bool)                      // status instead of deleting
	AfterBulk func(n int, w http.ResponseWriter) bool                 // the same after the documents are stored
}

// Stream is a data stream.
type Stream struct{ Indices []*Index }

// Index is a backing index.
type Index struct {
	Name string
	Docs []Hit
}

// Hit is a document and where it is.
type Hit struct {
	Index  string          `json:"_index"`
	ID     string          `json:"_id"`
	Source json.RawMessage `json:"_source,omitempty"`
	Sort   []any           `json:"sort,omitempty"`
	Stream string          `json:"-"`
}

// New starts one, without TLS, until Close. complain is told of requests that are wrong.
func New(complain func(format string, args ...any)) *Server {
	f := &Server{complain: complain, Put: map[string]json.RawMessage{}, Streams: map[string]*Stream{}, Version: "8.19.16"}
	f.Server = httptest.NewServer(f)
	return f
}

// Set changes it while it runs.
func (f *Server) Set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// Rollover begins a new backing index in each data stream.
func (f *Server) Rollover() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Roll()
}

// Roll is Rollover for the functions that are called while a request is answered.
func (f *Server) Roll() {
	for name, s := range f.Streams {
		s.roll(name)
	}
}

func (s *Stream) roll(name string) {
	s.Indices = append(s.Indices, &Index{Name: fmt.Sprintf(".ds-%s-2026.01.01-%06d", name, len(s.Indices)+1)})
}

// Docs lists the documents of a stream, by the name of its dataset's end, as they came.
func (f *Server) Docs(stream string) (out []Hit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range f.Order {
		if h.Stream == "logs-sallyport."+stream+"-default" {
			out = append(out, h)
		}
	}
	return out
}

// Biggest is the size of the largest bulk request, in documents.
func (f *Server) Biggest() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Max(append([]int{0}, f.Sent...))
}

func (f *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := read(r)
	if err != nil { // a client that was stopped while it sent: nothing is done with half a request
		Drop(w)
		return
	}
	if !f.Foreign {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
	}
	w.Header().Set("Content-Type", "application/json")
	f.Auth = r.Header.Get("Authorization")
	if f.Key != "" && f.Auth != f.Key {
		Refuse(w, http.StatusUnauthorized, "security_exception", "unable to authenticate")
		return
	}
	if f.OnRequest != nil && f.OnRequest(w, r) {
		return
	}
	for _, p := range f.Deny {
		if ok, _ := path.Match(p, r.URL.Path); ok {
			Refuse(w, http.StatusForbidden, "security_exception", "action is unauthorized")
			return
		}
	}
	first, rest, _ := strings.Cut(r.URL.Path[1:], "/")
	reads := slices.Contains([]string{"_mget", "_data_stream", "_pit"}, first) || strings.HasSuffix(r.URL.Path, "_search")
	switch {
	case r.URL.Path == "/":
		_, _ = fmt.Fprintf(w, `{"version":{"number":%q}}`, f.Version)
	case first == "_component_template" || first == "_index_template" || first == "_ilm":
		f.template(w, r, body)
	case f.NoRead && (reads || strings.HasSuffix(r.URL.Path, "_refresh")):
		Refuse(w, http.StatusForbidden, "security_exception", "action is unauthorized")
	case first == "_bulk":
		f.bulk(w, r, body)
	case first == "_mget":
		f.mget(w, body)
	case first == "_data_stream":
		f.streams(w, rest)
	case strings.HasSuffix(rest, "_refresh"):
		if f.missing(first) {
			Refuse(w, http.StatusNotFound, "index_not_found_exception", first)
			return
		}
		_, _ = w.Write([]byte(`{}`))
	case rest == "_pit" || first == "_pit" || strings.HasSuffix(r.URL.Path, "_search"):
		f.search(w, r, first, body)
	default:
		f.complain("fake: unexpected %s %s", r.Method, r.URL)
		Refuse(w, http.StatusBadRequest, "unexpected", r.URL.Path)
	}
}

// missing says whether a name, which is no pattern, is no data stream's.
func (f *Server) missing(name string) bool {
	return name != "" && !strings.HasPrefix(name, "_") && !strings.Contains(name, "*") && f.Streams[name] == nil
}

func read(r *http.Request) ([]byte, error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		body = z
	}
	return io.ReadAll(body)
}

// Refuse answers with an error as the real one does.
func Refuse(w http.ResponseWriter, status int, kind, reason string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"type":%q,"reason":%q},"status":%d}`, kind, reason, status)
}

// Drop cuts the connection without an answer.
func Drop(w http.ResponseWriter) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = c.Close()
	}
}

func (f *Server) template(w http.ResponseWriter, r *http.Request, body []byte) {
	switch {
	case f.NoTempl:
		Refuse(w, http.StatusForbidden, "security_exception", "action is unauthorized")
	case r.Method == http.MethodPut:
		f.Put[r.URL.Path] = body
		_, _ = w.Write([]byte(`{"acknowledged":true}`))
	case f.Put[r.URL.Path] == nil:
		Refuse(w, http.StatusNotFound, "resource_not_found_exception", r.URL.Path)
	default:
		_, _ = fmt.Fprintf(w, `{%q:%s}`, path.Base(r.URL.Path), f.Put[r.URL.Path])
	}
}

// find gives the place of a document.
func (x *Index) find(id string) int {
	return slices.IndexFunc(x.Docs, func(h Hit) bool { return h.ID == id })
}

func (f *Server) bulk(w http.ResponseWriter, r *http.Request, body []byte) {
	type target struct {
		Index string `json:"_index"`
		ID    string `json:"_id"`
	}
	type line struct {
		target
		op  string
		doc json.RawMessage
	}
	var items []line
	sc := bufio.NewScanner(bytes.NewReader(body))
	sc.Buffer(nil, 64<<20)
	for sc.Scan() {
		var op map[string]target
		if err := json.Unmarshal(sc.Bytes(), &op); err != nil || len(op) != 1 {
			f.complain("fake: operation %q: %v", sc.Text(), err)
			return
		}
		for name, t := range op {
			l := line{target: t, op: name}
			if name == "create" && sc.Scan() {
				l.doc = bytes.Clone(sc.Bytes())
			}
			items = append(items, l)
		}
	}
	create := len(items) > 0 && items[0].op == "create"
	if create && r.URL.Query().Get("require_data_stream") != "true" {
		f.complain("fake: documents for %s", r.URL)
	}
	if create {
		f.Sent = append(f.Sent, len(items))
		if f.OnBulk != nil && f.OnBulk(len(f.Sent), w) {
			return
		}
	}
	var out []string
	for _, it := range items {
		status, kind, index := http.StatusOK, "", it.Index
		if it.op == "create" {
			status, kind, index = f.create(it.Index, it.ID, it.doc)
		} else if made, ok := f.onDelete(it.Index, it.ID); ok {
			if status = made; made >= 400 && made != http.StatusNotFound {
				kind = "made_up_exception"
			}
		} else if status = http.StatusNotFound; f.remove(it.Index, it.ID) {
			status = http.StatusOK
		}
		if kind != "" {
			out = append(out, fmt.Sprintf(`{%q:{"_index":%q,"_id":%q,"status":%d,"error":{"type":%q,"reason":"because"}}}`, it.op, index, it.ID, status, kind))
			continue
		}
		out = append(out, fmt.Sprintf(`{%q:{"_index":%q,"_id":%q,"status":%d}}`, it.op, index, it.ID, status))
	}
	if create && f.AfterBulk != nil && f.AfterBulk(len(f.Sent), w) {
		return
	}
	_, _ = fmt.Fprintf(w, `{"errors":true,"items":[%s]}`, strings.Join(out, ","))
}

func (f *Server) create(stream, id string, raw json.RawMessage) (status int, kind, index string) {
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		f.complain("fake: document %q: %v", raw, err)
	}
	template := stream[:strings.LastIndexByte(stream, '-')]
	if f.Put["/_index_template/"+template] == nil && !f.NoTempl {
		return http.StatusNotFound, "index_not_found_exception", stream
	}
	s := f.Streams[stream]
	if s == nil {
		s = &Stream{}
		s.roll(stream)
		f.Streams[stream] = s
	}
	x := s.Indices[len(s.Indices)-1]
	if x.find(id) >= 0 {
		f.Conflicts++
		return http.StatusConflict, "version_conflict_engine_exception", x.Name
	}
	if f.OnItem != nil {
		if status, ok := f.OnItem(stream, id, doc); ok {
			return status, "made_up_exception", x.Name
		}
	}
	h := Hit{Index: x.Name, ID: id, Source: raw, Stream: stream}
	x.Docs = append(x.Docs, h)
	f.Order = append(f.Order, h)
	return http.StatusCreated, "", x.Name
}

func (f *Server) onDelete(index, id string) (int, bool) {
	if f.OnDelete == nil {
		return 0, false
	}
	return f.OnDelete(index, id)
}

func (f *Server) remove(index, id string) bool {
	for _, s := range f.Streams {
		for _, x := range s.Indices {
			if i := x.find(id); x.Name == index && i >= 0 {
				x.Docs = slices.Delete(x.Docs, i, i+1)
				return true
			}
		}
	}
	return false
}

func (f *Server) mget(w http.ResponseWriter, body []byte) {
	var q struct{ Docs []Hit }
	if err := json.Unmarshal(body, &q); err != nil {
		f.complain("fake: %q: %v", body, err)
	}
	f.Looked += len(q.Docs)
	var out []string
	for _, d := range q.Docs {
		found := false
		for _, s := range f.Streams {
			for _, x := range s.Indices {
				found = found || x.Name == d.Index && x.find(d.ID) >= 0
			}
		}
		out = append(out, fmt.Sprintf(`{"_index":%q,"_id":%q,"found":%v}`, d.Index, d.ID, found))
	}
	_, _ = fmt.Fprintf(w, `{"docs":[%s]}`, strings.Join(out, ","))
}

func (f *Server) streams(w http.ResponseWriter, pattern string) {
	type index struct {
		Name string `json:"index_name"`
	}
	type stream struct {
		Name    string  `json:"name"`
		Status  string  `json:"status"`
		Policy  string  `json:"ilm_policy"`
		Indices []index `json:"indices"`
	}
	var out []stream
	for name, s := range f.Streams {
		if ok, _ := path.Match(pattern, name); !ok {
			continue
		}
		d := stream{Name: name, Status: "GREEN", Policy: "sallyport-x"}
		for _, x := range s.Indices {
			d.Indices = append(d.Indices, index{x.Name})
		}
		out = append(out, d)
	}
	if len(out) == 0 && !strings.Contains(pattern, "*") {
		Refuse(w, http.StatusNotFound, "index_not_found_exception", pattern)
		return
	}
	slices.SortFunc(out, func(a, b stream) int { return strings.Compare(a.Name, b.Name) })
	_ = json.NewEncoder(w).Encode(map[string]any{"data_streams": out})
}
