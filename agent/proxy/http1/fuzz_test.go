// SPDX-License-Identifier: Apache-2.0

package http1_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/proxy/http1"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// body reads what we take for the body of a message, and what follows it.
func body(f http1.Framing, n int64, b []byte) (data []byte, rest []byte, ok bool) {
	switch f {
	case http1.NoBody:
		return nil, b, true
	case http1.Counted:
		if int64(len(b)) < n {
			return nil, nil, false
		}
		return b[:n], b[n:], true
	case http1.UntilClose:
		return b, nil, true
	}
	var d http1.Decoder
	for {
		p, err := d.Next(b, true)
		switch {
		case err != nil:
			return nil, nil, false
		case p.Last:
			return data, b[p.Size:], true
		case p.Size == 0:
			return nil, nil, false
		}
		data = append(data, p.Data.Of(b)...)
		b = b[p.Size:]
	}
}

// same compares our fields with net/http's, which keeps no order between different names.
func same(t *testing.T, raw []byte, h *http1.Head, theirs http.Header, dropped ...string) {
	ours := http.Header{}
	for _, f := range h.Visible(raw) {
		k := textproto.CanonicalMIMEHeaderKey(f.Name)
		ours[k] = append(ours[k], f.Value)
	}
	for _, k := range dropped {
		delete(ours, k)
		delete(theirs, k)
	}
	if len(ours) != len(theirs) {
		t.Fatalf("fields %q, net/http has %q", ours, theirs)
	}
	for k, v := range ours {
		if strings.Join(v, "\x00") != strings.Join(theirs[k], "\x00") {
			t.Fatalf("%s is %q, net/http has %q", k, v, theirs[k])
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add([]byte("POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 2\r\n\r\n{}GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"))
	f.Add([]byte("GET https://a/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := http1.End(in, 0)
		if err != nil || n == 0 {
			return
		}
		var h http1.Head
		if h.Request(in[:n]) != nil {
			return
		}
		raw := in[:n]
		br := bufio.NewReaderSize(bytes.NewReader(in), len(in)+16)
		r, err := http.ReadRequest(br)
		if err != nil {
			if _, perr := url.ParseRequestURI(string(h.Target.Of(raw))); perr != nil {
				return // net/http reads into the path, which we forward as it is
			}
			t.Fatalf("net/http refuses %q: %v", raw, err)
		}
		if r.Method != string(h.Method.Of(raw)) || r.RequestURI != string(h.Target.Of(raw)) || r.Close != h.Close {
			t.Fatalf("net/http reads %s %s close %v", r.Method, r.RequestURI, r.Close)
		}
		same(t, raw, &h, r.Header.Clone(), "Host", "Transfer-Encoding", "Connection", "Trailer", "Content-Length", "Pragma", "Cache-Control")
		framing, length := h.RequestBody()
		ours, rest, ok := body(framing, length, in[n:])
		theirs, err := io.ReadAll(r.Body)
		if !ok {
			return
		}
		if err != nil || !bytes.Equal(ours, theirs) {
			t.Fatalf("body %q, net/http reads %q, %v", ours, theirs, err)
		}
		if left, _ := io.ReadAll(br); !bytes.Equal(left, rest) {
			t.Fatalf("the next message begins with %q, net/http says %q", rest, left)
		}
		// An edit of nothing changes nothing; hiding a field keeps it in its place.
		for i := range h.Fields {
			h.Fields[i].Hidden = i%3 == 1
		}
		out, err := h.AppendRequest(nil, raw, string(h.Method.Of(raw)), string(h.Target.Of(raw)), h.Visible(raw), new(http1.Head))
		if err != nil || !bytes.Equal(out, raw) {
			t.Fatalf("edit of nothing: %q, %v", out, err)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"), false)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata: \r\n0\r\nA: b\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.0 200 OK\r\n\r\nbody"), true)
	f.Fuzz(func(t *testing.T, in []byte, isHead bool) {
		n, err := http1.End(in, 0)
		if err != nil || n == 0 {
			return
		}
		var h http1.Head
		if h.Reply(in[:n]) != nil {
			return
		}
		raw := in[:n]
		method := "GET"
		if isHead {
			method = "HEAD"
		}
		r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", raw, err)
		}
		if r.StatusCode != h.Status {
			t.Fatalf("net/http reads status %d", r.StatusCode)
		}
		same(t, raw, &h, r.Header.Clone(), "Transfer-Encoding", "Connection", "Trailer", "Content-Length", "Pragma", "Cache-Control")
		framing, length := h.ReplyBody(method)
		ours, _, ok := body(framing, length, in[n:])
		theirs, err := io.ReadAll(r.Body)
		if ok && (err != nil || !bytes.Equal(ours, theirs)) {
			t.Fatalf("body %q, net/http reads %q, %v", ours, theirs, err)
		}
	})
}

// Whatever is put into an edit, the result is one head that holds exactly these fields, or an error.
func FuzzEdit(f *testing.F) {
	f.Add("X-A", "b", "/x", "GET")
	f.Add("X\r\nY", "b", "/x", "GET")
	f.Add("X", "a\r\n\r\nGET / HTTP/1.1", "/x", "GET")
	f.Add("Content-Length", "5", "/ HTTP/1.1\r\nA: b", "GET")
	f.Fuzz(func(t *testing.T, name, value, target, method string) {
		raw := []byte("POST /a HTTP/1.1\r\nHost:a\r\nAuthorization: k\r\nX-A:  1\r\n\r\n")
		var h http1.Head
		if err := h.Request(raw); err != nil {
			t.Fatal(err)
		}
		h.Fields[1].Hidden = true
		fields := []pipeline.Field{{Name: "Host", Value: "a"}, {Name: name, Value: value}}
		out, err := h.AppendRequest(nil, raw, method, target, fields, new(http1.Head))
		if err != nil {
			return
		}
		if n, err := http1.End(out, 0); err != nil || n != len(out) {
			t.Fatalf("%q ends at %d: %v", out, n, err)
		}
		var got http1.Head
		if err := got.Request(out); err != nil {
			t.Fatal(err)
		}
		if len(got.Fields) != 3 || string(got.Method.Of(out)) != method || string(got.Target.Of(out)) != target {
			t.Fatalf("%q", out)
		}
		keys := 0
		for _, g := range got.Visible(out) {
			if g.Name == "Authorization" && g.Value == "k" {
				keys++
			}
			if g.Name == name && g.Value != strings.Trim(value, " \t") {
				t.Fatalf("%q for %q", g.Value, value)
			}
		}
		if keys == 0 {
			t.Fatalf("credential lost: %q", out)
		}
	})
}

func BenchmarkRequest(b *testing.B) {
	raw := []byte("POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 3.54.0\r\nX-Stainless-Lang: python\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\nAuthorization: Bearer 0123456789012345678901234567890123456789\r\nX-Stainless-Raw-Response: true\r\nx-stainless-retry-count: 0\r\nContent-Length: 1024\r\n\r\n")
	var h http1.Head
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		n, err := http1.End(raw, 0)
		if err != nil || h.Request(raw[:n]) != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChunk(b *testing.B) {
	in := http1.AppendChunk(nil, bytes.Repeat([]byte("x"), 250))
	out := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		var d http1.Decoder
		p, err := d.Next(in, false)
		if err != nil || !p.Whole {
			b.Fatal(err)
		}
		out = http1.AppendChunk(out[:0], p.Data.Of(in))
	}
}
