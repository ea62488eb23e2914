// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package es_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/test/es"
)

const stream = "logs-sallyport.exchange-default"

// TestMain lets the test binary be the agent that is killed.
func TestMain(m *testing.M) {
	if os.Getenv("ES_TEST_AGENT") != "" {
		if err := agent(); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// agent writes exchanges and ships them, and tells how far it is. When ES_TEST_COUNT exchanges are written it waits until
// all are shipped, and ends.
func agent() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	count, err := strconv.Atoi(os.Getenv("ES_TEST_COUNT"))
	if err != nil {
		return err
	}
	j, err := journal.Open(journal.Options{Dir: os.Getenv("ES_TEST_JOURNAL"), SegmentBytes: 1 << 20})
	if err != nil {
		return err
	}
	if _, err := j.CloseOpen(ctx); err != nil {
		return err
	}
	ca, err := os.ReadFile(os.Getenv("ES_TEST_CA"))
	if err != nil {
		return err
	}
	key, err := client.ReadSecret(os.Getenv("ES_TEST_KEY"))
	if err != nil {
		return err
	}
	s, err := elastic.New(elastic.Options{Options: client.Options{URLs: []string{os.Getenv("ES_TEST_URL")}, CA: ca, APIKey: key}, Journal: j, Host: "test", Version: "test",
		BatchDocs: 50, MaxBackoff: 2 * time.Second})
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for n := 1; ; n++ {
		<-tick.C
		if n <= count {
			if err := write(j, n); err != nil {
				return err
			}
		}
		if n%25 == 0 {
			st := s.State()
			fmt.Println("progress", min(n, count), st.Acked, st.Lag, st.State, st.LastError)
			if n > count && st.Lag == 0 {
				break
			}
		}
	}
	cancel()
	return errors.Join(<-done, j.Close())
}

// write records one exchange; each seventh is denied.
func write(j *journal.Journal, n int) error {
	id := "exc_" + uuid.Must(uuid.NewV7()).String()
	verdict := pipeline.Verdict{Action: pipeline.Allow, Stage: "call", Rule: "role/test"}
	if n%7 == 0 {
		verdict.Action = pipeline.Deny
	}
	j.Append(pipeline.Record{Kind: pipeline.KindIntent, Session: "ses_1", Exchange: id, Time: time.Now(), Body: &pipeline.Intent{
		Scope: "agents", Mode: pipeline.ModeEnforce, Workload: pipeline.Workload{PID: 7, UID: 1000, Unit: "a.service"},
		Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443}, Method: "POST",
		Target: "/v1/chat/completions", Call: pipeline.Call{Operation: pipeline.OpChat, Model: "gpt-4o-mini"},
		Body: []byte(`{"messages":[{"role":"user","content":"a prompt"}]}`)}})
	j.Append(pipeline.Record{Kind: pipeline.KindEvent, Session: "ses_1", Exchange: id, Body: &pipeline.Event{Seq: 1, Bytes: 9, Data: "data: x\n\n"}})
	_, last := j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Session: "ses_1", Exchange: id, Time: time.Now(),
		Body: &pipeline.Outcome{Status: 200, Verdict: verdict, Enforced: true, DurationMS: 5}})
	return <-last
}

type progress struct {
	written, acked int
	state          string
	lag            string
}

