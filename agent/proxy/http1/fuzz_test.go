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

// state is what became of a body.
type state int

const (
	whole   state = iota
	short         // more bytes are needed
	refused       // it is malformed
)

// body reads what we take for the body of a message, its trailer section, and what follows it. It is shown the bytes in
// pieces, as large as step says, so that nothing depends on where they are split.
func body(f http1.Framing, n int64, in []byte, step int) (data, trailer, rest []byte, st state) {
	switch f {
	case http1.NoBody:
		return nil, nil, in, whole
	case http1.Counted:
		if int64(len(in)) < n {
			return nil, nil, nil, short
		}
		return in[:n], nil, in[n:], whole
	case http1.UntilClose:
		return in, nil, nil, whole
	}
	var d http1.Decoder
	for at, seen := 0, min(step, len(in)); ; {
		b := in[at:seen]
		p, err := d.Next(b, step%2 == 0)
		switch {
		case err != nil:
			return nil, nil, nil, refused
		case p.Last:
			return data, p.Data.Of(b), in[at+p.Size:], whole
		case p.Size == 0 && seen == len(in):
			return nil, nil, nil, short
		case p.Size == 0:
			seen = min(seen+step, len(in))
			continue
		}
		data = append(data, p.Data.Of(b)...)
		at += p.Size
	}
}

// sameBody compares what we and net/http take for a body. What we refuse is refused; what we read, or wait for, net/http reads
// and waits for too.
func sameBody(t *testing.T, f http1.Framing, n int64, in []byte, r io.Reader, trailer *http.Header) (rest []byte, st state) {
	ours, tail, rest, st := body(f, n, in, len(in)+1)
	for _, step := range []int{1, 2, 7, 8} {
		again, tail2, rest2, st2 := body(f, n, in, step)
		if st2 != st || !bytes.Equal(again, ours) || !bytes.Equal(tail, tail2) || !bytes.Equal(rest, rest2) {
			t.Fatalf("in pieces of %d bytes it is another body: %d %q %q, not %d %q %q", step, st2, again, tail2, st, ours, tail)
		}
	}
	theirs, err := io.ReadAll(r)
	switch {
	case st == short && err == nil:
		t.Fatalf("we wait for more, net/http has read %q to the end", theirs)
	case st == whole && (err != nil || !bytes.Equal(ours, theirs)):
		t.Fatalf("body %q, net/http reads %q, %v", ours, theirs, err)
	case st == whole && len(tail) > 0:
		lines := http.Header{}
		for line := range strings.Lines(string(tail)) {
			name, value, _ := strings.Cut(line, ":")
			k := textproto.CanonicalMIMEHeaderKey(name)
			lines[k] = append(lines[k], strings.Trim(value, " \t\r\n"))
		}
		for k, v := range lines {
			if strings.Join(v, "\x00") != strings.Join((*trailer)[k], "\x00") {
				t.Fatalf("trailer %s is %q, net/http has %q", k, v, (*trailer)[k])
			}
		}
	}
	return rest, st
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
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;a=\"b\";c\r\nabc\r\n00;d\r\nX: y\r\nX: z\r\n\r\nGET"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) { checkRequest(t, in) })
}

// checkRequest holds our reading of a request, and of where the next one begins, against net/http's.
func checkRequest(t *testing.T, in []byte) {
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
	sameHost(t, &h, raw, r)
	framing, length := h.RequestBody()
	rest, st := sameBody(t, framing, length, in[n:], r.Body, &r.Trailer)
	if st != whole {
		return
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
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"), false)
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ndata: \r\n0\r\nA: b\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), false)
	f.Add([]byte("HTTP/1.0 200 OK\r\n\r\nbody"), true)
	f.Add([]byte("HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), false)
	f.Fuzz(func(t *testing.T, in []byte, isHead bool) { checkReply(t, in, isHead) })
}

// checkReply is checkRequest for replies.
func checkReply(t *testing.T, in []byte, isHead bool) {
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
	br := bufio.NewReaderSize(bytes.NewReader(in), len(in)+16)
	r, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("net/http refuses %q: %v", raw, err)
	}
	if r.StatusCode != h.Status {
		t.Fatalf("net/http reads status %d", r.StatusCode)
	}
	same(t, raw, &h, r.Header.Clone(), "Transfer-Encoding", "Connection", "Trailer", "Content-Length", "Pragma", "Cache-Control")
	framing, length := h.ReplyBody(method)
	if h.Status < 200 || h.Status == 204 || h.Status == 304 || isHead {
		if framing != http1.NoBody {
			t.Fatalf("a reply that has no body is framed %d", framing)
		}
	}
	rest, st := sameBody(t, framing, length, in[n:], r.Body, &r.Trailer)
	if r.Close != (h.Close || framing == http1.UntilClose) && h.Status >= 200 {
		t.Fatalf("the connection ends: %v, net/http says %v", h.Close, r.Close)
	}
	if st != whole || framing == http1.UntilClose {
		return
	}
	if left, _ := io.ReadAll(br); !bytes.Equal(left, rest) {
		t.Fatalf("the next message begins with %q, net/http says %q", rest, left)
	}
	// An edit of nothing changes nothing.
	out, err := h.AppendReply(nil, raw, h.Status, string(h.Reason.Of(raw)), h.Visible(raw), new(http1.Head))
	if err != nil || !bytes.Equal(out, raw) {
		t.Fatalf("edit of nothing: %q, %v", out, err)
	}
}

