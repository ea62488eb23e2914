// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package es_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/manage"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/es"
)

// world is a server, a journal, and what ships from one to the other.
type world struct {
	t      *testing.T
	server *es.Server
	admin  *client.Client
	dir    string
	j      *journal.Journal
	s      *elastic.Shipper
	stop   func()
}

func (w *world) open() {
	w.j = must(journal.Open(journal.Options{Dir: w.dir, SegmentBytes: 64 << 20, SignRecords: 50}))
}

// ship runs a shipper with a key until stop.
func (w *world) ship(key string) {
	w.t.Helper()
	w.s = must(elastic.New(elastic.Options{Options: client.Options{URLs: []string{w.server.URL}, CA: w.server.CA, APIKey: client.NewSecret(key)}, Journal: w.j, Host: "h1", Version: "v1",
		BatchDocs: 100, Linger: 20 * time.Millisecond}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.s.Run(ctx) }()
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	}
}

func (w *world) shipped() {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for st := w.s.State(); st.Lag != 0 || st.State != elastic.StateOK; st = w.s.State() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("state %+v", st)
		}
	}
	if st := w.s.State(); st.Dead > 0 {
		w.t.Errorf("state %+v", st)
	}
}

func (w *world) rollover() {
	for _, s := range document.Streams() {
		if err := w.admin.Do(context.Background(), http.MethodPost, "/"+s.Index("default")+"/_rollover", nil, nil); err != nil && !client.Is(err, http.StatusNotFound) {
			w.t.Fatal(err)
		}
	}
}

