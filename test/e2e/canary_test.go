// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/es"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// canaries are made-up secrets, a different one for each place where one is planted, so that one that is found says where it
// came from.
type canaries map[string]string

// plant makes a secret of the form of a GitHub token for a place, the same each time.
func (c canaries) plant(place string) string {
	if c[place] == "" {
		digits := "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		b := []byte("ghp" + "_")
		random := sha256.Sum256([]byte(place))
		for i := range 36 {
			b = append(b, digits[int(random[i%32]+byte(i))%len(digits)])
		}
		c[place] = string(b)
	}
	return c[place]
}

// collector is an OTLP receiver that keeps what it gets.
type collector struct {
	mu  sync.Mutex
	got bytes.Buffer
}

func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var in io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return
		}
		in = z
	}
	b, _ := io.ReadAll(in) // what came of it is kept
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got.Write(b)
}

func (c *collector) text() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.got.Bytes())
}

// TestCanaries plants secrets in prompts, system prompts, tool results, offers and arguments, headers, queries, paths, bodies
// that are no JSON, and files of the configuration. None of them, in plain, hex or base64, gets into log, metrics, traces, an
// index, the search store, the journal or any output of the command-line tool; and what a reply repeats is masked for the
// program, too. Names of models and tools are not masked: policy goes by them, and they are on record as they are.
func TestCanaries(t *testing.T) {
	c := canaries{}
	var traces collector
	receiver := httptest.NewServer(&traces)
	defer receiver.Close()
	dir := t.TempDir()
	server, err := es.Start(t.Context(), filepath.Join(dir, "es"), 0)
	must(t, err)
	defer func() { must(t, server.Stop()) }()
	keyFile := filepath.Join(dir, "key")
	c["file of the API key"] = shipperKey(t, server, keyFile)
	c["file of the webhook's key"] = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a key that nobody may ever see!!"))
	hookFile := filepath.Join(dir, "hook")
	must(t, os.WriteFile(hookFile, []byte(c["file of the webhook's key"]), 0o600))

	w := newWorld(t, "")
	must(t, w.d.Stop(t.Context()))
	metrics := freeAddress(19500 + os.Getpid()%97)
	w.conf = strings.Replace(w.conf, "admin: {", fmt.Sprintf("admin: {metrics: %q, traces: %q, ", metrics, receiver.URL), 1) +
		fmt.Sprintf("elasticsearch: {url: %q, api_key_file: %q, ca_file: %q}\napprovals: {webhook: {url: %q, secret_file: %q}}\n",
			server.URL, keyFile, server.CAFile, receiver.URL+"/hook", hookFile)
	w.start()
	maskKey, err := os.ReadFile(filepath.Join(w.lab.State(), "mask.key"))
	must(t, err)

	said := w.plant(c, dir)
	(&record{t: t, w: w}).shipped()

	places := map[string][]byte{"what the program read": []byte(said)}
	for _, verb := range [][]string{{"status", "-o", "json"}, {"sessions", "list", "-o", "json"}, {"sessions", "find", "--limit", "100", "-o", "json"}, {"usage", "-o", "json"},
		{"approvals", "list", "-o", "json"}, {"rollout", "status", "-o", "json"}, {"trust", "status", "-o", "json"}, {"journal", "export", filepath.Join(w.lab.State(), "journal")}} {
		out, err := w.d.CLI(t.Context(), verb...)
		must(t, err)
		places["sallyport "+strings.Join(verb[:2], " ")] = []byte(out)
	}
	var sessions []struct {
		ID string `json:"session_id"`
	}
	w.json(&sessions, "sessions", "list", "--limit", "1000", "-o", "json")
	for _, s := range sessions {
		out, err := w.d.CLI(t.Context(), "sessions", "show", s.ID, "-o", "json")
		must(t, err)
		places["sallyport sessions show"] = append(places["sallyport sessions show"], out...)
	}
	places["metrics"] = fetch(t, "http://"+metrics+"/metrics")
	places["index"] = indexed(t, server)
	must(t, w.d.Stop(t.Context()))
	places["traces and webhooks"] = traces.text()
	places["log"] = []byte(w.d.Log())
	places["records"] = w.records()
	w.files(places)
	for _, needed := range []string{"metrics", "index", "traces and webhooks", "log", "records", "sallyport sessions show", "file archive.db"} {
		if len(places[needed]) == 0 {
			t.Errorf("nothing was found where there should be something: %s", needed)
		}
	}
	if n := bytes.Count(places["index"], []byte("[GITHUB")); n == 0 {
		t.Error("the index has no masked secret: nothing was masked, or nothing is there")
	}
	c.notIn(t, places)
	for place, text := range places {
		if place != "file mask.key" && bytes.Contains(text, bytes.TrimSpace(maskKey)) {
			t.Errorf("the key of fingerprints is in %s", place)
		}
	}
}

// notIn says where secrets are.
func (c canaries) notIn(t *testing.T, places map[string][]byte) {
	t.Helper()
	for place, text := range places {
		for planted, secret := range c {
			for form, s := range forms([]byte(secret)) {
				if at := bytes.Index(text, s); at >= 0 {
					t.Errorf("the secret that was planted in the %s is in %s, in %s, after %q", planted, place, form, text[max(0, at-60):at])
				}
			}
		}
	}
}

