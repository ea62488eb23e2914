// SPDX-License-Identifier: Apache-2.0

// Command bench measures, on one core and in one run, how fast texts are masked, and how fast gitleaks searches the same texts, if -gitleaks says
// where that program is (see test/masking/bench.sh). The figures are processor time, the best of the rounds; MB are 10^6 bytes.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline/mask"
	"github.com/sallyport-dev/sallyport/test/masking"
)

const (
	size  = 512 << 10
	token = 16 // bytes, in the second way of feeding
)

func main() {
	peer := flag.String("gitleaks", "", "the program that runs gitleaks")
	dir := flag.String("dir", "build/bench/masking", "where the texts are written")
	rounds := flag.Int("rounds", 3, "how often each is measured")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	if err := run(*peer, *dir, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(peer, dir string, rounds int) error {
	docs, err := masking.Dev()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	e, err := masking.NewEngine()
	if err != nil {
		return err
	}
	fmt.Printf("| text | masked whole, MB/s | in pieces of %d bytes, MB/s | masks | gitleaks 8.30.1, MB/s | ratio |\n|---|---|---|---|---|---|\n", token)
	for _, t := range []struct {
		name  string
		every func(d *masking.Document, i int) bool
	}{
		{"prose", func(d *masking.Document, _ int) bool { return strings.HasPrefix(d.Source, "MT-bench") }},
		{"code", func(d *masking.Document, _ int) bool { return strings.HasPrefix(d.Source, "Go standard") }},
		{"mixed", func(d *masking.Document, i int) bool { return len(d.Spans) == 0 || i%10 == 0 }},
		{"secret-dense", func(d *masking.Document, _ int) bool {
			return len(d.Spans) > 0 && (strings.HasPrefix(d.Source, "gitleaks") || d.Source == "own-A")
		}},
	} {
		var b strings.Builder
		for b.Len() < size {
			for i := range docs {
				if t.every(&docs[i], i) {
					b.WriteString(docs[i].Text)
					b.WriteString("\n\n")
				}
			}
		}
		text := []byte(b.String()[:size])
		name := filepath.Join(dir, t.name+".txt")
		if err := os.WriteFile(name, text, 0o644); err != nil {
			return err
		}
		whole, tokens, theirs, masks := 0., 0., 0., 0
		for range rounds {
			v, n := ours(e, text, len(text))
			whole, masks = max(whole, v), n
			v, _ = ours(e, text, token)
			tokens = max(tokens, v)
			if peer != "" {
				v, err := other(peer, name, len(text))
				if err != nil {
					return err
				}
				theirs = max(theirs, v)
			}
		}
		if peer == "" {
			fmt.Printf("| %s | %.1f | %.1f | %d | | |\n", t.name, whole, tokens, masks)
			continue
		}
		fmt.Printf("| %s | %.1f | %.1f | %d | %.2f | %.0f |\n", t.name, whole, tokens, masks, theirs, whole/theirs)
	}
	texts := []string{}
	for _, d := range docs {
		if strings.HasPrefix(d.Source, "MT-bench") {
			texts = append(texts, d.Text)
		}
	}
	held, err := masking.Held(e, texts)
	if err != nil {
		return err
	}
	fmt.Printf("\nHeld after each of %d tokens of ordinary answers: p50 %d, p90 %d, p99 %d, most %d bytes.\n", len(held), masking.Percentile(held, 50), masking.Percentile(held, 90), masking.Percentile(held, 99), held[len(held)-1])
	return nil
}

// ours returns MB/s.
func ours(e *mask.Engine, text []byte, piece int) (float64, int) {
	dst := make([]byte, 0, 2*len(text))
	runtime.GC()
	start, masks := used(), 0
	times := 0
	for times == 0 || used()-start < 200*time.Millisecond {
		r := e.Stream(masking.Carrier, mask.StreamOptions{})
		dst = dst[:0]
		for at := 0; at < len(text); at += piece {
			var err error
			if dst, err = r.Write(dst, text[at:min(at+piece, len(text))]); err != nil {
				panic(err)
			}
		}
		dst, _ = r.Flush(dst)
		masks = len(r.Masks())
		r.Release()
		times++
	}
	return float64(times) * float64(len(text)) / 1e6 / (used() - start).Seconds(), masks
}

func other(program, file string, n int) (float64, error) {
	out, err := exec.Command(program, file).Output()
	if err != nil {
		return 0, fmt.Errorf("running %s: %w", program, err)
	}
	var name string
	var seconds float64
	var found int
	if _, err := fmt.Sscan(string(out), &name, &seconds, &found); err != nil {
		return 0, fmt.Errorf("reading what %s says: %w", program, err)
	}
	return float64(n) / 1e6 / seconds, nil
}

// used is the processor time of this process.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