func (w *world) say(session, id string, in *pipeline.Intent, out *pipeline.Outcome) {
	w.t.Helper()
	in.Mode, in.Principal = pipeline.ModeEnforce, pipeline.Principal{SPIFFEID: "spiffe://example.org/a", User: "ada"}
	in.Endpoint = pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443}
	w.j.Append(pipeline.Record{Kind: pipeline.KindIntent, Session: session, Exchange: id, Time: time.Now(), Body: in})
	_, done := w.j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Session: session, Exchange: id, Time: time.Now(), Body: out})
	if err := <-done; err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) record(kind string, body any) {
	w.t.Helper()
	if _, done := w.j.Append(pipeline.Record{Kind: kind, Time: time.Now(), Body: body}); true {
		if err := <-done; err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) verify() *manage.Report {
	w.t.Helper()
	rep, err := manage.Verify(context.Background(), w.admin, manage.VerifyOptions{Dir: w.dir, Namespace: "default", Host: "h1", Version: "v1"})
	if err != nil {
		w.t.Fatal(err)
	}
	return rep
}

// find counts the exchanges whose contents have a phrase.
func (w *world) find(phrase string) int {
	w.t.Helper()
	stream := document.Index(document.Content, "default")
	if err := w.admin.Do(context.Background(), http.MethodPost, "/"+stream+"/_refresh", nil, nil); err != nil {
		w.t.Fatal(err)
	}
	var got struct {
		Hits struct {
			Hits []struct{ Fields map[string][]string }
		}
	}
	err := w.admin.Do(context.Background(), http.MethodPost, "/"+stream+"/_search", map[string]any{"size": 100, "_source": false, "fields": []string{"sallyport.exchange.id"},
		"query": map[string]any{"multi_match": map[string]any{"query": phrase, "type": "phrase", "fields": []string{"sallyport.text.*"}}}}, &got)
	if err != nil {
		w.t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, h := range got.Hits.Hits {
		seen[h.Fields["sallyport.exchange.id"][0]] = true
	}
	return len(seen)
}

// Six streams against the real server: what goes where, hostile contents, what is in doubt after a rollover, who may read what, the
// comparison with the journal, anchors, erasure.
func TestStreams(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	server := must(es.Start(ctx, filepath.Join(dir, "es"), 0))
	defer func() { _ = server.Stop() }()
	w := &world{t: t, server: server, dir: filepath.Join(dir, "journal"),
		admin: must(client.New(client.Options{URLs: []string{server.URL}, CA: server.CA, Username: server.User, Password: client.NewSecret(server.Password)}))}
	defer w.admin.Close()
	if err := manage.Install(ctx, w.admin, document.Lifecycle{Content: 7 * 24 * time.Hour}, manage.ReplacePolicies); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for _, p := range manage.Suggest("default") {
		var answer struct{ Encoded string }
		method := http.MethodPost
		if strings.Contains(p.Path, "/role/") {
			method = http.MethodPut
		}
		if err := w.admin.Do(ctx, method, p.Path, []byte(p.Body), &answer); err != nil {
			t.Fatal(err)
		}
		keys[p.Path+fmt.Sprint(len(keys))] = answer.Encoded
	}
	create, look := keys["/_security/api_key0"], keys["/_security/api_key1"]
	w.open()
	defer func() { _ = w.j.Close() }()

	hostile(w)
	w.record(pipeline.KindDecision, &pipeline.Decision{ID: "dec_1", Verdict: pipeline.Verdict{Action: pipeline.Deny, Rule: "guardrail/x"}, Step: &pipeline.Step{Name: "bash", Args: json.RawMessage(`{"q":"secret plan alpha"}`)}})
	w.record(pipeline.KindFlow, &pipeline.Flow{ID: "flw_1", Disposition: "missed", SNI: "api.openai.com"})
	w.record(pipeline.KindGap, &pipeline.Gap{Reason: "torn", Bytes: 7})
	w.record(pipeline.KindAdmin, map[string]any{"action": "session.read", "target": "ses_1", "uid": 1000, "odd": map[string]any{"@timestamp": 1}})
	w.record(pipeline.KindPolicy, map[string]any{"version": "p1", "cause": "start"})
	w.ship(look)
	w.shipped()
	for _, phrase := range []string{"needle of the long prompt", "message number 9999 of many", "needle behind a NUL", "needle of half a pair", "needle in the deep", "needle of many keys", "needle of no JSON",
		"needle of an object", "value of key 9999"} {
		if n := w.find(phrase); n != 1 {
			t.Errorf("%q is found in %d exchanges", phrase, n)
		}
	}
	for _, s := range document.Streams() {
		for _, f := range document.Fields(s.Name) {
			if f.Type == "object" {
				continue
			}
			var caps struct {
				Fields map[string]map[string]any
			}
			if err := w.admin.Do(ctx, http.MethodGet, "/"+s.Index("default")+"/_field_caps?fields="+f.Name, nil, &caps); err != nil {
				t.Fatal(err)
			}
			if _, ok := caps.Fields[f.Name][f.Type]; !ok {
				t.Errorf("%s: field %s: want %s, the server has %v", s.Name, f.Name, f.Type, caps.Fields[f.Name])
			}
		}
	}

	// A conversation that repeats itself: each text is found in the exchange that said it first.
	for n := range 4 {
		in := &pipeline.Intent{Call: pipeline.Call{Operation: "chat"}}
		for i := range n + 1 {
			in.Call.Steps = append(in.Call.Steps, pipeline.Step{Kind: pipeline.StepPrompt, Index: i, Text: fmt.Sprintf("turn number %d of the talk", i)})
		}
		if n > 0 {
			in.Parent, in.Repeats = fmt.Sprint("exc_talk_", n-1), n
		}
		w.say("ses_talk", fmt.Sprint("exc_talk_", n), in, &pipeline.Outcome{Status: 200, Text: "fine"})
	}
	w.shipped()
	for n := range 4 {
		if got := w.find(fmt.Sprintf("turn number %d of the talk", n)); got != 1 {
			t.Errorf("turn %d is found in %d exchanges", n, got)
		}
	}

	// Killed with a cursor that is behind, and a rollover before the next start.
	w.stop()
	cursor := filepath.Join(w.dir, "elastic.cursor")
	behind := must(os.ReadFile(cursor))
	w.ship(look)
	for i := range 300 {
		w.say("ses_b", fmt.Sprintf("exc_b_%d", i), &pipeline.Intent{Call: pipeline.Call{Operation: "chat", Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: "before"}}}}, &pipeline.Outcome{Status: 200, Text: "x"})
	}
	w.shipped()
	w.stop()
	if err := os.WriteFile(cursor, behind, 0o600); err != nil {
		t.Fatal(err)
	}
	w.rollover()
	w.ship(look)
	w.say("ses_c", "exc_c", &pipeline.Intent{Call: pipeline.Call{Operation: "chat"}}, &pipeline.Outcome{Status: 200, Text: "behind the rollover"})
	w.shipped()
	if w.s.State().Blind {
		t.Error("the key may look")
	}
	if rep := w.verify(); !rep.OK || rep.Same != rep.Documents || rep.Documents < 600 {
		t.Errorf("report %+v", rep)
	} else {
		t.Logf("%d documents, all the same", rep.Documents)
	}

	// The same with a key that may only create: all is there, and what was in doubt is there twice and said to be.
	w.stop()
	if err := os.WriteFile(cursor, behind, 0o600); err != nil {
		t.Fatal(err)
	}
	w.rollover()
	w.ship(create)
	w.shipped()
	w.stop()
	if rep := w.verify(); !w.s.State().Blind || rep.OK || rep.Counts[manage.Duplicate] == 0 || len(rep.Counts) != 1 {
		t.Errorf("blind %v, report %+v", w.s.State().Blind, rep.Counts)
	}
	small := must(client.New(client.Options{URLs: []string{server.URL}, CA: server.CA, APIKey: client.NewSecret(create)}))
	defer small.Close()
	if err := small.Do(ctx, http.MethodPost, "/"+document.Index(document.Content, "default")+"/_search", map[string]any{}, nil); !client.Is(err, http.StatusForbidden) {
		t.Errorf("a key that may only create reads: %v", err)
	}
	readers(ctx, w)
	tampered(ctx, w)

	anchors, err := manage.Anchors(ctx, w.admin, "default", "h1")
	if err != nil || len(anchors) < 5 {
		t.Fatalf("%d anchors, %v", len(anchors), err)
	}
	if rep := must(journal.VerifyWith(w.dir, journal.VerifyOptions{Anchors: anchors, Anchored: true})); !rep.OK || rep.Evidence != journal.EvidenceAnchored || int(rep.Anchors) != len(anchors) {
		t.Errorf("with %d anchors: %+v %v", len(anchors), rep, rep.Problem)
	}

	n, err := manage.Erase(ctx, w.admin, "default", manage.Subject{Sessions: []string{"ses_1"}}, manage.EraseOptions{})
	if err != nil || n < 9 || w.find("needle of the long prompt") != 0 || w.find("behind the rollover") != 1 {
		t.Errorf("%d documents erased: %v", n, err)
	}
	st, err := manage.Ask(ctx, w.admin, "default")
	if err != nil || len(st.Missing) > 0 || len(st.Streams) != 6 {
		t.Errorf("%+v %v", st, err)
	}
	for _, s := range st.Streams {
		if !s.Exists || s.Documents == 0 || s.Indices != 3 {
			t.Errorf("%+v", s)
		}
	}
}

