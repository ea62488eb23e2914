// SPDX-License-Identifier: Apache-2.0

//go:build root && e2e

package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/sallyport-dev/sallyport/test/es"
	"github.com/sallyport-dev/sallyport/test/lab"
)

// steering is what a terminal obeys, or hides.
const steering = "\u001b]0;owned\u0007\u001b[31m\u009b32m\u202ecod\u2066\u200b"

// words are texts that a program or a provider chooses: each holds a secret of its own, and something that steers terminals.
type words struct {
	c canaries
}

// in is a text for a place, with what steers.
func (w words) in(place string) string { return "is " + w.c.plant(place) + steering }

// bare is the secret alone, where only a word can stand.
func (w words) bare(place string) string { return w.c.plant(place) }

// hostile is one exchange of a program and a provider that both want to do harm.
type hostile struct {
	target string // "" = chat
	method string // "" = POST
	head   string // further fields of the request
	body   any    // JSON, or a string that is sent as it is
	reply  answer
}

// answer is what the provider says.
type answer struct {
	status int // 0 = 200
	kind   string
	head   map[string]string
	body   any
}

func (h *hostile) request(i int) []byte {
	raw, isText := h.body.(string)
	if !isText {
		b, err := json.Marshal(h.body)
		if err != nil {
			panic(err)
		}
		raw = string(b)
	}
	head := h.head
	if !strings.Contains(head, "Content-Type:") {
		head += "Content-Type: application/json\r\n"
	}
	method, target := h.method, h.target
	if method == "" {
		method = http.MethodPost
	}
	if target == "" {
		target = "/v1/chat/completions"
	}
	return []byte(method + " " + target + " HTTP/1.1\r\nHost: api.openai.com\r\nX-Case: " + strconv.Itoa(i) + "\r\n" + head + "Content-Length: " + strconv.Itoa(len(raw)) + "\r\n\r\n" + raw)
}

// answers is the provider.
func answers(cases []hostile) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i, err := strconv.Atoi(r.Header.Get("X-Case"))
		if err != nil || i >= len(cases) {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		a := cases[i].reply
		raw, isText := a.body.(string)
		if !isText {
			b, err := json.Marshal(a.body)
			if err != nil {
				panic(err)
			}
			raw = string(b)
		}
		if a.kind == "" {
			a.kind = "application/json"
		}
		w.Header().Set("Content-Type", a.kind)
		for k, v := range a.head {
			w.Header().Set(k, v)
		}
		if a.status != 0 {
			w.WriteHeader(a.status)
		}
		_, _ = w.Write([]byte(raw)) // who is cut off reads the rest elsewhere
	}
}

type object = map[string]any

func asking(more object) object {
	out := object{"model": "gpt-4o-mini", "messages": []any{object{"role": "user", "content": "hello"}}}
	for k, v := range more {
		out[k] = v
	}
	return out
}

