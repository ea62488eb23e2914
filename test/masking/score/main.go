// SPDX-License-Identifier: Apache-2.0

// Command score prints how much of a labelled corpus is found: the development corpus, or the file that is named.
//
//	go run ./test/masking/score [-reference] [-by-source] [CORPUS.jsonl[.gz]]
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/sallyport-dev/sallyport/test/masking"
)

func main() {
	slow := flag.Bool("reference", false, "find with the reference instead of the engine")
	sources := flag.Bool("by-source", false, "print a table for each source too")
	flag.Parse()
	if err := run(*slow, *sources, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "score:", err)
		os.Exit(1)
	}
}

func run(slow, sources bool, path string) error {
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
	masking.Score(docs, found).Print(os.Stdout, "all")
	if sources {
		for _, s := range masking.BySource(docs, found) {
			masking.Score(s.Docs, s.Found).Print(os.Stdout, s.Name)
		}
	}
	return nil
}
