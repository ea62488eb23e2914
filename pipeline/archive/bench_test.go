// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/journal"
)

// fill adds exchanges of some thousand words, as chat has them, without a journal.
func fill(b *testing.B, a *Archive, total int) {
	rnd := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(rnd, 1.2, 4, 50_000)
	sentence := func(n int) string {
		var s strings.Builder
		for range n {
			fmt.Fprintf(&s, "w%d ", zipf.Uint64())
		}
		return s.String()
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tools := []string{"search", "shell", "read_file", "send_mail", "sql"}
	for done := 0; done < total; {
		var parts []*journal.Parts
		for ; len(parts) < batchExchanges && done < total; done++ {
			user := fmt.Sprintf("user%d", zipf.Uint64()%500)
			in := &pipeline.Intent{Scope: "agents", Mode: pipeline.ModeEnforce, Principal: pipeline.Principal{User: user, SPIFFEID: "spiffe://example.org/unit/" + user},
				Workload: pipeline.Workload{PID: 1, Unit: fmt.Sprintf("svc%d.service", zipf.Uint64()%50)}, Endpoint: pipeline.Endpoint{Name: "openai", Host: "api.openai.com"},
				Call: pipeline.Call{Operation: pipeline.OpChat, Model: fmt.Sprintf("model-%d", done%5), Steps: []pipeline.Step{{Kind: pipeline.StepPrompt, Text: sentence(60)}}}}
			out := &pipeline.Outcome{Status: 200, Text: sentence(60), DurationMS: int64(zipf.Uint64() * 4)}
			if done%5000 == 0 {
				out.Status = 529
			}
			p := &journal.Parts{Refs: journal.Refs{Session: fmt.Sprintf("ses_%d", done/8), Exchange: fmt.Sprintf("exc_%d", done)}, Intent: in, Outcome: out,
				Time: start.Add(time.Duration(done) * 3 * time.Second)}
			if done%4 == 0 {
				out.Tools = []pipeline.Step{{Kind: pipeline.StepToolCall, Name: tools[done/4%len(tools)], Args: []byte(`{"q":"` + sentence(5) + `"}`)}}
			}
			if done%100 == 0 {
				out.Verdict = pipeline.Verdict{Action: pipeline.Deny, Stage: "toolCall", Rule: "guardrail/no-shell"}
			}
			parts = append(parts, p)
		}
		if err := a.add(context.WithoutCancel(b.Context()), parts, place{}); err != nil { // as Follow does
			b.Fatal(err)
		}
	}
}

// cpu is what the process has used.
func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkFirstPage asks for the newest 50 of ARCHIVE (20,000) exchanges, by queries of several kinds, and reports the 95th percentile; and how
// long it took to fill the archive, what it takes on disk, and the memory of the process.
func BenchmarkFirstPage(b *testing.B) {
	total := 20_000
	if s := os.Getenv("ARCHIVE"); s != "" {
		var err error
		if total, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(total) * 3 * time.Second)
	a, err := Open(b.Context(), Options{Path: cmp.Or(os.Getenv("ARCHIVE_FILE"), b.TempDir()+"/archive.db"), Now: func() time.Time { return end }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = a.Close() })
	st, err := a.Stats(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	began, used := time.Now(), cpu(b)
	if st.Exchanges == 0 {
		fill(b, a, total)
	} else if int(st.Exchanges) != total {
		b.Fatalf("%s has %d exchanges, not %d", os.Getenv("ARCHIVE_FILE"), st.Exchanges, total)
	}
	took := time.Since(began)
	used = cpu(b) - used
	if st, err = a.Stats(b.Context()); err != nil {
		b.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.Logf("%d exchanges in %v, CPU %v: %.0f a second, %d bytes each, heap %d MB", total, took.Round(time.Second), used.Round(time.Second), float64(total)/took.Seconds(), st.Bytes/int64(total), m.HeapSys>>20)
	b.Run("stats", func(b *testing.B) {
		for b.Loop() {
			if _, err := a.Stats(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, c := range []struct{ name, query string }{
		{"all", ""},
		{"common", "w1 w2"},
		{"phrase", `"w3 w1"`},
		{"rare", "w40000"},
		{"none", "w7 nowhere"},
		{"fields", "tool:shell verdict:deny"},
		{"glob", "principal:*user1* tool:sql"},
		{"mixed", `principal:user3 tool:shell "w1 w2" since:24h`},
		{"number", "masks:>0"},
		{"slow", "duration:>190000"},
		{"failed", "-status:200"},
		{"globs", "principal:*user4* workload:svc1* tool:s*"},
		{"not", "-model:model-1 -tool:shell w9"},
	} {
		b.Run(c.name, func(b *testing.B) {
			var times []time.Duration
			for b.Loop() {
				q, err := Parse(c.query, end)
				if err != nil {
					b.Fatal(err)
				}
				at := time.Now()
				if _, err := a.Search(b.Context(), q, 0, 50); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(at))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)*95/100].Microseconds())/1000, "p95-ms")
		})
	}
}
