// SPDX-License-Identifier: Apache-2.0

package http1_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/agent/proxy/http1"
	"github.com/sallyport-dev/sallyport/pipeline"
)

const get = "GET / HTTP/1.1\r\nHost: a\r\n"

func request(raw string) (*http1.Head, error) {
	var h http1.Head
	n, err := http1.End([]byte(raw), 0)
	if err != nil {
		return nil, err
	}
	return &h, h.Request([]byte(raw)[:n])
}

func TestRequestRefused(t *testing.T) {
	many := strings.Repeat("A: b\r\n", http1.MaxFields)
	for _, tc := range []struct {
		name, in string
		err      error
	}{
		{"bare LF", "GET / HTTP/1.1\nHost: a\n\n", http1.ErrLine},
		{"bare LF in the middle", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", http1.ErrLine},
		{"bare CR in a value", get + "X: a\rb\r\n\r\n", http1.ErrField},
		{"bare CR before CRLF", get + "X: a\r\r\n\r\n", http1.ErrField},
		{"NUL in a value", get + "X: a\x00\r\n\r\n", http1.ErrField},
		{"empty line first", "\r\n\r\n", http1.ErrStart},
		{"folded field", get + "X: a\r\n b\r\n\r\n", http1.ErrFold},
		{"white space first", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", http1.ErrFold},
		{"space before colon", get + "X : a\r\n\r\n", http1.ErrField},
		{"no colon", get + "X\r\n\r\n", http1.ErrField},
		{"no name", get + ": a\r\n\r\n", http1.ErrField},
		{"odd name", get + "X(y): a\r\n\r\n", http1.ErrField},
		{"too many fields", get + many + "\r\n", http1.ErrTooLarge},
		{"two Hosts", get + "host: a\r\n\r\n", http1.ErrHost},
		{"no Host", "GET / HTTP/1.1\r\nX: y\r\n\r\n", http1.ErrHost},
		{"empty Host", "GET / HTTP/1.1\r\nHost: \r\n\r\n", http1.ErrHost},
		{"two lengths", get + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", http1.ErrLength},
		{"list of lengths", get + "Content-Length: 5, 5\r\n\r\n", http1.ErrLength},
		{"signed length", get + "Content-Length: +5\r\n\r\n", http1.ErrLength},
		{"no length", get + "Content-Length: \r\n\r\n", http1.ErrLength},
		{"hexadecimal length", get + "Content-Length: 0x5\r\n\r\n", http1.ErrLength},
		{"length too large", get + "Content-Length: 9223372036854775808\r\n\r\n", http1.ErrLength},
		{"both framings", get + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", http1.ErrAmbiguous},
		{"both framings, other order", get + "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n", http1.ErrAmbiguous},
		{"gzip, chunked", get + "Transfer-Encoding: gzip, chunked\r\n\r\n", http1.ErrCoding},
		{"identity", get + "Transfer-Encoding: identity\r\n\r\n", http1.ErrCoding},
		{"chunked twice", get + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", http1.ErrCoding},
		{"vertical tab chunked", get + "Transfer-Encoding: \x0bchunked\r\n\r\n", http1.ErrField},
		{"chunked in 1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", http1.ErrCoding},
		{"version 2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", http1.ErrVersion},
		{"version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", http1.ErrVersion},
		{"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n", http1.ErrVersion},
		{"no version", "GET /\r\nHost: a\r\n\r\n", http1.ErrStart},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", http1.ErrStart},
		{"space in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", http1.ErrStart},
		{"fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", http1.ErrStart},
		{"high byte in target", "GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", http1.ErrStart},
		{"relative target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", http1.ErrStart},
		{"userinfo", "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", http1.ErrStart},
		{"encoded authority", "GET http://a%2eb/ HTTP/1.1\r\nHost: a.b\r\n\r\n", http1.ErrStart},
		{"odd authority", "GET http://a;b/ HTTP/1.1\r\nHost: a\r\n\r\n", http1.ErrStart},
		{"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", http1.ErrMethod},
		{"odd method", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", http1.ErrStart},
		{"length announced as a trailer", get + "Transfer-Encoding: chunked\r\nTrailer: X, content-Length\r\n\r\n", http1.ErrTrailer},
		{"unknown expectation", get + "Expect: wonders\r\n\r\n", http1.ErrExpectation},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := request(tc.in); !errors.Is(err, tc.err) {
				t.Errorf("error %v, want %v", err, tc.err)
			}
		})
	}
}

func TestRequest(t *testing.T) {
	raw := "POST /v1/x?a=1 HTTP/1.1\r\nhost:a.test\r\nX-Odd:  \t two words \t\r\nContent-Length: 3\r\nExpect: 100-Continue\r\nconnection: Keep-Alive , CLOSE\r\n\r\n"
	h, err := request(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(h.Method.Of([]byte(raw))) + " " + string(h.Target.Of([]byte(raw))); got != "POST /v1/x?a=1" {
		t.Error(got)
	}
	if h.Length != 3 || !h.Close || !h.Continue || h.Chunked || h.Host != 0 || h.Size != len(raw) {
		t.Errorf("%+v", h)
	}
	if got := fmt.Sprint(h.Visible([]byte(raw))); got != "[{host a.test} {X-Odd two words} {Content-Length 3} {Expect 100-Continue} {connection Keep-Alive , CLOSE}]" {
		t.Error(got)
	}
	for _, ok := range []string{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "GET https://a:443/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"} {
		if _, err := request(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
}

func TestReply(t *testing.T) {
	for _, tc := range []struct {
		name, method, in string
		framing          http1.Framing
		n                int64
		err              error
	}{
		{name: "counted", in: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", framing: http1.Counted, n: 5},
		{name: "empty", in: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		{name: "chunked", in: "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n", framing: http1.InChunks, n: -1},
		{name: "until close", in: "HTTP/1.1 200 \r\n\r\n", framing: http1.UntilClose, n: -1},
		{name: "no reason", in: "HTTP/1.1 200\r\n\r\n", framing: http1.UntilClose, n: -1},
		{name: "to HEAD", method: "HEAD", in: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{name: "204", in: "HTTP/1.1 204 No Content\r\n\r\n"},
		{name: "304 with length", in: "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"},
		{name: "100", in: "HTTP/1.1 100 Continue\r\n\r\n"},
		{name: "both framings", in: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", err: http1.ErrAmbiguous},
		{name: "four digits", in: "HTTP/1.1 2000 OK\r\n\r\n", err: http1.ErrStart},
		{name: "two digits", in: "HTTP/1.1 20 OK\r\n\r\n", err: http1.ErrStart},
		{name: "status below 100", in: "HTTP/1.1 099 OK\r\n\r\n", err: http1.ErrStart},
		{name: "CR in reason", in: "HTTP/1.1 200 O\rK\r\n\r\n", err: http1.ErrStart},
		{name: "version", in: "HTTP/2.0 200 OK\r\n\r\n", err: http1.ErrVersion},
		{name: "short", in: "HTTP/1.1\r\n\r\n", err: http1.ErrStart},
		{name: "folded", in: "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", err: http1.ErrFold},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var h http1.Head
			if err := h.Reply([]byte(tc.in)); !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if tc.err != nil {
				return
			}
			if f, n := h.ReplyBody(tc.method); f != tc.framing || n != tc.n {
				t.Errorf("framing %d %d", f, n)
			}
		})
	}
}

// A head is found at the same place however it arrives.
func TestEnd(t *testing.T) {
	raw := []byte(get + "X: y\r\n\r\nbody\r\n\r\n")
	want := len(get) + len("X: y\r\n\r\n")
	for n := range len(raw) + 1 {
		for from := 0; from <= n && from < want; from++ {
			got, err := http1.End(raw[:n], from)
			if err != nil {
				t.Fatalf("%d of %d: %v", from, n, err)
			}
			if n < want && got != 0 || n >= want && got != want {
				t.Fatalf("%d from %d: end %d, want %d", n, from, got, want)
			}
		}
	}
	if _, err := http1.End([]byte("a\n"), 0); !errors.Is(err, http1.ErrLine) {
		t.Error(err)
	}
}

func TestEdit(t *testing.T) {
	raw := "POST /a HTTP/1.1\r\nHOST:a\r\nAuthorization: Bearer k\r\nX-One:   1\r\ncookie: c\r\nX-Two: 2\t\r\n\r\n"
	h, err := request(raw)
	if err != nil {
		t.Fatal(err)
	}
	h.Fields[1].Hidden, h.Fields[3].Hidden = true, true
	same := h.Visible([]byte(raw))
	head := func() pipeline.Head { return pipeline.Head{Method: "POST", Target: "/a", Fields: same}.Clone() }
	for _, tc := range []struct {
		name string
		edit func(*pipeline.Head)
		want string
		err  error
	}{
		{name: "nothing", edit: func(*pipeline.Head) {}, want: raw},
		{name: "target", edit: func(p *pipeline.Head) { p.Target = "/b" }, want: strings.Replace(raw, "/a", "/b", 1)},
		{name: "one value", edit: func(p *pipeline.Head) { p.Set("x-one", "9") }, want: strings.Replace(raw, "  1", "  9", 1)},
		{name: "one removed", edit: func(p *pipeline.Head) { p.Del("x-one") }, want: strings.Replace(raw, "X-One:   1\r\n", "", 1)},
		{name: "one added", edit: func(p *pipeline.Head) { p.Set("New", "n") }, want: strings.Replace(raw, "\r\n\r\n", "\r\nNew: n\r\n\r\n", 1)},
		{name: "case of a name", edit: func(p *pipeline.Head) { p.Fields[0].Name = "Host" }, want: strings.Replace(raw, "HOST", "Host", 1)},
		{name: "order", edit: func(p *pipeline.Head) { p.Fields[1], p.Fields[2] = p.Fields[2], p.Fields[1] },
			want: "POST /a HTTP/1.1\r\nHOST:a\r\nAuthorization: Bearer k\r\ncookie: c\r\nX-Two: 2\t\r\nX-One: 1\r\n\r\n"},
		{name: "injected line", edit: func(p *pipeline.Head) { p.Set("X-One", "1\r\nEvil: 1") }, err: errAny},
		{name: "injected LF", edit: func(p *pipeline.Head) { p.Set("X-One", "1\nEvil: 1") }, err: errAny},
		{name: "injected head", edit: func(p *pipeline.Head) { p.Target = "/ HTTP/1.1\r\nHost: a\r\n\r\n" }, err: errAny},
		{name: "no host", edit: func(p *pipeline.Head) { p.Del("Host") }, err: errAny},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := head()
			tc.edit(&p)
			got, err := h.AppendRequest(nil, []byte(raw), p.Method, p.Target, p.Fields, new(http1.Head))
			if (err != nil) != (tc.err != nil) {
				t.Fatalf("error %v", err)
			}
			if err == nil && string(got) != tc.want {
				t.Errorf("got\n%q, want\n%q", got, tc.want)
			}
		})
	}
	var empty http1.Head
	got, err := empty.AppendReply(nil, nil, 403, "Forbidden", []pipeline.Field{{Name: "Content-Length", Value: "0"}}, new(http1.Head))
	if err != nil || string(got) != "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" {
		t.Errorf("%q %v", got, err)
	}
}

var errAny = errors.New("any")

// decode runs a decoder over in, which arrives in pieces of n bytes.
func decode(in string, n int, partial bool) (body, trailer string, rest string, err error) {
	var d http1.Decoder
	buf, left := "", in
	for {
		p, err := d.Next([]byte(buf), partial)
		if err != nil {
			return body, "", "", err
		}
		if p.Last {
			return body, buf[p.Data.Start:p.Data.End], buf[p.Size:] + left, nil
		}
		body += buf[p.Data.Start:p.Data.End]
		buf = buf[p.Size:]
		if p.Size > 0 {
			continue
		}
		if left == "" {
			return body, "", "", errors.New("more")
		}
		k := min(n, len(left))
		buf, left = buf+left[:k], left[k:]
	}
}

func TestDecoder(t *testing.T) {
	for _, tc := range []struct {
		name, in, body, trailer, rest string
		err                           error
	}{
		{name: "two chunks", in: "5\r\nhello\r\n006\r\n world\r\n0\r\n\r\nGET", body: "hello world", rest: "GET"},
		{name: "empty", in: "0\r\n\r\n"},
		{name: "extension", in: "5;a=\"b\"\r\nhello\r\n0;x\r\n\r\n", body: "hello"},
		{name: "trailers", in: "1\r\nx\r\n0\r\nA: b\r\nC:d\r\n\r\nrest", body: "x", trailer: "A: b\r\nC:d\r\n", rest: "rest"},
		{name: "upper-case hex", in: "A\r\n0123456789\r\n0\r\n\r\n", body: "0123456789"},
		{name: "no size", in: "\r\nx\r\n", err: http1.ErrChunk},
		{name: "0x", in: "0x5\r\nhello\r\n", err: http1.ErrChunk},
		{name: "negative", in: "-5\r\nhello\r\n", err: http1.ErrChunk},
		{name: "space before CRLF", in: "5 \r\nhello\r\n", err: http1.ErrChunk},
		{name: "bare LF", in: "5\nhello\r\n", err: http1.ErrChunk},
		{name: "bare LF after extension", in: "5;a\nhello\r\n", err: http1.ErrChunk},
		{name: "bare CR in extension", in: "5;a\rb\r\nhello\r\n", err: http1.ErrChunk},
		{name: "too many digits", in: "0000000000000000000005\r\nhello\r\n", err: http1.ErrChunk},
		{name: "payload too long", in: "4\r\nhello\r\n", err: http1.ErrChunk},
		{name: "payload too short", in: "6\r\nhello\r\n0\r\n\r\n", err: http1.ErrChunk},
		{name: "bare LF after payload", in: "5\r\nhello\n0\r\n\r\n", err: http1.ErrChunk},
		{name: "bare LF in trailers", in: "0\r\nA: b\n\r\n", err: http1.ErrTrailer},
		{name: "length among the trailers", in: "0\r\nA: b\r\nContent-Length: 5\r\n\r\n", err: http1.ErrTrailer},
		{name: "host among the trailers", in: "0\r\nhost: b\r\n\r\n", err: http1.ErrTrailer},
		{name: "folded trailer", in: "0\r\nA: b\r\n c\r\n\r\n", err: http1.ErrTrailer},
		{name: "long extension", in: "5;" + strings.Repeat("a", 2000) + "\r\n", err: http1.ErrChunk},
		{name: "too many extensions", in: strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 66) + "0\r\n\r\n", err: http1.ErrChunk},
		{name: "long trailers", in: "0\r\nA: " + strings.Repeat("a", 20000) + "\r\n\r\n", err: http1.ErrTrailer},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 7, 1 << 20} {
				for _, partial := range []bool{false, true} {
					body, trailer, rest, err := decode(tc.in, n, partial)
					if !errors.Is(err, tc.err) {
						t.Fatalf("by %d, partial %v: error %v, want %v", n, partial, err, tc.err)
					}
					if err == nil && (body != tc.body || trailer != tc.trailer || rest != tc.rest) {
						t.Errorf("by %d, partial %v: %q %q %q", n, partial, body, trailer, rest)
					}
				}
			}
		})
	}
}

func TestAppendChunk(t *testing.T) {
	for n, want := range map[int]string{1: "1", 15: "f", 16: "10", 255: "ff", 4096: "1000", 1 << 20: "100000"} {
		if got := string(http1.AppendChunkLine(nil, n)); got != want+"\r\n" {
			t.Errorf("%d: %q", n, got)
		}
	}
	if got := http1.AppendChunk(nil, nil); len(got) != 0 {
		t.Errorf("an empty chunk ends the body: %q", got)
	}
}
