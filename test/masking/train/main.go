// SPDX-License-Identifier: Apache-2.0

// Command train makes the model of pipeline/mask/names: lists of words and the weights of a small linear model. The same inputs, which
// are all in data, give the same bytes.
package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/sallyport-dev/sallyport/pipeline/mask/names"
	"github.com/sallyport-dev/sallyport/pipeline/mask/names/token"
)

func main() {
	out := flag.String("out", "", "write the model to this `file`")
	folds := flag.Bool("folds", false, "report how models do on what they have not learned from")
	corpus := flag.String("corpus", "", "a corpus in JSON lines, to predict")
	pred := flag.String("pred", "", "write predictions to this `file`")
	model := flag.String("model", "", "predict with the model in this `file`")
	only := flag.String("only", "", "report this fold alone")
	show := flag.Int("show", 0, "show mistakes in so many texts of a fold")
	o := defaults()
	flag.IntVar(&o.epochs, "epochs", o.epochs, "turns")
	flag.IntVar(&o.times, "times", o.times, "fillings of a template in a turn")
	flag.Float64Var(&o.lean[0], "person", o.lean[0], "what is added to the score of a name")
	flag.Float64Var(&o.lean[1], "address", o.lean[1], "what is added to the score of an address")
	flag.Parse()
	if err := run(*out, *folds, *only, *show, *corpus, *pred, *model, o); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

// options say how to learn. keep chooses what is learned from, locale and name what texts are filled with.
type options struct {
	epochs, times int
	lean          [2]float64
	keep          func(group, text string) bool
	locale, name  func(string) bool
}

func all(string) bool          { return true }
func any2(string, string) bool { return true }

func defaults() options {
	return options{epochs: 10, times: 8, lean: [2]float64{0, 0.1}, keep: any2, locale: all, name: all}
}

// train makes a model.
func train(o options) (*token.Lists, *learner, error) {
	s, err := readSources()
	if err != nil {
		return nil, nil, err
	}
	c, err := readCorpus()
	if err != nil {
		return nil, nil, err
	}
	s.use(o.locale, o.name)
	lists := s.gazetteer(o.name)
	l := newLearner(lists, 7)
	for e := range o.epochs {
		docs := c.epoch(s, uint64(100+e), o.times, o.keep)
		for i := range docs {
			l.learn(&docs[i])
		}
	}
	return lists, l, nil
}

// pack is what pipeline/mask/names embeds.
func pack(lists *token.Lists, w *token.Weights) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(w.Append(lists.Append(nil))); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func run(out string, folds bool, only string, show int, corpus, pred, model string, o options) error {
	if folds {
		return report(o, only, show)
	}
	var m *names.Model
	if model == "" {
		lists, l, err := train(o)
		if err != nil {
			return err
		}
		w := l.weights(o.lean)
		b, err := pack(lists, w)
		if err != nil {
			return err
		}
		fmt.Printf("%d words in lists, %d decisions learned from, %d bytes\n", lists.Len(), l.examples, len(b))
		if out != "" {
			if err := os.WriteFile(out, b, 0o644); err != nil {
				return err
			}
		}
		m = names.With(lists, w)
	} else {
		b, err := os.ReadFile(model)
		if err != nil {
			return err
		}
		if m, err = names.Read(b); err != nil {
			return err
		}
	}
	if corpus == "" {
		return nil
	}
	return predict(m, corpus, pred)
}

// predict writes what a model finds in a corpus, in the form of test/masking.
func predict(m *names.Model, corpus, pred string) error {
	in, err := os.Open(corpus)
	if err != nil {
		return err
	}
	defer in.Close()
	var b strings.Builder
	s := m.NewScanner()
	r := bufio.NewScanner(in)
	r.Buffer(nil, 1<<24)
	type span struct {
		Start int    `json:"start"`
		End   int    `json:"end"`
		Type  string `json:"type"`
	}
	for r.Scan() {
		var d struct{ ID, Text string }
		if err := json.Unmarshal(r.Bytes(), &d); err != nil {
			return fmt.Errorf("reading %s: %w", corpus, err)
		}
		s.Reset()
		s.Feed([]byte(d.Text))
		s.End()
		spans := []span{}
		for _, f := range s.Take(nil) {
			spans = append(spans, span{f.Start, f.End, f.Rule.Type})
		}
		line, err := json.Marshal(map[string]any{"id": d.ID, "spans": spans})
		if err != nil {
			return err
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("reading %s: %w", corpus, err)
	}
	return os.WriteFile(pred, []byte(b.String()), 0o644)
}
