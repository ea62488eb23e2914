// SPDX-License-Identifier: Apache-2.0

// Command shipbench measures what shipping to a real Elasticsearch costs: it writes conversations into a journal, ships them in each form of
// contents, and says how fast that was, what went over the wire, what the server keeps, and what CPU time of ours it took. The journal is
// written before the clock starts. Without -url it starts a server (see package es).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/elastic"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/client"
	"github.com/sallyport-dev/sallyport/pipeline/elastic/document"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
	"github.com/sallyport-dev/sallyport/pipeline/session"
	"github.com/sallyport-dev/sallyport/test/es"
)

type options struct {
	dir, url, ca, user, password string
	conversations, turns         int
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "an empty `folder` for the journal, and for the server's data (needed)")
	flag.StringVar(&o.url, "url", "", "`address` of a server that runs; empty = start one")
	flag.StringVar(&o.ca, "ca-file", "", "its authority's certificate")
	flag.StringVar(&o.user, "user", "admin", "who may make templates and read statistics")
	flag.StringVar(&o.password, "password-file", "", "that user's password")
	flag.IntVar(&o.conversations, "conversations", 50, "how many")
	flag.IntVar(&o.turns, "turns", 40, "requests of each; every one repeats all that was said before")
	flag.Parse()
	if o.dir == "" || flag.NArg() > 0 || o.conversations < 1 || o.turns < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &o); err != nil {
		fmt.Fprintln(os.Stderr, "shipbench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o *options) (err error) {
	co := client.Options{URLs: []string{o.url}, Username: o.user}
	if o.url == "" {
		s, err := es.Start(ctx, filepath.Join(o.dir, "es"), 0)
		if err != nil {
			return err
		}
		defer func() { _ = s.Stop() }()
		co = client.Options{URLs: []string{s.URL}, CA: s.CA, Username: s.User, Password: client.NewSecret(s.Password)}
	} else {
		if co.CA, err = os.ReadFile(o.ca); err != nil {
			return err
		}
		if co.Password, err = client.ReadSecret(o.password); err != nil {
			return err
		}
	}
	j, err := journal.Open(journal.Options{Dir: filepath.Join(o.dir, "journal")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	if err := write(j, o.conversations, o.turns); err != nil {
		return err
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	fmt.Printf("%d conversations of %d turns; load %s", o.conversations, o.turns, load)
	fmt.Println("contents  documents  docs/s  wire B/exch  store B/exch  content store B/exch  our CPU us/doc")
	for _, whole := range []bool{false, true} {
		if err := ship(ctx, o, j, co, whole); err != nil {
			return err
		}
	}
	return nil
}

// write records conversations with tools as an agent has them, put into sessions as the daemon does.
func write(j *journal.Journal, conversations, turns int) error {
	r := rand.New(rand.NewPCG(1, 2))
	vocabulary := make([]string, 4000)
	for i := range vocabulary {
		b := make([]byte, 2+r.IntN(9))
		for k := range b {
			b[k] = byte('a' + r.IntN(26))
		}
		vocabulary[i] = string(b)
	}
	often := rand.NewZipf(r, 1.1, 8, uint64(len(vocabulary)-1))
	text := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(vocabulary[often.Uint64()])
			b.WriteByte(' ')
		}
		return b.String()
	}
	frame := []pipeline.Step{{Kind: pipeline.StepPrompt, Index: -1, Text: text(150)}}
	for i := range 5 {
		frame = append(frame, pipeline.Step{Kind: pipeline.StepToolOffer, Name: fmt.Sprint("tool", i), Text: text(40)})
	}
	s := session.New(session.Options{Key: []byte("bench")})
	var last <-chan error
	for c := range conversations {
		steps := append([]pipeline.Step(nil), frame...)
		n := 0
		say := func(st pipeline.Step) { st.Index = n; n++; steps = append(steps, st) }
		for t := range turns {
			say(pipeline.Step{Kind: pipeline.StepPrompt, Text: text(30)})
			id := fmt.Sprintf("exc_%d_%d", c, t)
			m := &pipeline.Meta{Exchange: id, Workload: pipeline.Workload{PID: uint32(1000 + c), Start: 1, UID: 1000, Unit: fmt.Sprintf("agent%d.service", c), Cgroup: fmt.Sprintf("/agent%d.service", c)},
				Principal: pipeline.Principal{SPIFFEID: fmt.Sprintf("spiffe://example.org/agent%d", c)}}
			call := pipeline.Call{Operation: pipeline.OpChat, Model: "m", Steps: steps}
			s.Assign(m, &call)
			in := &pipeline.Intent{Scope: "agents", Workload: m.Workload, Principal: m.Principal, Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com", Protocol: "openai", Port: 443},
				Method: "POST", Target: "/v1/chat/completions", Call: call, Parent: m.Parent, Chain: m.Chain, Opening: m.Opening}
			in.Repeats, in.SameFrame = s.Recorded(m, steps)
			args, err := json.Marshal(map[string]string{"query": text(8)})
			if err != nil {
				return err
			}
			out := &pipeline.Outcome{Status: 200, Text: text(120), Tools: []pipeline.Step{{Kind: pipeline.StepToolCall, Name: "tool1", ID: fmt.Sprint("call_", t), Args: args}}}
			j.Append(pipeline.Record{Kind: pipeline.KindIntent, Session: m.Session, Exchange: id, Body: in})
			_, last = j.Append(pipeline.Record{Kind: pipeline.KindOutcome, Session: m.Session, Exchange: id, Body: out})
			s.Answered(m, &call, out, pipeline.Usage{})
			say(pipeline.Step{Kind: pipeline.StepResponse, Text: out.Text})
			say(out.Tools[0])
			say(pipeline.Step{Kind: pipeline.StepToolResult, ID: out.Tools[0].ID, Text: text(150)})
		}
	}
	return <-last
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ship(ctx context.Context, o *options, j *journal.Journal, co client.Options, whole bool) error {
	name := "new"
	if whole {
		name = "whole"
	}
	admin, err := client.New(co)
	if err != nil {
		return err
	}
	defer admin.Close()
	w, err := newWire(co.URLs[0])
	if err != nil {
		return err
	}
	defer w.close()
	co.URLs = []string{w.url}
	dir := filepath.Join(o.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	namespace := fmt.Sprintf("bench_%s_%d", name, time.Now().Unix())
	s, err := elastic.New(elastic.Options{Options: co, Journal: j, Dir: dir, Namespace: namespace, Host: "bench", Version: "bench", Whole: whole})
	if err != nil {
		return err
	}
	began, used := time.Now(), cpu()
	ctx2, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx2) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	st := s.State()
	for ; st.Lag > 0 || st.State != elastic.StateOK; st = s.State() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), <-done)
		}
	}
	took := time.Since(began)
	used = cpu() - used
	cancel()
	if err := <-done; err != nil {
		return err
	}
	w.close() // what is counted is complete then
	if st.Dead > 0 {
		return fmt.Errorf("%d documents were refused", st.Dead)
	}
	all, content := int64(0), int64(0)
	for _, p := range document.Streams() {
		n, err := store(ctx, admin, p.Index(namespace))
		if err != nil {
			return err
		}
		all += n
		if p.Name == document.Content {
			content = n
		}
	}
	n := float64(o.conversations * o.turns)
	fmt.Printf("%-8s  %9d  %6.0f  %11.0f  %12.0f  %20.0f  %14.0f\n", name, st.Acked, float64(st.Acked)/took.Seconds(), float64(w.sent.Load())/n, float64(all)/n, float64(content)/n,
		float64(used.Microseconds())/float64(st.Acked))
	return nil
}

