// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

// prices is a file with prices.
type prices struct {
	Currency string      `yaml:"currency"`
	Prices   []priceLine `yaml:"prices"`
}

// priceLine is what a million tokens cost from a day on.
type priceLine struct {
	Model    string   `yaml:"model"`    // a glob
	Endpoint string   `yaml:"endpoint"` // a glob; "" = any
	From     string   `yaml:"from"`     // a date; "" = always
	Input    float64  `yaml:"input"`
	Cached   *float64 `yaml:"cached"` // input that the provider had cached; absent: as input
	Output   float64  `yaml:"output"`
}

// readPrices reads and checks a file.
func readPrices(file string) (*prices, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading prices: %w", err)
	}
	defer f.Close()
	dec := yaml.NewDecoder(io.LimitReader(f, 1<<20))
	dec.KnownFields(true)
	var p prices
	if err := dec.Decode(&p); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading prices from %s: %w", file, err)
	}
	if p.Currency == "" {
		return nil, fmt.Errorf("reading prices from %s: currency is missing: give one, such as EUR", file)
	}
	for i, l := range p.Prices {
		bad := func(what string) error {
			return fmt.Errorf("reading prices from %s: price %d (%s): %s", file, i+1, l.Model, what)
		}
		for _, g := range []string{l.Model, l.Endpoint} {
			if _, err := path.Match(g, ""); err != nil {
				return nil, bad("a pattern cannot be read")
			}
		}
		if _, err := time.Parse(time.DateOnly, l.From); l.From != "" && err != nil {
			return nil, bad("from is no date like 2026-01-31")
		}
		if l.Model == "" || l.Input < 0 || l.Output < 0 || l.Cached != nil && *l.Cached < 0 {
			return nil, bad("want a model, and prices that are not negative")
		}
	}
	return &p, nil
}

// cost is what a row of one day cost, if there is a price.
func (p *prices) cost(r *adminapi.UsageRow) (float64, bool) {
	var best *priceLine
	for i := range p.Prices {
		l := &p.Prices[i]
		if !globbed(l.Model, r.Model) || l.Endpoint != "" && !globbed(l.Endpoint, r.Endpoint) || l.From > r.Day {
			continue
		}
		if best == nil || l.From > best.From {
			best = l
		}
	}
	if best == nil {
		return 0, false
	}
	cached := best.Input
	if best.Cached != nil {
		cached = *best.Cached
	}
	hit := min(r.Cached, r.Input)
	return (float64(r.Input-hit)*best.Input + float64(hit)*cached + float64(r.Output)*best.Output) / 1e6, true
}

// globbed matches names, in which / is a character like any other.
func globbed(pattern, name string) bool {
	if ok, err := path.Match(pattern, name); err == nil && ok {
		return true
	}
	// A * of path.Match stops at a slash: model names may have some.
	i := 0
	for ; i < len(pattern) && pattern[i] != '*'; i++ {
	}
	return i == len(pattern)-1 && len(name) >= i && name[:i] == pattern[:i]
}