// hostile says what no application should.
func hostile(w *world) {
	prompt := func(id string, texts ...string) {
		in := &pipeline.Intent{Call: pipeline.Call{Operation: "chat", Model: "m"}}
		for i, s := range texts {
			in.Call.Steps = append(in.Call.Steps, pipeline.Step{Kind: pipeline.StepPrompt, Index: i, Text: s})
		}
		w.say("ses_1", id, in, &pipeline.Outcome{Status: 200, Text: "fine"})
	}
	call := func(id, args string) {
		w.say("ses_1", id, &pipeline.Intent{}, &pipeline.Outcome{Status: 200, Tools: []pipeline.Step{{Kind: pipeline.StepToolCall, Name: "t", Args: json.RawMessage(args)}}})
	}
	prompt("exc_long", strings.Repeat("lorem ipsum ", 60_000)+"the needle of the long prompt "+strings.Repeat("dolor\x00sit ", 60_000))
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("message number %d of many", i))
	}
	prompt("exc_many", many...)
	prompt("exc_nul", "a\x00 needle behind a NUL \x01\x7f\u2028", "\xed\xa0\x80 and \xff")
	call("exc_half", `{"q":"\ud800 needle of half a pair \u0000 \udc00"}`)
	call("exc_deep", strings.Repeat(`{"a":[`, 4000)+`"needle in the deep"`+strings.Repeat(`]}`, 4000))
	var keys strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&keys, `"key.%d.@timestamp":{"sallyport":"value of key %d"},`, i, i)
	}
	call("exc_keys", "{"+keys.String()+`"":"needle of many keys"}`)
	call("exc_bad", `"{\"q\":\"needle of no JSON"`) // as what is no JSON is recorded
	call("exc_object", `{"q":{"q":["needle of an object",1e999999,{"q":null}]},"q":"twice"}`)
}