func saying(more object, message object) object {
	out := object{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
		"choices": []any{object{"index": 0, "message": message, "finish_reason": "stop"}}, "usage": object{"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}
	for k, v := range more {
		out[k] = v
	}
	return out
}

// hostileCases are the exchanges. Words of one place are in one case.
func hostileCases(w words) []hostile {
	hello := object{"role": "assistant", "content": "hello"}
	ok := answer{body: saying(nil, hello)}
	tool := func(name, description, property string) any {
		return object{"type": "function", "function": object{"name": name, "description": description, "parameters": object{"type": "object", "properties": object{property: object{"type": "string"}}}}}
	}
	call := func(id, name, args string) object {
		return object{"role": "assistant", "content": nil, "tool_calls": []any{object{"id": id, "type": "function", "function": object{"name": name, "arguments": args}}}}
	}
	chunk := func(delta string) string {
		return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"delta":` + delta + `,"finish_reason":null}]}` + "\n\n"
	}
	return []hostile{
		{body: asking(object{"messages": []any{object{"role": "user", "content": w.in("prompt")}}}), reply: answer{body: saying(nil, object{"role": "assistant", "content": w.in("answer")})}},
		{body: asking(object{"model": w.bare("model, a word")}), reply: answer{status: 404, body: object{"error": object{"message": "The model `" + w.bare("error of a model") + "` does not exist", "code": "model_not_found"}}}},
		{body: asking(object{"model": "gpt-4o-mini" + w.in("model, a text")}), reply: ok},
		{body: asking(nil), reply: answer{status: 401, body: object{"error": object{"message": "Incorrect API key provided: " + w.in("message of an error"), "type": w.bare("type of an error"), "param": w.bare("param of an error"), "code": w.bare("code of an error")}}}},
		{body: asking(nil), reply: answer{status: 502, kind: "text/html", body: "<html>" + w.in("body of an error that is no JSON") + "</html>"}},
		{body: asking(object{"tools": []any{tool("search", w.in("description of a tool"), "q")}}), reply: ok},
		{body: asking(object{"tools": []any{tool("search", "", w.bare("property of a tool"))}}), reply: ok},
		{body: asking(object{"tools": []any{tool(w.bare("name of a tool"), "", "q")}}), reply: ok},
		{body: asking(object{"tools": []any{tool("search", "", "q")}}), reply: answer{body: saying(nil, call("call_1", "search", `{"q":"`+w.bare("argument")+`","`+w.bare("name of an argument")+`":1}`))}},
		{body: asking(object{"tools": []any{tool("search", "", "q")}}), reply: answer{body: saying(nil, call(w.bare("ID of a call"), "search", `{"q":"x"}`))}},
		{body: asking(object{"tools": []any{tool("search", "", "q")}}), reply: answer{body: saying(nil, call("call_1", "delete_"+w.bare("name of a call"), `{"q":"x"}`))}},
		{body: asking(nil), reply: answer{body: saying(object{"id": w.bare("ID of a reply")}, hello)}},
		{body: asking(nil), reply: answer{body: saying(object{"model": w.bare("model of a reply")}, hello)}},
		{body: asking(nil), reply: answer{body: saying(object{"system_fingerprint": w.bare("fingerprint of a reply"), "service_tier": w.bare("tier of a reply")}, hello)}},
		{body: asking(nil), reply: answer{body: saying(object{"choices": []any{object{"index": 0, "message": hello, "finish_reason": w.bare("reason to finish")}}}, hello)}},
		{body: asking(nil), reply: answer{body: ok.body, head: map[string]string{"X-Request-Id": w.bare("request ID of a reply"), "Openai-Organization": w.bare("organization"), "Set-Cookie": "a=" + w.bare("cookie of a reply")}}},
		{body: asking(object{"messages": []any{object{"role": "user", "content": "hello"}, call(w.bare("ID of an earlier call"), "search", "{}"), object{"role": "tool", "tool_call_id": w.bare("ID of an earlier call"), "content": w.in("result of a tool")}}}), reply: ok},
		{body: asking(object{"messages": []any{object{"role": "user", "name": w.bare("name of who speaks"), "content": "hello"}}}), reply: ok},
		{body: asking(object{"metadata": object{w.bare("name in metadata"): "x"}, "stop": []any{w.bare("stop")}, "user": w.bare("user"), "prompt_cache_key": w.bare("key of a cache")}), reply: ok},
		{body: asking(object{"response_format": object{"type": "json_schema", "json_schema": object{"name": w.bare("name of a schema"), "schema": object{"type": "object"}}}, "tool_choice": object{"type": "function", "function": object{"name": w.bare("choice of a tool")}}}), reply: ok},
		{target: "/v1/chat/completions?" + w.bare("name in a query") + "=1&x=" + w.bare("value in a query"), body: asking(nil), reply: ok},
		{target: "/v1/files/" + w.bare("path") + "/content", method: http.MethodGet, body: "", reply: answer{body: object{"data": w.in("file")}}},
		{head: "User-Agent: robot \u202e\u009b31m(" + w.bare("user agent") + ")\r\nX-" + strings.ReplaceAll(w.bare("name of a header"), "_", "-") + ": 1\r\n", body: asking(nil), reply: ok},
		{target: "/v1/files", head: "Content-Type: multipart/form-data; boundary=b\r\n", body: "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"" + w.bare("name of a file") + "\"\r\n\r\n" + w.in("uploaded file") + "\r\n--b--\r\n", reply: answer{body: object{"id": w.bare("ID of a file"), "filename": w.bare("name of a file")}}},
		{target: "/v1/responses", body: object{"model": "gpt-4o-mini", "input": "hello", "previous_response_id": w.bare("earlier response"), "conversation": w.bare("conversation")}, reply: answer{status: 404, body: object{"error": object{"message": "no " + w.bare("error of a conversation")}}}},
		{body: `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"key gh\u0070_` + strings.TrimPrefix(w.bare("prompt in escapes"), "ghp_") + `"}]}`, reply: ok},
		{body: asking(object{"stream": true}), reply: answer{kind: "text/event-stream", body: ": " + w.bare("comment in a stream") + "\n\n" + chunk(`{"role":"assistant","content":"hello"}`) + "event: error\ndata: {\"error\":{\"message\":\"" + w.bare("error in a stream") + "\"}}\n\n"}},
		{body: asking(object{"stream": true}), reply: answer{kind: "text/event-stream", body: "id: " + w.bare("ID of an event") + "\n" + chunk(`{"role":"assistant","content":"hello"}`) + "data: [DONE]\n\n"}},
		{body: `{"model":"gpt-4o-mini","messages":[{"role":"` + w.bare("role") + `","content":"hello"}]}`, reply: ok},
		{body: `{"model":"gpt-4o-mini","messages":"` + w.bare("body that does not decode") + `"}`, reply: answer{status: 400, body: object{"error": object{"message": "bad " + w.bare("error of a body")}}}},
	}
}

// TestHostileWords: a program and a provider that put secrets, and what steers terminals, wherever a word can stand. Nothing of it gets into
// what is kept or shown in clear, in enforce and in observe, and no output of the command-line tool steers a terminal.
func TestHostileWords(t *testing.T) {
	c := canaries{}
	cases := hostileCases(words{c})
	dir := t.TempDir()
	server, err := es.Start(t.Context(), filepath.Join(dir, "es"), 0)
	must(t, err)
	defer func() { must(t, server.Stop()) }()
	keyFile := filepath.Join(dir, "key")
	shipperKey(t, server, keyFile)

	cert, caPEM := serverCertificate(t, "api.openai.com")
	provider := &http.Server{Handler: answers(cases)}
	w := newWorldWith(t, "", caPEM, func(ln net.Listener) error {
		err := provider.Serve(tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}))
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return err
	}, provider.Close)
	must(t, w.d.Stop(t.Context()))
	metrics := freeAddress(19600 + os.Getpid()%97)
	w.conf = strings.Replace(strings.Replace(w.conf, "mode: observe, fail: open", "mode: observe, fail: open, untrusted: deny", 1), "admin: {", fmt.Sprintf("admin: {metrics: %q, ", metrics), 1) +
		fmt.Sprintf("elasticsearch: {url: %q, api_key_file: %q, ca_file: %q}\n", server.URL, keyFile, server.CAFile)
	w.start()

	theirs := filepath.Join(dir, "theirs.pem")
	must(t, os.WriteFile(theirs, caPEM, 0o644))
	self, err := os.Executable()
	must(t, err)
	args := []string{fmt.Sprintf("%s:443", w.lab.Fake), "api.openai.com", theirs + "," + filepath.Join(filepath.Dir(w.d.Socket), "roots.pem"), "each"}
	for i := range cases {
		args = append(args, filepath.Join(dir, fmt.Sprintf("hostile%d", i)))
		must(t, os.WriteFile(args[len(args)-1], cases[i].request(i), 0o644))
	}
	for _, scope := range []string{enforced, observed} {
		w.run(lab.App{Cgroup: scope, Env: []string{rawClientEnv + "=" + strings.Join(args, "\n")},
			Args: []string{filepath.Join(root(t), "build", "sallyport"), "--socket", w.d.Socket, "run", "--", self}})
	}
	places := map[string][]byte{}
	show := func(verb ...string) string {
		out, err := w.d.CLI(t.Context(), verb...)
		must(t, err)
		name := "sallyport " + strings.Join(verb[:min(2, len(verb))], " ")
		places[name] = append(places[name], out...)
		return out
	}
	// People look for the very key that leaked, and say why they do what they do.
	show("sessions", "find", words{c}.bare("search"))
	show("sessions", "list", words{c}.bare("listing"), "-o", "json")
	show("usage", words{c}.bare("search in usage"))
	show("hold", "add", "--principal", "nobody", "--reason", "it has "+words{c}.bare("reason of a hold"))
	show("hold", "list")
	show("quarantine", "unit:nobody.service", "--reason", "it has "+words{c}.bare("reason of a quarantine"))
	show("quarantine", "--list")
	(&record{t: t, w: w}).shipped()

	for _, format := range []string{"table", "json"} {
		for _, verb := range [][]string{{"status"}, {"sessions", "list", "--limit", "1000"}, {"sessions", "find", "--limit", "1000", "-is:held"}, {"usage"}, {"rollout", "status"}, {"approvals", "list"}, {"trust", "status"}, {"grants"}} {
			show(append(verb, "-o", format)...)
		}
		var sessions []struct {
			ID        string `json:"session_id"`
			Exchanges []struct {
				ID string `json:"exchange_id"`
			}
		}
		w.json(&sessions, "sessions", "list", "--limit", "1000", "-o", "json")
		exchanges := 0
		for _, s := range sessions {
			exchanges += len(s.Exchanges)
		}
		if exchanges < len(cases)+len(cases)/2 {
			t.Errorf("%d exchanges are on record, of %d cases in two scopes", exchanges, len(cases))
		}
		for _, s := range sessions {
			show("sessions", "show", s.ID, "-o", format)
			if format == "table" {
				show("sessions", "show", s.ID, "--tree")
				show("sessions", "replay", s.ID, "--speed", "0")
			}
			for _, x := range s.Exchanges {
				show("why", x.ID, "-o", format)
			}
		}
	}
	show("usage", "-o", "csv")
	disk := filepath.Join(w.lab.State(), "journal")
	show("journal", "export", disk)
	show("policy", "learn", "--journal", disk, "--denied", "--called")
	verified := show("journal", "verify", disk)
	script, err := exec.CommandContext(t.Context(), "python3", filepath.Join(root(t), "docs", "verify.py"), disk).CombinedOutput()
	if err != nil || !strings.HasPrefix(verified, "whole") || !bytes.HasPrefix(script, []byte("whole")) {
		t.Errorf("verified: %s; docs/verify.py: %s, %v", verified, script, err)
	}
	for place, text := range places {
		if at := bytes.IndexFunc(text, func(r rune) bool {
			return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp))
		}); at >= 0 {
			t.Errorf("%s steers the terminal: %q", place, text[max(0, at-80):min(len(text), at+40)])
		}
	}
	show("case", "export", "--journal", disk, "--out", filepath.Join(dir, "case.tgz"), "-tool:nothing")
	unpacked, err := exec.CommandContext(t.Context(), "tar", "xzOf", filepath.Join(dir, "case.tgz")).Output()
	must(t, err)
	places["case"] = unpacked
	places["metrics"] = fetch(t, "http://"+metrics+"/metrics")
	places["index"] = indexed(t, server)
	must(t, w.d.Stop(t.Context()))
	places["log"] = []byte(w.d.Log())
	places["records"] = w.records()
	w.files(places)
	c.notIn(t, places)
	if !bytes.Contains(places["records"], []byte("[GITHUB")) {
		t.Error("nothing was masked, or nothing is on record")
	}
}