// runAgent starts the agent. stop is asked at each report; once it says true the agent is killed.
func runAgent(t *testing.T, env []string, stop func(progress) bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append([]string{"ES_TEST_AGENT=1"}, env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	killed := false
	var last string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		last = lines.Text()
		f := strings.Fields(last)
		if len(f) < 5 || f[0] != "progress" {
			t.Errorf("agent: %s", last)
			continue
		}
		p := progress{lag: f[3], state: f[4]}
		p.written, _ = strconv.Atoi(f[1])
		p.acked, _ = strconv.Atoi(f[2])
		if !killed && stop(p) {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil && !killed {
		t.Fatalf("agent: %v, last heard: %s", err, last)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Server and agent are both killed once while exchanges are written, and the data stream rolls over; in the end each exchange is there
// exactly once.
func TestEachExchangeExactlyOnce(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	server, err := es.Start(ctx, filepath.Join(dir, "es"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Stop() }()
	keyFile := filepath.Join(dir, "key")
	if err := os.WriteFile(keyFile, []byte(must(server.ShipperKey(ctx, true))), 0o600); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(dir, "journal")
	env := []string{"ES_TEST_JOURNAL=" + record, "ES_TEST_URL=" + server.URL, "ES_TEST_CA=" + server.CAFile, "ES_TEST_KEY=" + keyFile}

	// The server dies while documents are on their way; some time later the agent dies too.
	down := 0
	runAgent(t, append(env, "ES_TEST_COUNT=1000000"), func(p progress) bool {
		if down == 0 && p.acked >= 300 {
			t.Logf("killing the server after %d of %d", p.acked, p.written)
			if err := server.Kill(); err != nil {
				t.Error(err)
			}
			down = p.written
		}
		if down > 0 && p.state == elastic.StateRetrying && p.written >= down+300 {
			t.Logf("killing the agent after %d of %d, lag %s", p.acked, p.written, p.lag)
			return true
		}
		return false
	})
	if down == 0 {
		t.Fatal("the server was never killed")
	}
	port := server.Port
	restarted := make(chan error, 1)
	go func() { // while the next agent is at work already
		s, err := es.Start(ctx, filepath.Join(dir, "es"), port)
		if err == nil {
			server = s
			// What the agent sends anew comes behind a rollover.
			err = s.Do(ctx, http.MethodPost, "/"+stream+"/_rollover", nil, nil)
		}
		restarted <- err
	}()
	runAgent(t, append(env, "ES_TEST_COUNT=600"), func(progress) bool { return false })
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}

	if rep := must(journal.Verify(record)); !rep.OK || rep.Generations != 2 {
		t.Fatalf("journal: %+v %v", rep, rep.Problem)
	}
	want, denied := outcomes(t, record)
	if err := server.Do(ctx, http.MethodPost, "/"+stream+"/_refresh", nil, nil); err != nil {
		t.Fatal(err)
	}
	var found struct {
		Hits struct {
			Total struct{ Value int }
			Hits  []struct {
				ID     string `json:"_id"`
				Source struct {
					Event     struct{ ID, Hash, Kind string }
					Sallyport struct{ Cut string }
				} `json:"_source"`
			}
		}
	}
	if err := server.Do(ctx, http.MethodPost, "/"+stream+"/_search", map[string]any{"size": 10000, "track_total_hits": true}, &found); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	alerts := 0
	for _, h := range found.Hits.Hits {
		seen[h.Source.Event.ID]++
		if want[h.Source.Event.ID] != h.ID || h.Source.Event.Hash != h.ID {
			t.Errorf("document %s of exchange %s: the journal has %q", h.ID, h.Source.Event.ID, want[h.Source.Event.ID])
		}
		if h.Source.Event.Kind == "alert" {
			alerts++
		}
	}
	t.Logf("%d exchanges in the journal, %d documents, %d alerts", len(want), found.Hits.Total.Value, alerts)
	if found.Hits.Total.Value != len(want) || len(seen) != len(want) || alerts != denied {
		t.Errorf("%d documents of %d exchanges, %d alerts; the journal has %d exchanges, %d denied", found.Hits.Total.Value, len(seen), alerts, len(want), denied)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("exchange %s is there %d times", id, n)
		}
	}
	checkMapping(ctx, t, server)
	checkSmallKey(ctx, t, server, must(server.ShipperKey(ctx, false)), elastic.StateOK, 3)
	checkSmallKey(ctx, t, server, "bm90OmFrZXk=", elastic.StateRetrying, 0)
}

// checkSmallKey ships one exchange to another tenant with a key that may at most create documents.
func checkSmallKey(ctx context.Context, t *testing.T, server *es.Server, key, state string, want int) {
	t.Helper()
	j := must(journal.Open(journal.Options{Dir: t.TempDir(), SegmentBytes: 1 << 20}))
	defer j.Close()
	if err := write(j, 1); err != nil {
		t.Fatal(err)
	}
	s := must(elastic.New(elastic.Options{Options: client.Options{URLs: []string{server.URL}, CA: server.CA, APIKey: client.NewSecret(key)}, Namespace: "other", Journal: j}))
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for st := s.State(); st.State != state || int(st.Acked) != want; st = s.State() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("state %+v, want %s and %d documents", st, state, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// outcomes reads the exchanges of a journal with the hashes of their outcomes, and counts the denied ones.
func outcomes(t *testing.T, dir string) (map[string]string, int) {
	t.Helper()
	r := must(journal.OpenReader(dir, pipeline.Position{}))
	defer r.Close()
	out, denied := map[string]string{}, 0
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, denied
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != pipeline.KindOutcome {
			continue
		}
		var o pipeline.Outcome
		if err := e.Decode(&o); err != nil {
			t.Fatal(err)
		}
		if out[e.Exchange] != "" {
			t.Errorf("exchange %s has two outcomes", e.Exchange)
		}
		out[e.Exchange] = e.Hash.String()
		if o.Verdict.Action == pipeline.Deny {
			denied++
		}
	}
}

// checkMapping compares what the server made of the templates with the table of fields.
func checkMapping(ctx context.Context, t *testing.T, server *es.Server) {
	t.Helper()
	var caps struct {
		Fields map[string]map[string]any
	}
	if err := server.Do(ctx, http.MethodGet, "/"+stream+"/_field_caps?fields=*&filters=-metadata", nil, &caps); err != nil {
		t.Fatal(err)
	}
	for _, f := range document.Fields(document.Exchange) {
		if _, ok := caps.Fields[f.Name][f.Type]; !ok {
			t.Errorf("field %s: want %s, the server has %v", f.Name, f.Type, caps.Fields[f.Name])
		}
	}
	var streams struct {
		DataStreams []struct {
			Name, Template string
			Indices        []any
		} `json:"data_streams"`
	}
	if err := server.Do(ctx, http.MethodGet, "/_data_stream/"+stream, nil, &streams); err != nil {
		t.Fatal(err)
	}
	if len(streams.DataStreams) != 1 || streams.DataStreams[0].Template != "logs-sallyport.exchange" {
		t.Errorf("data streams %+v", streams)
	}
}