// fragments are what messages are made of, and what is used to make two readers disagree about them.
var fragments = []string{
	"POST / HTTP/1.1\r\n", "GET http://a/b?c HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n", "GET / HTTP/1.0\r\n", "HEAD //a HTTP/1.1\r\n", "get / HTTP/1.1\r\n",
	"HTTP/1.1 200 OK\r\n", "HTTP/1.1 204 \r\n", "HTTP/1.1 304\r\n", "HTTP/1.1 100 Continue\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 500 \xff\r\n",
	"Host: a\r\n", "Host: b:1\r\n", "host:a\r\n", "Content-Length: 5\r\n", "Content-Length: 0\r\n", "content-length:\t5 \r\n", "Content-Length: 005\r\n",
	"Content-Length: 5,5\r\n", "Content-Length: 99\r\n", "Content_Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "transfer-encoding:CHUNKED\r\n",
	"Transfer-Encoding: chunked;a\r\n", "Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding:\r\n", "Connection: close\r\n", "Connection: keep-alive, x\r\n",
	"Connection: x\r\nConnection: CLOSE\r\n", "Trailer: X\r\n", "Trailer: Content-Length\r\n", "Expect: 100-continue\r\n", "Upgrade: h2c\r\n", "X: y\r\n", "X:\r\n", "X: \x80\r\n",
	"\r\n", "\n", "\r", " ", "\t", ":", ";", ",", "\x00", "\x0b", "\x0c", "\x85", "0", "5", "A", "a", "f", "x", "+", "-", "_", "\"", "=", "hello", "01234567890123456789",
	"5\r\nhello\r\n", "5;a=b\r\nhello\r\n", "5;a=\"\r\n", "05\r\nhello\r\n", "5 \r\nhello\r\n", "5\nhello\n", "0\r\n\r\n", "00\r\n", "0;x\r\n", "0\r\nX: y\r\n\r\n",
	"ffffffffffffffff\r\n", "10000000000000005\r\nhello\r\n", "Z: 1\r\nZ: 2\r\n\r\n",
}

// FuzzFragments puts messages together from fragments: each byte names one.
func FuzzFragments(f *testing.F) {
	index := map[string]byte{}
	for i, s := range fragments {
		index[s] = byte(i)
	}
	say := func(list ...string) (out []byte) {
		for _, s := range list {
			i, ok := index[s]
			if !ok {
				f.Fatalf("%q is no fragment", s)
			}
			out = append(out, i)
		}
		return out
	}
	f.Add(say("POST / HTTP/1.1\r\n", "Host: a\r\n", "Content-Length: 5\r\n", "\r\n", "hello", "POST / HTTP/1.1\r\n", "Host: a\r\n", "\r\n"), false)
	f.Add(say("POST / HTTP/1.1\r\n", "Host: a\r\n", "Transfer-Encoding: chunked\r\n", "Trailer: X\r\n", "\r\n", "5;a=b\r\nhello\r\n", "0\r\nX: y\r\n\r\n", "GET / HTTP/1.0\r\n"), false)
	f.Add(say("HTTP/1.1 200 OK\r\n", "Transfer-Encoding: chunked\r\n", "\r\n", "5\r\nhello\r\n", "00\r\n", "\r\n", "HTTP/1.1 200 OK\r\n"), true)
	f.Add(say("HTTP/1.1 304\r\n", "Content-Length: 99\r\n", "Connection: x\r\nConnection: CLOSE\r\n", "\r\n", "hello"), false)
	f.Fuzz(func(t *testing.T, in []byte, isHead bool) {
		var b []byte
		for _, i := range in[:min(len(in), 64)] {
			b = append(b, fragments[int(i)%len(fragments)]...)
		}
		checkRequest(t, b)
		checkReply(t, b, isHead)
	})
}

// sameHost compares whom a request is for: the target's authority if it has one, else Host (RFC 9112 section 3.2.2).
func sameHost(t *testing.T, h *http1.Head, raw []byte, r *http.Request) {
	want := ""
	if h.Host >= 0 {
		want = string(h.Fields[h.Host].Value.Of(raw))
	}
	if target := h.Target.Of(raw); target[0] != '/' {
		if a, ok := http1.Authority(target); ok {
			want = a
		}
	}
	if r.Host != want {
		t.Fatalf("for %q, net/http says %q", want, r.Host)
	}
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

// The same of replies: nothing that a handler gives becomes a second reply, or a field that it did not give.
func FuzzEditReply(f *testing.F) {
	f.Add("X-A", "b", "Fine", 200)
	f.Add("X", "a\r\n\r\nHTTP/1.1 200 OK", "OK", 200)
	f.Add("Transfer-Encoding", "chunked", "OK\r\nA: b", 404)
	f.Add("X\r\nSet-Cookie", "a", "", 1000)
	f.Fuzz(func(t *testing.T, name, value, why string, status int) {
		raw := []byte("HTTP/1.1 200 OK\r\nServer:  x \r\nX-A: 1\r\nX-A: 2\r\n\r\n")
		var h http1.Head
		if err := h.Reply(raw); err != nil {
			t.Fatal(err)
		}
		fields := []pipeline.Field{{Name: "Server", Value: "x"}, {Name: name, Value: value}}
		out, err := h.AppendReply(nil, raw, status, why, fields, new(http1.Head))
		if err != nil {
			return
		}
		if n, err := http1.End(out, 0); err != nil || n != len(out) {
			t.Fatalf("%q ends at %d: %v", out, n, err)
		}
		var got http1.Head
		if err := got.Reply(out); err != nil {
			t.Fatal(err)
		}
		if len(got.Fields) != 2 || got.Status != status || string(got.Reason.Of(out)) != why {
			t.Fatalf("%q", out)
		}
		if g := got.Visible(out)[1]; g.Name != name || g.Value != strings.Trim(value, " \t") {
			t.Fatalf("%q", out)
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
