// SPDX-License-Identifier: Apache-2.0

// Command score prints how much of a labelled corpus is found: the development corpus, or the file that is named.
//
//	go run ./test/masking/score [-reference] [-by-source] [-found FILE] [CORPUS.jsonl[.gz]]
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/sallyport-dev/sallyport/test/masking"
)

func main() {
	slow := flag.Bool("reference", false, "find with the reference instead of the engine")
	sources := flag.Bool("by-source", false, "print a table for each source too")
	write := flag.String("found", "", "write what is found to this file, as score.py reads it")
	flag.Parse()
	if err := run(*slow, *sources, *write, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "score:", err)
		os.Exit(1)
	}
}

func run(slow, sources bool, write, path string) error {
	docs, err := masking.Dev()
	if path != "" {
		f, e := os.Open(path)
		if e != nil {
			return e
		}
		defer f.Close()
		docs, err = masking.Read(f)
	}
	if err != nil {
		return err
	}
	e, err := masking.NewEngine()
	if err != nil {
		return err
	}
	find := masking.Engine(e)
	if slow {
		if find, err = masking.Reference(); err != nil {
			return err
		}
	}
	found := masking.FindAll(docs, find)
	if write != "" {
		if err := save(write, docs, found); err != nil {
			return err
		}
	}
	masking.Score(docs, found).Print(os.Stdout, "all")
	if sources {
		for _, s := range masking.BySource(docs, found) {
			masking.Score(s.Docs, s.Found).Print(os.Stdout, s.Name)
		}
	}
	return nil
}

// save writes what was found, one document a line.
func save(path string, docs []masking.Document, found [][]masking.Span) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	for i := range docs {
		line := struct {
			ID    string         `json:"id"`
			Spans []masking.Span `json:"spans"`
		}{docs[i].ID, append([]masking.Span{}, found[i]...)}
		if err := enc.Encode(line); err != nil {
			f.Close()
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return f.Close()
}
