// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-dev/sallyport/test/lab"
)

// rawClient sends requests byte by byte as they are given and prints the raw replies. args: address, server name, file
// of trusted roots, then one file per request, all sent over one connection; behind "each", over one each, whatever becomes of it.
func rawClient(out io.Writer, args []string) error {
	if len(args) > 4 && args[3] == "each" {
		for _, file := range args[4:] {
			if err := rawClient(out, append(args[:3:3], file)); err != nil {
				fmt.Fprintln(out, err)
			}
		}
		return nil
	}
	if len(args) < 4 {
		return fmt.Errorf("raw client: want address, name, roots and requests, got %q", args)
	}
	roots := x509.NewCertPool()
	for _, file := range strings.Split(args[2], ",") {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		roots.AppendCertsFromPEM(raw)
	}
	conn, err := tls.Dial("tcp", args[0], &tls.Config{RootCAs: roots, ServerName: args[1], NextProtos: []string{"http/1.1"}})
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReader(io.TeeReader(conn, out))
	for _, file := range args[3:] {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, err := conn.Write(raw); err != nil {
			return err
		}
		reply, err := http.ReadResponse(in, nil)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, reply.Body); err != nil {
			return err
		}
	}
	return nil
}

// rawServer speaks TLS with the fake provider's certificate, keeps the bytes of every request, and answers each with
// the next of the given replies.
type rawServer struct {
	mu      sync.Mutex
	got     bytes.Buffer
	replies [][]byte
}

func (s *rawServer) serve(conn net.Conn) error {
	defer conn.Close()
	in := bufio.NewReader(io.TeeReader(conn, lockedWriter{s}))
	for _, reply := range s.replies {
		req, err := http.ReadRequest(in)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return err
		}
		if _, err := conn.Write(reply); err != nil {
			return err
		}
	}
	_, err := in.ReadByte()
	if err == io.EOF {
		return nil
	}
	return err
}

// serverCertificate makes a CA and a certificate for one name.
func serverCertificate(t *testing.T, name string) (tls.Certificate, []byte) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "raw test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	must(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: ca.NotBefore,
		NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
}

type lockedWriter struct{ s *rawServer }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	return w.s.got.Write(p)
}

func (s *rawServer) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got.String()
	s.got.Reset()
	return got
}

const rawChat = `{"messages":[{"role":"user","content":"caf\u00e9 \ud83d\ude00"}],  "model":"gpt-4o-mini" ,"stream":false, "x_unknown": [1.50, 1e3]}`

// TestBytesAreTheSame compares raw bytes, both ways, of a direct run with runs in observe and in enforce where nothing is
// refused or masked: header order and case, spacing, escapes, chunk boundaries.
func TestBytesAreTheSame(t *testing.T) {
	request := func(target, body string) string {
		return "POST " + target + " HTTP/1.1\r\nhost: api.openai.com\r\naccept:  application/json\r\nX-ODD-case: Yes\r\nAuthorization: Bearer sk-test-not-a-key\r\n" +
			"Content-type: application/json\r\nx-stainless-retry-count: 0\r\ncontent-length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body
	}
	chunk := func(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }
	event := func(delta string) string {
		return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"delta":` + delta + `,"finish_reason":null}]}` + "\n\n"
	}
	plain := `{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"ol\u00e1  world \ud83d\ude00 4111"},"finish_reason":"stop"}], "usage" : {"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`
	replies := [][]byte{
		[]byte("HTTP/1.1 200 OK\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\ncontent-TYPE: application/json\r\nOpenAI-Organization: x\r\nopenai-version:2020-10-01\r\nContent-Length: " + fmt.Sprint(len(plain)) + "\r\nset-cookie: __cf_bm=a; path=/\r\nset-cookie: _cfuvid=b\r\n\r\n" + plain),
		[]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\nX-request-ID: req_1\r\n\r\n" +
			chunk(event(`{"role":"assistant","content":""}`)) + chunk(event(`{"content":"Hello"}`)+event(`{"content":" wor"}`)) + chunk(event(`{"content":"ld, 41"}`)) +
			chunk(event(`{"content":"\u00e9 end."}`)) + chunk(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n") +
			chunk("data: [DONE]\n\n") + "0\r\n\r\n"),
	}
	requests := []string{request("/v1/chat/completions", rawChat), request("/v1/chat/completions", strings.Replace(rawChat, "false", "true", 1))}

	srv := &rawServer{replies: replies}
	cert, caPEM := serverCertificate(t, "api.openai.com")
	served := make(chan error, 16)
	var tln net.Listener
	w := newWorldWith(t, "", caPEM, func(ln net.Listener) error {
		tln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}})
		for {
			c, err := tln.Accept()
			if err != nil {
				return nil
			}
			go func() { served <- srv.serve(c) }() // a provider's connection is kept for a while after the program ended
		}
	}, func() error { return tln.Close() })
	// What is observed is opened only where trust is proven, or where the alternative is to refuse: this program reads no store.
	must(t, w.d.Stop(t.Context()))
	w.conf = strings.Replace(w.conf, "mode: observe, fail: open", "mode: observe, fail: open, untrusted: deny", 1)
	w.start()

	dir := t.TempDir()
	theirs := filepath.Join(dir, "theirs.pem")
	must(t, os.WriteFile(theirs, caPEM, 0o644))
	args := []string{fmt.Sprintf("%s:443", w.lab.Fake), "api.openai.com", theirs + "," + filepath.Join(filepath.Dir(w.d.Socket), "roots.pem")}
	for i, r := range requests {
		file := filepath.Join(dir, fmt.Sprintf("request%d", i))
		must(t, os.WriteFile(file, []byte(r), 0o644))
		args = append(args, file)
	}
	self, err := os.Executable()
	must(t, err)
	client := lab.App{Args: []string{self}, Env: []string{rawClientEnv + "=" + strings.Join(args, "\n")}}

	direct := w.run(client)
	must(t, <-served)
	sent := srv.take()
	if want := strings.Join(requests, ""); sent != want {
		t.Fatalf("the direct run does not send what it should:\n%s", cmp.Diff(want, sent))
	}
	if want := string(bytes.Join(replies, nil)); direct != want {
		t.Fatalf("the direct run does not receive what it should:\n%s", cmp.Diff(want, direct))
	}
	for _, scope := range []string{observed, enforced} {
		t.Run(scope, func(t *testing.T) {
			through := client
			through.Cgroup = scope
			through.Args = []string{filepath.Join(root(t), "build", "sallyport"), "--socket", w.d.Socket, "run", "--", self}
			got := w.run(through)
			if diff := cmp.Diff(direct, got); diff != "" {
				t.Errorf("the reply is not the direct run's (-direct +through):\n%s", diff)
			}
			if diff := cmp.Diff(sent, srv.take()); diff != "" {
				t.Errorf("the request is not the direct run's (-direct +through):\n%s", diff)
			}
		})
	}
	if got := len(w.exchanges()); got != 2*len(requests) {
		t.Errorf("%d exchanges recorded, want %d: did the kernel hook redirect? Refused: %q", got, 2*len(requests), w.refusals())
	}
}
