// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
)

func sessionsTailCommand() command {
	return command{
		name: "sessions tail", args: "[QUERY]", short: "exchanges as they end, until it is interrupted",
		long: queryHelp + "\nWith -o json one object a line. While the daemon is away it says so and waits for it; what ended meanwhile comes then.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			formatFlag(a, fs)
			return func(ctx context.Context, args []string) error {
				c := a.client()
				defer c.Close()
				return a.tail(ctx, c, joinQuery(args))
			}
		},
	}
}

const (
	// tailEvery is how often sessions tail asks.
	tailEvery = time.Second
	// tailDeep is how many times it asks until it looks at all of its window again.
	tailDeep = 30
	// tailPage is how many exchanges it asks for at a time.
	tailPage = 1000
	// tailWindow is how long ago what is shown may have begun when it ends.
	tailWindow = time.Hour
	// tailGap is how long it may have heard nothing before there may be much to catch up with.
	tailGap = 10 * time.Second
	// tailPatience is the longest wait for a daemon that does not answer.
	tailPatience = 15 * time.Second
)

// searcher is what tail asks of a client.
type searcher interface {
	Search(context.Context, adminapi.Search) (adminapi.Found, error)
}

// tail knows which exchanges have been shown. An exchange is found by when it began: so one that took long is not among the newest. There is
// no place in a listing behind which it could go on; what is behind the last one shown is what it has not seen.
type tail struct {
	ask   searcher
	query string
	seen  map[string]time.Time // exchanges that were shown, or had ended before, and when it learnt of them
	since time.Time            // it looks at exchanges that began then or later
	heard time.Time            // when the daemon last answered
	hold  time.Time            // until then since stays where it is: the daemon may still be reading what ended while nobody asked
}

// fresh finds what is new, newest first, page by page: as far as there is something new on a page or, if deep, all of it. What it gives counts
// as shown only once shown is called: after an error, it is found again.
func (t *tail) fresh(ctx context.Context, deep bool) (out []adminapi.Hit, err error) {
	got := map[string]bool{}
	for before := ""; ; {
		f, err := t.ask.Search(ctx, adminapi.Search{Query: strings.TrimSpace("since:" + t.since.UTC().Format(time.RFC3339) + " " + t.query), Limit: tailPage, Before: before})
		if err != nil {
			return nil, err
		}
		known := len(out)
		for i := range f.Exchanges {
			h := &f.Exchanges[i]
			if _, seen := t.seen[h.ExchangeID]; !seen && !got[h.ExchangeID] {
				got[h.ExchangeID] = true
				out = append(out, *h)
			}
		}
		if before = f.Next; before == "" || len(out) == known && !deep {
			return out, nil
		}
	}
}

// answered moves the window on.
func (t *tail) answered(now time.Time, shown []adminapi.Hit) {
	for i := range shown {
		t.seen[shown[i].ExchangeID] = now
	}
	if now.Sub(t.heard) > tailGap { // it was away, or we were
		t.hold = now.Add(tailWindow)
	}
	if now.After(t.hold) {
		t.since = t.heard.Add(-tailWindow)
		for id, at := range t.seen {
			if at.Before(t.since.Add(-tailWindow)) { // it began before, so it is listed no more
				delete(t.seen, id)
			}
		}
	}
	t.heard = now
}

// tail shows what ends from now on, also while the daemon restarts.
func (a *app) tail(ctx context.Context, c searcher, query string) error {
	now := time.Now()
	t := &tail{ask: c, query: query, seen: map[string]time.Time{}, since: now.Add(-tailWindow), heard: now}
	told := "" // why the daemon does not answer
	wait := tailEvery
	for round := 0; ; round++ {
		list, err := t.fresh(ctx, round%tailDeep == 0 || told != "")
		switch {
		case ctx.Err() != nil:
			return nil // it was interrupted, as is usual
		case err != nil && (round == 0 || !passes(err)):
			return err
		case err != nil:
			if why := err.Error(); why != told {
				told = why
				fmt.Fprintf(a.err, "sallyport: %s; waiting for it\n", clean(oneLine(why)))
			}
			wait = min(2*wait, tailPatience)
		default:
			if told != "" {
				fmt.Fprintln(a.err, "sallyport: the daemon answers again; what ended meanwhile comes now")
			}
			told, wait = "", tailEvery
			for i := len(list) - 1; i >= 0 && round > 0; i-- {
				if err := a.tailed(&list[i]); err != nil {
					return err
				}
			}
			t.answered(time.Now(), list)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// passes tells whether what is wrong may be over in a while: the daemon is not there, went away before its answer was whole, or has trouble of
// its own. What it refuses, it refuses again.
func passes(err error) bool {
	var s *adminapi.StatusError
	if errors.As(err, &s) {
		return s.Status >= 500
	}
	return !errors.Is(err, adminapi.ErrPermission)
}

func (a *app) tailed(h *adminapi.Hit) error {
	if a.format == "json" {
		return a.printLine(h)
	}
	r := foundRow(h)
	for i := range r {
		r[i] = clean(oneLine(r[i]))
	}
	_, err := fmt.Fprintf(a.out, "%s  %s  %s  %s  %s  %s  %s tokens  %s\n", r[1][11:], r[2], r[3], r[4], a.paint(actionColour(h.Action), r[6]), or(r[5], "no tools"), r[8], r[0])
	return err
}
