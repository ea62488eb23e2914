// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// start runs a server and returns a client that reaches it under any name.
func start(t *testing.T, o Options) (*Server, *http.Client) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CA()) {
		t.Fatal("the CA is no certificate")
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", l.Addr().String())
		}}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, &http.Client{Transport: tr}
}

func post(t *testing.T, c *http.Client, path, body string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequest("POST", "https://api.openai.com"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer not-a-key")
	req.Header.Set("Content-Type", "application/json")
	res, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

const tools = `"tools":[{"type":"function","function":{"name":"search","parameters":{"type":"object","properties":{"query":{"type":"string"},"n":{"type":"integer"}},"required":["query"]}}},
	{"type":"function","function":{"name":"delete_files","parameters":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}}]`

// ask makes a request body with one user message.
func ask(prompt, more string) string {
	p, _ := json.Marshal(prompt) // a string can always be encoded
	return fmt.Sprintf(`{"model":"gpt-4o-mini","messages":[{"role":"user","content":%s}]%s}`, p, more)
}

// told is what a reply says, streamed or not: text, calls, finish reason.
type told struct {
	text   string
	calls  []string
	finish string
	usage  bool
}

func read(t *testing.T, body string) (out told) {
	t.Helper()
	if !strings.HasPrefix(body, "data: ") {
		var c completion
		if err := json.Unmarshal([]byte(body), &c); err != nil || len(c.Choices) == 0 {
			t.Fatalf("reply %s: %v", body, err)
		}
		m := c.Choices[0].Message
		if m.Content != nil {
			out.text = *m.Content
		}
		for _, k := range m.ToolCalls {
			out.calls = append(out.calls, k.Function.Name+k.Function.Arguments)
		}
		out.finish, out.usage = c.Choices[0].Finish, c.Usage != nil
		return out
	}
	if !strings.HasSuffix(body, "data: [DONE]\n\n") {
		t.Fatalf("stream without its end: %q", body)
	}
	for _, e := range strings.Split(strings.TrimSuffix(body, "data: [DONE]\n\n"), "\n\n") {
		if e == "" {
			continue
		}
		var c chunk
		if err := json.Unmarshal([]byte(strings.TrimPrefix(e, "data: ")), &c); err != nil {
			t.Fatalf("event %q: %v", e, err)
		}
		out.usage = out.usage || c.Usage != nil
		for _, k := range c.Choices {
			if k.Index != 0 {
				continue
			}
			if k.Delta.Content != nil {
				out.text += *k.Delta.Content
			}
			for _, tc := range k.Delta.ToolCalls {
				if *tc.Index == len(out.calls) {
					out.calls = append(out.calls, "")
				}
				out.calls[*tc.Index] += tc.Function.Name + tc.Function.Arguments
			}
			if k.Finish != nil {
				out.finish = *k.Finish
			}
		}
	}
	return out
}
