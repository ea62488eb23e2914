// SPDX-License-Identifier: Apache-2.0

package hello_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/agent/proxy/hello"
)

// wire is a connection whose input is fixed and whose output is kept.
type wire struct {
	in  io.Reader
	out bytes.Buffer
}

func (w *wire) Read(b []byte) (int, error)     { return w.in.Read(b) }
func (w *wire) Write(b []byte) (int, error)    { return w.out.Write(b) }
func (*wire) Close() error                     { return nil }
func (*wire) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*wire) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*wire) SetDeadline(time.Time) error      { return nil }
func (*wire) SetReadDeadline(time.Time) error  { return nil }
func (*wire) SetWriteDeadline(time.Time) error { return nil }

// client returns the hello that crypto/tls sends.
func client(c *tls.Config) []byte {
	w := &wire{in: strings.NewReader("")}
	_ = tls.Client(w, c).Handshake() // ends at once: the server says nothing
	return w.out.Bytes()
}

// split cuts the message of one record into records of n bytes.
func split(b []byte, n int) []byte {
	var out []byte
	for msg := b[5:]; len(msg) > 0; {
		k := min(n, len(msg))
		out = append(append(out, b[0], b[1], b[2], byte(k>>8), byte(k)), msg[:k]...)
		msg = msg[k:]
	}
	return out
}