// store is what a stream takes on disk, once its segments are merged. One that does not exist takes nothing.
func store(ctx context.Context, c *client.Client, stream string) (int64, error) {
	err := c.Do(ctx, http.MethodPost, "/"+stream+"/_forcemerge?max_num_segments=1", nil, nil)
	if client.Is(err, http.StatusNotFound) {
		return 0, nil
	}
	if err == nil {
		err = c.Do(ctx, http.MethodPost, "/"+stream+"/_flush?force=true&wait_if_ongoing=true", nil, nil)
	}
	var stats struct {
		All struct {
			Primaries struct {
				Store struct {
					Size int64 `json:"size_in_bytes"`
				} `json:"store"`
			} `json:"primaries"`
		} `json:"_all"`
	}
	if err == nil {
		err = c.Do(ctx, http.MethodGet, "/"+stream+"/_stats/store", nil, &stats)
	}
	return stats.All.Primaries.Store.Size, err
}

// wire relays connections and counts what goes over them, TLS included.
type wire struct {
	url  string
	l    net.Listener
	sent atomic.Int64
	wg   sync.WaitGroup
}

func newWire(to string) (*wire, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	w := &wire{}
	if w.l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	w.url = u.Scheme + "://" + w.l.Addr().String()
	w.wg.Go(func() {
		for {
			c, err := w.l.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.relay(c, u.Host) })
		}
	})
	return w, nil
}

func (w *wire) relay(c net.Conn, to string) {
	defer c.Close()
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	w.wg.Go(func() {
		defer c.Close()
		_, _ = io.Copy(c, up) // ends when either side closes
	})
	n, _ := io.Copy(up, c)
	w.sent.Add(n)
	_ = up.Close()
}

func (w *wire) close() {
	_ = w.l.Close()
	w.wg.Wait()
}
