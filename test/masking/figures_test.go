// SPDX-License-Identifier: Apache-2.0

package masking

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/pipeline/mask"
)

var update = flag.Bool("update", false, "write what is measured to testdata")

// TestScoreIsScorePy: the scorer counts as score.py of the labelled set does, whose numbers on a made-up sample are in
// testdata/sample.golden.
func TestScoreIsScorePy(t *testing.T) {
	docs, found := sampleOf(t)
	var got strings.Builder
	Score(docs, found).Print(&got, "all")
	for _, s := range BySource(docs, found) {
		Score(s.Docs, s.Found).Print(&got, s.Name)
	}
	want, err := os.ReadFile("testdata/sample.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// sampleOf reads the sample: documents, and what was found in them.
func sampleOf(t *testing.T) ([]Document, [][]Span) {
	t.Helper()
	f, err := os.Open("testdata/sample.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	docs, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("testdata/sample-found.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string][]Span{}
	for dec := json.NewDecoder(strings.NewReader(string(b))); dec.More(); {
		var l struct {
			ID    string
			Spans []Span
		}
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		byID[l.ID] = l.Spans
	}
	found := make([][]Span, len(docs))
	for i, d := range docs {
		found[i] = byID[d.ID]
	}
	return docs, found
}

// floors is what must not get worse, by source of documents ("all" is everything).
type floors map[string]floor

type floor struct {
	P, R         map[string]float64 // by group of types: no less
	Overmask     float64            // no more, of 1000
	CleanTouched int                // no more
	Leaked       int                // no more
}

const slack = .003 // of what was measured, so that a change for the better elsewhere need not touch the file

// TestFigures: nothing that was reached on the development corpus and on the one held out is lost. -update writes what is reached now.
func TestFigures(t *testing.T) {
	now := floors{}
	find := Engine(engine(t))
	docs := corpus(t)
	found := FindAll(docs, find)
	now["all"] = floorOf(Score(docs, found))
	for _, s := range BySource(docs, found) {
		now[s.Name] = floorOf(Score(s.Docs, s.Found))
	}
	held := heldout(t)
	foundHeld := FindAll(held, find)
	now["held out"] = floorOf(Score(held, foundHeld))
	const file = "testdata/floors.json"
	if *update {
		b, err := json.MarshalIndent(now, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		Score(docs, found).Print(os.Stdout, "all")
		Score(held, foundHeld).Print(os.Stdout, "held out")
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var want floors
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	for source, w := range want {
		g, ok := now[source]
		if !ok {
			t.Errorf("%s: no documents any more", source)
			continue
		}
		for _, m := range []struct {
			what      string
			got, want map[string]float64
		}{{"precision", g.P, w.P}, {"recall", g.R, w.R}} {
			for group, v := range m.want {
				if m.got[group] < v-slack {
					t.Errorf("%s: %s of %s is %.3f, was %.3f", source, m.what, group, m.got[group], v)
				}
			}
		}
		if g.Leaked > w.Leaked+w.Leaked/20+2 {
			t.Errorf("%s: %d values leak, were %d", source, g.Leaked, w.Leaked)
		}
		if g.Overmask > w.Overmask+.3 || g.CleanTouched > w.CleanTouched+2 {
			t.Errorf("%s: %.2f of 1000 masked too much, %d clean documents touched; were %.2f and %d", source, g.Overmask, g.CleanTouched, w.Overmask, w.CleanTouched)
		}
	}
}

func floorOf(r *Report) floor {
	f := floor{P: map[string]float64{}, R: map[string]float64{}, Overmask: round(r.OvermaskKilo), CleanTouched: r.CleanTouched, Leaked: r.Leaked}
	for _, g := range []string{GroupSecrets, GroupStructured, "PERSON", "ADDRESS"} {
		if row := r.Row(g); row.N > 0 {
			f.P[g], f.R[g] = round(row.P), round(row.R)
		}
	}
	return f
}

func round(v float64) float64 { return float64(int(v*1000)) / 1000 }

// heldout is the corpus that nobody looked at while rules were made.
func heldout(t *testing.T) []Document {
	t.Helper()
	f, err := os.Open("testdata/heldout.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	docs, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// ordinary are answers without values: what masking must not slow down.
func ordinary(t *testing.T) []string {
	var out []string
	for _, d := range corpus(t) {
		if strings.HasPrefix(d.Source, "MT-bench") {
			out = append(out, d.Text)
		}
	}
	return out
}

// TestHeld: how much is held back on ordinary answers that come by tokens.
func TestHeld(t *testing.T) {
	held, err := Held(engine(t), ordinary(t))
	if err != nil {
		t.Fatal(err)
	}
	p50, p99 := Percentile(held, 50), Percentile(held, 99)
	t.Logf("held after each of %d tokens: p50 %d, p90 %d, p99 %d, most %d bytes", len(held), p50, Percentile(held, 90), p99, held[len(held)-1])
	if p50 > maxHeldHalf || p99 > maxHeldMost {
		t.Errorf("p50 %d and p99 %d bytes are held; at most %d and %d are promised", p50, p99, maxHeldHalf, maxHeldMost)
	}
}

// What is promised of streams, with names.
const (
	maxHeldHalf = 4
	maxHeldMost = 64
	maxState    = 64 << 10
)

// TestStreamCosts: a stream keeps no more than is promised, and allocates nothing when it is warm.
func TestStreamCosts(t *testing.T) {
	e := engine(t)
	texts := ordinary(t)
	feed := func() {
		r := e.Stream(Carrier, mask.StreamOptions{})
		var buf [4096]byte
		for _, tok := range Tokens(texts[0]) {
			if _, err := r.Write(buf[:0], []byte(tok)); err != nil {
				t.Fatal(err)
			}
		}
		r.Release()
	}
	feed()
	tokens := Tokens(texts[1])
	in := make([][]byte, len(tokens))
	for i, s := range tokens {
		in[i] = []byte(s)
	}
	r := e.Stream(Carrier, mask.StreamOptions{})
	dst := make([]byte, 0, 4096)
	once := func() {
		for _, b := range in {
			var err error
			if dst, err = r.Write(dst[:0], b); err != nil {
				t.Fatal(err)
			}
		}
	}
	once()
	if n := testing.AllocsPerRun(20, once); n != 0 {
		t.Errorf("%v allocations in %d tokens", n, len(in))
	}
	const streams = 512
	open := make([]interface{ Held() int }, 0, streams)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range streams {
		r := e.Stream(Carrier, mask.StreamOptions{})
		for _, tok := range Tokens(texts[i%len(texts)]) {
			if dst, _ = r.Write(dst[:0], []byte(tok)); cap(dst) == 0 {
				t.Fatal("nothing is written")
			}
		}
		open = append(open, r)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := (int(after.HeapAlloc) - int(before.HeapAlloc)) / streams
	runtime.KeepAlive(open)
	t.Logf("%d bytes a stream", per)
	if per > maxState {
		t.Errorf("%d bytes a stream; at most %d are promised", per, maxState)
	}
}

// TestSampleByPython runs score.py itself if SCORE_PY says where it is.
func TestSampleByPython(t *testing.T) {
	py := os.Getenv("SCORE_PY")
	if py == "" {
		t.Log("SCORE_PY is not set: testdata/sample.golden stands for it")
		return
	}
	out, err := exec.Command("python3", py, "testdata/sample.jsonl", "testdata/sample-found.jsonl", "--by-source").CombinedOutput()
	if err != nil {
		t.Fatal(fmt.Errorf("score.py: %w: %s", err, out))
	}
	want, err := os.ReadFile("testdata/sample.golden")
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != string(want) {
		t.Errorf("score.py gives\n%s\nthe golden file is\n%s", out, want)
	}
	if *update {
		if err := os.WriteFile("testdata/sample.golden", out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