// extension makes a hello with these extensions and nothing else of interest.
func extension(exts ...[]byte) []byte {
	body := append(make([]byte, 34), 0, 0, 2, 0x13, 1, 1, 0)
	all := bytes.Join(exts, nil)
	body = append(append(body, byte(len(all)>>8), byte(len(all))), all...)
	msg := append([]byte{1, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	return append([]byte{22, 3, 1, byte(len(msg) >> 8), byte(len(msg))}, msg...)
}

func ext(kind int, data string) []byte {
	return append([]byte{byte(kind >> 8), byte(kind), byte(len(data) >> 8), byte(len(data))}, data...)
}

func sni(name string) []byte {
	n := len(name)
	return ext(0, string([]byte{byte((n + 3) >> 8), byte(n + 3), 0, byte(n >> 8), byte(n)})+name)
}

func TestParse(t *testing.T) {
	plain := client(&tls.Config{ServerName: "API.openai.com", NextProtos: []string{"h2", "http/1.1"}})
	old := client(&tls.Config{ServerName: "a.test", MaxVersion: tls.VersionTLS12})
	noName := client(&tls.Config{InsecureSkipVerify: true})
	for _, tc := range []struct {
		name string
		in   []byte
		sni  string
		alpn []string
		ech  bool
		err  error
	}{
		{name: "crypto/tls", in: plain, sni: "api.openai.com", alpn: []string{"h2", "http/1.1"}},
		{name: "TLS 1.2", in: old, sni: "a.test"},
		{name: "no name", in: noName},
		{name: "bytes after it", in: append(slices.Clone(plain), "more"...), sni: "api.openai.com", alpn: []string{"h2", "http/1.1"}},
		{name: "one byte a record", in: split(plain, 1), sni: "api.openai.com", alpn: []string{"h2", "http/1.1"}},
		{name: "100 bytes a record", in: split(plain, 100), sni: "api.openai.com", alpn: []string{"h2", "http/1.1"}},
		{name: "encrypted hello", in: extension(sni("outer.test"), ext(0xfe0d, "x")), sni: "outer.test", ech: true},
		{name: "empty", in: nil, err: hello.ErrMore},
		{name: "first byte", in: []byte{22}, err: hello.ErrMore},
		{name: "all but one byte", in: plain[:len(plain)-1], err: hello.ErrMore},
		{name: "http", in: []byte("POST / HTTP/1.1\r\n"), err: hello.ErrNotTLS},
		{name: "ssh", in: []byte("S"), err: hello.ErrNotTLS},
		{name: "alert record", in: []byte{21, 3, 1, 0, 2, 1, 0}, err: hello.ErrNotTLS},
		{name: "server hello", in: []byte{22, 3, 3, 0, 4, 2, 0, 0, 0}, err: hello.ErrNotTLS},
		{name: "empty record", in: []byte{22, 3, 1, 0, 0}, err: hello.ErrNotTLS},
		{name: "empty record inside", in: append(split(plain, 9)[:14], 22, 3, 1, 0, 0), err: hello.ErrMalformed},
		{name: "other record inside", in: append(split(plain, 9)[:14], 21, 3, 1, 0, 2), err: hello.ErrMalformed},
		{name: "too large", in: []byte{22, 3, 1, 0, 4, 1, 1, 0, 0}, err: hello.ErrTooLarge},
		{name: "two names", in: extension(sni("a.test"), sni("b.test")), err: hello.ErrMalformed},
		{name: "two names, far apart", in: extension(sni("a.test"), ext(1, ""), ext(2, ""), ext(3, ""), ext(4, ""), ext(5, ""), ext(6, ""), ext(7, ""), ext(8, ""), sni("b.test")), err: hello.ErrMalformed},
		{name: "two names in one list", in: extension(ext(0, "\x00\x08\x00\x00\x01a\x00\x00\x01b")), err: hello.ErrMalformed},
		{name: "final dot", in: extension(sni("a.test.")), err: hello.ErrMalformed},
		{name: "NUL in name", in: extension(sni("a.test\x00.b")), err: hello.ErrMalformed},
		{name: "empty name", in: extension(sni("")), err: hello.ErrMalformed},
		{name: "empty protocol", in: extension(ext(16, "\x00\x01\x00")), err: hello.ErrMalformed},
		{name: "extension too long", in: extension([]byte{0, 0, 0, 9, 0}), err: hello.ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := hello.Parse(tc.in)
			if !errors.Is(err, tc.err) {
				t.Fatalf("error %v, want %v", err, tc.err)
			}
			if err == nil && (got.ServerName != tc.sni || !slices.Equal(got.ALPN, tc.alpn) || got.ECH != tc.ech) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// Every beginning of a hello asks for more, and the whole is read the same however it arrives.
func TestParseEveryPrefix(t *testing.T) {
	for _, in := range [][]byte{client(&tls.Config{ServerName: "a.test"}), split(client(&tls.Config{ServerName: "a.test"}), 7)} {
		for n := range in {
			if _, err := hello.Parse(in[:n]); !errors.Is(err, hello.ErrMore) {
				t.Fatalf("%d of %d bytes: %v", n, len(in), err)
			}
		}
	}
}

// oracle asks crypto/tls what it reads.
func oracle(in []byte) (name string, alpn []string, ok bool) {
	stop := errors.New("seen")
	c := &tls.Config{MinVersion: tls.VersionTLS10, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		name, alpn, ok = h.ServerName, h.SupportedProtos, true
		return nil, stop
	}}
	_ = tls.Server(&wire{in: bytes.NewReader(in)}, c).HandshakeContext(context.Background())
	return name, alpn, ok
}

// What we accept, crypto/tls reads in the same way, if it accepts it.
func FuzzParse(f *testing.F) {
	plain := client(&tls.Config{ServerName: "api.openai.com", NextProtos: []string{"h2", "http/1.1"}})
	f.Add(plain)
	f.Add(split(plain, 60))
	f.Add(client(&tls.Config{ServerName: "a.test", MaxVersion: tls.VersionTLS12}))
	f.Add(extension(sni("outer.test"), ext(0xfe0d, "x")))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := hello.Parse(in)
		if err != nil {
			return
		}
		name, alpn, ok := oracle(in)
		if !ok {
			return
		}
		if !strings.EqualFold(name, got.ServerName) || !slices.Equal(alpn, got.ALPN) {
			t.Errorf("crypto/tls reads %q %q, we read %+v", name, alpn, got)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	in := client(&tls.Config{ServerName: "api.openai.com", NextProtos: []string{"http/1.1"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := hello.Parse(in); err != nil {
			b.Fatal(err)
		}
	}
}
