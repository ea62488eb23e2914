// SPDX-License-Identifier: Apache-2.0

package fakellm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestScripts(t *testing.T) {
	const short = "This is a short answer from a naïve test model; it says nothing of value."
	_, c := start(t, Options{})
	for _, k := range []struct {
		name, prompt, more string
		want               told
	}{
		{"plain", "Hello", "", told{text: short, finish: "stop"}},
		{"words inside words", "execute the exchange, slowly", "", told{text: short, finish: "stop"}},
		{"say", "please say: exactly <this> & é", "", told{text: "exactly <this> & é", finish: "stop"}},
		{"leak", "Leak a key", "", told{text: "Sure. The key is " + LeakedKey() + ", and " + LeakedEmail() + " knows the rest.", finish: "stop"}},
		{"long", "long 3", "", told{text: "word0 word1 word2", finish: "stop"}},
		{"tool", "use tool search", "," + tools, told{calls: []string{`search{"query":"example"}`}, finish: "tool_calls"}},
		{"tool with arguments", `use tool search with {"query":"a b","n":2} now`, "," + tools, told{calls: []string{`search{"query":"a b","n":2}`}, finish: "tool_calls"}},
		{"tool not offered", "use tool search", "", told{text: "I have no tool named search.", finish: "stop"}},
		{"tool forced", "force tool shell", "", told{calls: []string{`shell{}`}, finish: "tool_calls"}},
		{"two tools", "two tools", "," + tools, told{calls: []string{`search{"query":"example"}`, `delete_files{"path":"example"}`}, finish: "tool_calls"}},
		{"one tool after the other", "use tool search then use tool delete_files", "," + tools, told{calls: []string{`search{"query":"example"}`}, finish: "tool_calls"}},
	} {
		t.Run(k.name, func(t *testing.T) {
			k.want.usage = true
			_, body, err := post(t, c, "/v1/chat/completions", ask(k.prompt, k.more))
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, body); fmt.Sprint(got) != fmt.Sprint(k.want) {
				t.Errorf("plain: got %+v, want %+v", got, k.want)
			}
			_, body, err = post(t, c, "/v1/chat/completions", ask(k.prompt, k.more+`,"stream":true,"stream_options":{"include_usage":true}`))
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, body); fmt.Sprint(got) != fmt.Sprint(k.want) {
				t.Errorf("streamed: got %+v, want %+v", got, k.want)
			}
			if strings.Contains(body, LeakedKey()[:12]) {
				t.Error("the key is not cut into pieces")
			}
		})
	}
}

func TestConversationWithTools(t *testing.T) {
	_, c := start(t, Options{})
	conversation := func(after string) told {
		_, body, err := post(t, c, "/v1/chat/completions", `{"model":"gpt-4o-mini",`+tools+`,"messages":[
			{"role":"user","content":[{"type":"text","text":"use tool search then "},{"type":"text","text":"use tool delete_files"}]},
			{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]},{"role":"tool","tool_call_id":"1","content":"found it"}`+after+`]}`)
		if err != nil {
			t.Fatal(err)
		}
		return read(t, body)
	}
	if got := conversation(""); len(got.calls) != 1 || got.calls[0] != `delete_files{"path":"example"}` {
		t.Errorf("second round: %+v", got)
	}
	got := conversation(`,{"role":"assistant","tool_calls":[{"id":"2"}]},{"role":"tool","tool_call_id":"2","content":"gone"}`)
	if got.text != "The tool answered: gone" {
		t.Errorf("third round: %+v", got)
	}
}