// fetch gets a page.
func fetch(t *testing.T, url string) []byte {
	t.Helper()
	res, err := http.Get(url)
	must(t, err)
	b, err := io.ReadAll(res.Body)
	must(t, errors.Join(err, res.Body.Close()))
	return b
}

// forms are the ways in which a secret may have been written. Those in base64 are its inner bytes, at each of the three offsets.
func forms(secret []byte) map[string][]byte {
	out := map[string][]byte{"plain": secret, "hex": []byte(hex.EncodeToString(secret))}
	for i := range 3 {
		inner := secret[i:]
		out[fmt.Sprintf("base64 (%d)", i)] = []byte(base64.RawStdEncoding.EncodeToString(inner[:len(inner)/3*3]))
	}
	return out
}

// plant sends all requests with secrets and returns the replies.
func (w *world) plant(c canaries, dir string) string {
	w.t.Helper()
	request := func(target, headers, body string) string {
		return "POST " + target + " HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer " + c.plant("credential") + "\r\n" + headers +
			"Content-Type: application/json\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body
	}
	chat := func(place, text string, stream bool) string {
		b, err := json.Marshal(map[string]any{"model": "gpt-4o-mini", "stream": stream, "messages": []any{map[string]any{"role": "user", "content": strings.ReplaceAll(text, "%", c.plant(place))}}})
		must(w.t, err)
		return string(b)
	}
	const target = "/v1/chat/completions"
	hello := `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"say: hello"}]`
	requests := []string{
		request(target, "", chat("prompt, and the reply", "say: my token is % and that is all", false)),
		request(target, "", chat("prompt, and the stream", "say: my token is % and that is all", true)),
		request(target, "", `{"model":"gpt-4o-mini","messages":[{"role":"system","content":"the token is `+c.plant("system prompt")+`"},{"role":"user","content":"say: hello"}]}`),
		request(target, "", `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"use tool search with {\"query\":\"`+c.plant("tool arguments")+`\"}"}],"tools":[{"type":"function","function":{"name":"search","description":"give it `+
			c.plant("tool offer")+`","parameters":{"type":"object","properties":{"query":{"type":"string"}}}}}]}`),
		request(target, "", `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"say: hello"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"search","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"found `+
			c.plant("tool result")+`"}]}`),
		request(target+"?key="+c.plant("query"), "", hello+`}`),
		request(target, "X-Api-Key: "+c.plant("X-Api-Key")+"\r\nX-Trace: "+c.plant("any header")+"\r\nCookie: session="+c.plant("cookie")+"\r\n", hello+`}`),
		request(target, "User-Agent: robot/1 ("+c.plant("User-Agent")+")\r\n", hello+`}`),
		request(target, "", hello+`,"user":"`+c.plant("member user")+`","metadata":{"ticket":"`+c.plant("metadata")+`"}}`),
		request("/v1/embeddings", "", `{"model":"text-embedding-3-small","input":["`+c.plant("input of embeddings")+`"]}`),
		request(target, "", `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"`+c.plant("broken body")),
		request("/v1/files/"+c.plant("path"), "", `{"model":"gpt-4o-mini"}`),
	}
	theirs := filepath.Join(dir, "theirs.pem")
	must(w.t, os.WriteFile(theirs, w.fake.CA(), 0o644))
	self, err := os.Executable()
	must(w.t, err)
	var said strings.Builder
	for i, r := range requests {
		file := filepath.Join(dir, fmt.Sprintf("request%d", i))
		must(w.t, os.WriteFile(file, []byte(r), 0o644))
		args := []string{fmt.Sprintf("%s:443", w.lab.Fake), "api.openai.com", theirs + "," + filepath.Join(filepath.Dir(w.d.Socket), "roots.pem"), file}
		said.WriteString(w.run(lab.App{Cgroup: enforced, Env: []string{rawClientEnv + "=" + strings.Join(args, "\n")},
			Args: []string{filepath.Join(root(w.t), "build", "sallyport"), "--socket", w.d.Socket, "run", "--", self}}))
	}
	return said.String()
}

// indexed is the source of all documents of all data streams.
func indexed(t *testing.T, server *es.Server) []byte {
	t.Helper()
	const all = "/logs-sallyport.*"
	must(t, server.Do(t.Context(), http.MethodPost, all+"/_refresh", nil, nil))
	var found json.RawMessage
	must(t, server.Do(t.Context(), http.MethodPost, all+"/_search", map[string]any{"size": 10000}, &found))
	return found
}

// records are the bodies of all records of the journal as whoever may read it sees them.
func (w *world) records() (out []byte) {
	w.t.Helper()
	in, err := journal.OpenReader(filepath.Join(w.lab.State(), "journal"), pipeline.Position{})
	must(w.t, err)
	defer in.Close()
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		must(w.t, err)
		var body json.RawMessage
		must(w.t, e.Decode(&body))
		out = append(out, body...)
	}
}

// files adds all that the daemon keeps, as it is on the disk.
func (w *world) files(places map[string][]byte) {
	w.t.Helper()
	must(w.t, filepath.WalkDir(w.lab.State(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		places["file "+strings.TrimPrefix(path, w.lab.State()+"/")] = bytes.TrimRight(b, "\x00") // segments have room at their ends
		return err
	}))
}