// readers checks that who reads metadata does not read contents.
func readers(ctx context.Context, w *world) {
	w.t.Helper()
	// The password is made for this server, which ends with the test.
	password := fmt.Sprintf("pw-%d-%d", time.Now().UnixNano(), os.Getpid())
	if err := w.admin.Do(ctx, http.MethodPut, "/_security/user/reader", map[string]any{"password": password, "roles": []string{"sallyport-default-metadata"}}, nil); err != nil {
		w.t.Fatal(err)
	}
	c := must(client.New(client.Options{URLs: []string{w.server.URL}, CA: w.server.CA, Username: "reader", Password: client.NewSecret(password)}))
	defer c.Close()
	for _, s := range document.Streams() {
		err := c.Do(ctx, http.MethodPost, "/"+s.Index("default")+"/_search", map[string]any{}, nil)
		if allowed := s.Class == document.ClassMetadata; allowed != (err == nil) || err != nil && !client.Is(err, http.StatusForbidden) {
			w.t.Errorf("%s: %v", s.Name, err)
		}
	}
	var got struct {
		Hits struct{ Total struct{ Value int } }
	}
	err := w.admin.Do(ctx, http.MethodPost, "/"+document.Index(document.Decision, "default")+"/_search", map[string]any{"query": map[string]any{"query_string": map[string]any{"query": `"secret plan alpha"`}}}, &got)
	if err != nil || got.Hits.Total.Value != 0 {
		w.t.Errorf("%d decisions have contents, %v", got.Hits.Total.Value, err)
	}
}

// tampered changes, removes and adds documents, as whoever rules the server can.
func tampered(ctx context.Context, w *world) {
	w.t.Helper()
	var got struct {
		Hits struct {
			Hits []struct {
				Index  string         `json:"_index"`
				ID     string         `json:"_id"`
				Source map[string]any `json:"_source"`
				Seq    int64          `json:"_seq_no"`
				Term   int64          `json:"_primary_term"`
			}
		}
	}
	err := w.admin.Do(ctx, http.MethodPost, "/"+document.Index(document.Flow, "default")+"/_search", map[string]any{"seq_no_primary_term": true,
		"query": map[string]any{"term": map[string]any{"sallyport.record.kind": "flow"}}}, &got)
	if err != nil || len(got.Hits.Hits) == 0 {
		w.t.Fatal(err)
	}
	h := got.Hits.Hits[0]
	h.Source["event"].(map[string]any)["action"] = "passed"
	if err := w.admin.Do(ctx, http.MethodPut, fmt.Sprintf("/%s/_doc/%s?if_seq_no=%d&if_primary_term=%d", h.Index, h.ID, h.Seq, h.Term), h.Source, nil); err != nil {
		w.t.Fatal(err)
	}
	if err := w.admin.Do(ctx, http.MethodPut, "/"+document.Index(document.Flow, "default")+"/_create/"+strings.Repeat("ab", 32), h.Source, nil); err != nil {
		w.t.Fatal(err)
	}
	rep := w.verify()
	if rep.OK || rep.Counts[manage.Altered] == 0 || rep.Counts[manage.Foreign] != 1 {
		w.t.Errorf("report %+v %+v", rep.Counts, rep.Problems[:min(3, len(rep.Problems))])
	}
}