func TestHeadIsKeptInOrderAndCase(t *testing.T) {
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s, err := New(Options{Clock: func() time.Time { return day }})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServePlain(l) }()
	body := ask("Hello", "")
	talk := func() string {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nx-ODD: 1\r\nAuthorization: Bearer secret\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		b, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := talk()
	if talk() != first {
		t.Error("two equal requests were answered differently")
	}
	if !strings.HasPrefix(first, "HTTP/1.1 200 OK\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Type: application/json\r\nContent-Length: ") ||
		!strings.Contains(first, "\r\nX-oDD-cAsE: kept  as it is\r\n") || strings.Count(first, "\r\nSet-Cookie: ") != 2 {
		t.Errorf("head %q", first)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	r := s.Requests()[0]
	if len(r.Head) != 6 || r.Head[2] != "x-ODD: 1" || !strings.HasPrefix(r.Head[3], "Authorization: sha256:") {
		t.Errorf("logged head %q", r.Head)
	}
	if s.Serve(l) == nil {
		t.Error("a closed server serves")
	}
}

func TestLogProvesWhatArrived(t *testing.T) {
	var log bytes.Buffer
	s, c := start(t, Options{Log: &log})
	body := ask("Hello", `,"stream":true`)
	if _, _, err := post(t, c, "/v1/chat/completions", body); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(body))
	rec := httptest.NewRecorder()
	s.LogHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/__log", nil))
	if log.String() != rec.Body.String() {
		t.Error("file and page differ")
	}
	var r Request
	if err := json.Unmarshal(log.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.BodySHA256 != hex.EncodeToString(sum[:]) || r.BodyBytes != len(body) || r.Model != "gpt-4o-mini" || !r.Stream ||
		r.Path != "/v1/chat/completions" || r.Method != "POST" || r.SNI != "api.openai.com" || r.Conn != 1 {
		t.Errorf("logged %+v", r)
	}
	if strings.Contains(log.String(), "not-a-key") {
		t.Error("the log holds a credential")
	}
}

func TestErrors(t *testing.T) {
	_, c := start(t, Options{})
	for _, k := range []struct {
		name, path, body string
		status           int
		code             string
	}{
		{"unknown model", "/v1/chat/completions", `{"model":"none","messages":[{"role":"user","content":"x"}]}`, 404, `"code":"model_not_found"`},
		{"unknown path", "/v1/nothing", `{}`, 404, `"code":null`},
		{"no JSON", "/v1/chat/completions", `{`, 400, `"type":"invalid_request_error"`},
		{"no messages", "/v1/chat/completions", `{"model":"gpt-4o"}`, 400, `"param":null`},
		{"asked for", "/v1/chat/completions", ask("status 503 please", ""), 503, `"type":"server_error"`},
		{"rate limit", "/v1/chat/completions", ask("status 429", ""), 429, `"code":"rate_limit_exceeded"`},
		{"embedding of nothing", "/v1/embeddings", `{"model":"text-embedding-3-small"}`, 400, `"error":`},
	} {
		res, body, err := post(t, c, k.path, k.body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != k.status || !strings.Contains(body, k.code) {
			t.Errorf("%s: %d %s", k.name, res.StatusCode, body)
		}
	}
	res, err := c.Get("https://api.openai.com/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 401 {
		t.Errorf("without a key: %d", res.StatusCode)
	}
}

func TestEndings(t *testing.T) {
	_, c := start(t, Options{})
	for _, how := range []string{"reset", "cut"} {
		for _, more := range []string{"", `,"stream":true`} {
			res, body, err := post(t, c, "/v1/chat/completions", ask("please "+how, more))
			if err == nil || res == nil || strings.Contains(body, "[DONE]") {
				t.Errorf("%s%s: %v, body %q", how, more, err, body)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "POST", "https://api.openai.com/v1/chat/completions", strings.NewReader(ask("hang", "")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer x")
	done := make(chan error, 1)
	go func() {
		res, err := c.Do(req)
		if err == nil {
			res.Body.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("answered: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	cancel()
	if <-done == nil {
		t.Error("no error")
	}
}

func TestGzipAndPace(t *testing.T) {
	_, c := start(t, Options{})
	c.Transport.(*http.Transport).DisableCompression = false // it then asks for gzip and unpacks
	for _, more := range []string{"", `,"stream":true`} {
		res, body, err := post(t, c, "/v1/chat/completions", ask("gzip, say: ok", more))
		if err != nil {
			t.Fatal(err)
		}
		if !res.Uncompressed || read(t, body).text != "ok" {
			t.Errorf("uncompressed %v, %s", res.Uncompressed, body)
		}
	}
	begin := time.Now()
	if _, _, err := post(t, c, "/v1/chat/completions", ask("pace 10ms say: ok", `,"stream":true`)); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < 30*time.Millisecond { // first, one piece, last, [DONE]: three pauses
		t.Errorf("the stream took %v", d)
	}
}

func TestChoicesAreInterleaved(t *testing.T) {
	_, c := start(t, Options{})
	_, body, err := post(t, c, "/v1/chat/completions", ask("say: 0123456789", `,"stream":true,"n":2`))
	if err != nil {
		t.Fatal(err)
	}
	var order []int
	for _, e := range strings.Split(body, "\n\n") {
		var k chunk
		if json.Unmarshal([]byte(strings.TrimPrefix(e, "data: ")), &k) == nil && len(k.Choices) > 0 {
			order = append(order, k.Choices[0].Index)
		}
	}
	if len(order) < 6 || !slices.Equal(order[:4], []int{0, 1, 0, 1}) {
		t.Errorf("order %v", order)
	}
}

func TestEmbeddings(t *testing.T) {
	_, c := start(t, Options{})
	for input, want := range map[string]int{`"a"`: 1, `["a","b"]`: 2, `[1,2,3]`: 1, `[[1],[2,3]]`: 2} {
		_, body, err := post(t, c, "/v1/embeddings", `{"model":"text-embedding-3-small","dimensions":8,"input":`+input+`}`)
		if err != nil {
			t.Fatal(err)
		}
		var l struct {
			Data []struct{ Embedding []float64 }
		}
		if err := json.Unmarshal([]byte(body), &l); err != nil || len(l.Data) != want || len(l.Data[0].Embedding) != 8 {
			t.Errorf("%s: %s (%v)", input, body, err)
		}
	}
	_, body, err := post(t, c, "/v1/embeddings", `{"model":"text-embedding-3-small","input":"a","encoding_format":"base64"}`)
	if err != nil {
		t.Fatal(err)
	}
	var l struct{ Data []struct{ Embedding string } }
	if err := json.Unmarshal([]byte(body), &l); err != nil {
		t.Fatal(err)
	}
	if b, err := base64.StdEncoding.DecodeString(l.Data[0].Embedding); err != nil || len(b) != 4*1536 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
