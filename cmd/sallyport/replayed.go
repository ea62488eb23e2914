// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sallyport-dev/sallyport/agent/adminapi"
	"github.com/sallyport-dev/sallyport/pipeline"
)

func sessionsReplayCommand() command {
	return command{
		name: "sessions replay", args: "ID", short: "a conversation as it went, at the pace at which it was recorded",
		long: "Answers appear as they did for the application: the recorded bytes at the recorded times. Nothing is sent anywhere.",
		flags: func(a *app, fs *flag.FlagSet) action {
			socketFlag(a, fs)
			speed := fs.Float64("speed", 1, "so many `times` as fast; 0 = at once")
			gap := fs.Duration("gap", 3*time.Second, "wait between exchanges for no longer than `this`")
			return func(ctx context.Context, args []string) error {
				if len(args) != 1 {
					return wrong("takes one ID, like ses_0190… (see sallyport sessions list)")
				}
				if *speed < 0 || *gap < 0 {
					return wrong("--speed and --gap cannot be negative")
				}
				c := a.client()
				defer c.Close()
				s, err := c.Session(ctx, args[0])
				if err != nil {
					return err
				}
				err = a.replay(ctx, &s, *speed, *gap)
				if ctx.Err() != nil {
					return nil // it was interrupted, as is usual
				}
				return err
			}
		},
	}
}

// replay writes a session. Times are divided by speed; 0 means that nothing waits.
func (a *app) replay(ctx context.Context, s *adminapi.Session, speed float64, gap time.Duration) error {
	var before []pipeline.Step
	var ended time.Time
	for i := range s.Exchanges {
		x := &s.Exchanges[i]
		if !ended.IsZero() {
			if err := sleep(ctx, min(max(x.Time.Sub(ended), 0), gap), speed); err != nil {
				return err
			}
		}
		var b strings.Builder
		a.showAsked(&b, x, before)
		if _, err := fmt.Fprint(a.out, b.String()); err != nil {
			return err
		}
		if err := a.replayAnswer(ctx, x, speed); err != nil {
			return err
		}
		b.Reset()
		a.showEnd(&b, x)
		if _, err := fmt.Fprintln(a.out, b.String()); err != nil {
			return err
		}
		before, ended = x.Steps, x.Time.Add(time.Duration(x.DurationMS)*time.Millisecond)
	}
	return nil
}

// replayAnswer writes the answer, as much of it at each recorded time as bytes were released by then.
func (a *app) replayAnswer(ctx context.Context, x *adminapi.Exchange, speed float64) error {
	text := clean(x.Response.Text)
	if text == "" {
		return sleep(ctx, time.Duration(x.DurationMS)*time.Millisecond, speed)
	}
	if _, err := fmt.Fprintf(a.out, "   %-13s", "answer"); err != nil {
		return err
	}
	total, sent, shown := 0, 0, 0
	for _, p := range x.Response.Pace {
		total += p.Bytes
	}
	at := int64(0)
	for _, p := range x.Response.Pace {
		if err := sleep(ctx, time.Duration(p.At-at)*time.Millisecond, speed); err != nil {
			return err
		}
		at, sent = p.At, sent+p.Bytes
		to := len(text) * sent / max(total, 1)
		for to < len(text) && !utf8.RuneStart(text[to]) {
			to++
		}
		if _, err := fmt.Fprint(a.out, below(text[shown:to])); err != nil {
			return err
		}
		shown = to
	}
	_, err := fmt.Fprintln(a.out, below(text[shown:]))
	return err
}

// below puts lines below the first of a field.
func below(s string) string { return strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", 16)) }

// sleep waits for a recorded time.
func sleep(ctx context.Context, d time.Duration, speed float64) error {
	if speed == 0 || d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(time.Duration(float64(d) / speed))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
