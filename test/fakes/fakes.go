// SPDX-License-Identifier: Apache-2.0

// Package fakes has stand-ins with behaviour for the sides of an exchange: an application, a provider, a policy, a
// masker and a journal that keep to the contracts of their interfaces and remember what they were asked to do.
package fakes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/sallyport-dev/sallyport/pipeline"
	"github.com/sallyport-dev/sallyport/pipeline/flow"
)

// Client is an application that sent one request.
type Client struct {
	Request  pipeline.Head
	Payload  []byte
	WriteErr error // returned by Write once Accept bytes were taken
	Accept   int

	Responded bool
	Reply     pipeline.Head
	Got       []byte
	Writes    []int  // length of each Write
	OnWrite   func() // called before each Write
	body      []byte // what Body gave
}

// Head is the request head.
func (c *Client) Head() pipeline.Head { return c.Request }

// Body gives the request body, or its first limit bytes with ErrBodyTooLarge.
func (c *Client) Body(_ context.Context, limit int64) ([]byte, error) {
	c.body = bytes.Clone(c.Payload)
	if int64(len(c.body)) > limit {
		return c.body[:limit], pipeline.ErrBodyTooLarge
	}
	return c.body, nil
}

// Release gives the body's memory to somebody else, who writes to it.
func (c *Client) Release() {
	for i := range c.body {
		c.body[i] = '~'
	}
}

// Respond notes the head of the reply.
func (c *Client) Respond(h pipeline.Head) error {
	if c.Responded {
		return errors.New("second head")
	}
	c.Responded, c.Reply = true, h
	return nil
}

// Write notes what the application gets to see.
func (c *Client) Write(b []byte) error {
	if !c.Responded {
		return errors.New("body before head")
	}
	if c.OnWrite != nil {
		c.OnWrite()
	}
	if c.WriteErr != nil && len(c.Got)+len(b) > c.Accept {
		return c.WriteErr
	}
	c.Got = append(c.Got, b...)
	c.Writes = append(c.Writes, len(b))
	return nil
}

// Upstream is a provider that answers one request from a script. Its own log proves what was sent.
type Upstream struct {
	Head   pipeline.Head
	Pieces [][]byte // what each Next yields
	End    error    // after the pieces; nil means io.EOF
	Err    error    // of Send: nobody answers

	Sent       [][]byte // bodies that left
	SentHead   pipeline.Head
	Credential string
	Closed     bool
	next       int
	scratch    []byte
}

// Send waits for durable, as the contract asks, and notes what was sent.
func (u *Upstream) Send(ctx context.Context, h pipeline.Head, body []byte, credential string, durable <-chan error) (pipeline.Reply, error) {
	if u.Err != nil {
		return nil, u.Err
	}
	if durable != nil {
		select {
		case err := <-durable:
			if err != nil {
				return nil, fmt.Errorf("%w: %w", pipeline.ErrNotRecorded, err)
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	u.Sent = append(u.Sent, append([]byte(nil), body...))
	u.SentHead, u.Credential = h, credential
	return &reply{u}, nil
}

type reply struct{ u *Upstream }

func (r *reply) Head() pipeline.Head { return r.u.Head }

func (r *reply) Next(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u := r.u
	for i := range u.scratch { // what was given before is not valid any more
		u.scratch[i] = '!'
	}
	if u.next >= len(u.Pieces) {
		if u.End != nil {
			return nil, u.End
		}
		return nil, io.EOF
	}
	u.scratch = append(u.scratch[:0], u.Pieces[u.next]...)
	u.next++
	return u.scratch, nil
}

func (r *reply) Close() error { r.u.Closed = true; return nil }

// Rewind lets an upstream answer again.
func (u *Upstream) Rewind() { u.next, u.Sent, u.Closed = 0, nil, false }

// Decider is a policy made of a function; nil allows all.
type Decider func(m *pipeline.Meta, c *pipeline.Call, s *pipeline.Step) pipeline.Verdict

// Decide asks the function.
func (d Decider) Decide(m *pipeline.Meta, c *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
	if d == nil {
		return pipeline.Verdict{Action: pipeline.Allow, Rule: "role/fake"}
	}
	return d(m, c, s)
}

// Version is constant.
func (Decider) Version() string { return "fake-1" }

// DenyTool refuses calls of a tool, by name, and allows the rest.
func DenyTool(name string) Decider {
	return func(_ *pipeline.Meta, _ *pipeline.Call, s *pipeline.Step) pipeline.Verdict {
		if s != nil && s.Kind == pipeline.StepToolCall && s.Name == name {
			return pipeline.Verdict{Action: pipeline.Deny, Rule: "guardrail/no-" + name, Reason: "not allowed"}
		}
		return pipeline.Verdict{Action: pipeline.Allow, Rule: "role/fake"}
	}
}

// Sessions gives every exchange the same session.
type Sessions string

// Assign sets the session.
func (s Sessions) Assign(m *pipeline.Meta, _ *pipeline.Call) { m.Session = string(s) }

// Recorded knows of nothing that was recorded before.
func (s Sessions) Recorded(*pipeline.Meta, []pipeline.Step) (int, bool) { return 0, false }

// Answered does nothing.
func (s Sessions) Answered(*pipeline.Meta, *pipeline.Call, *pipeline.Outcome, pipeline.Usage) {}

// Masker masks fixed words. It is exact on streams: it holds back what may still become one of them.
type Masker struct {
	Words []string // none a part of another
	With  string   // what stands in their place
	Err   error    // returned by every Write
	Panic bool     // in every Write
}

// Stream makes a rewriter.
func (k Masker) Stream(carrier string, _ *pipeline.Meta, _ []byte) flow.Rewriter {
	return &rewriter{k: k, carrier: carrier}
}

type rewriter struct {
	k       Masker
	carrier string
	held    []byte
	total   int
	masks   []pipeline.Mask
}

func (r *rewriter) Write(dst, src []byte) ([]byte, error) {
	if r.k.Panic {
		panic("secret in a panic")
	}
	if r.k.Err != nil {
		return dst, r.k.Err
	}
	for _, c := range src {
		r.held = append(r.held, c)
		r.total++
		for _, w := range r.k.Words {
			if bytes.HasSuffix(r.held, []byte(w)) {
				dst = append(dst, r.held[:len(r.held)-len(w)]...)
				dst = append(dst, r.k.With...)
				r.masks = append(r.masks, pipeline.Mask{Carrier: r.carrier, Type: "word", At: r.total - len(w), Len: len(w), With: r.k.With})
				r.held = r.held[:0]
			}
		}
		keep := 0
		for _, w := range r.k.Words {
			for n := min(len(w)-1, len(r.held)); n > keep; n-- {
				if bytes.HasSuffix(r.held, []byte(w[:n])) {
					keep = n
					break
				}
			}
		}
		dst = append(dst, r.held[:len(r.held)-keep]...)
		r.held = append(r.held[:0], r.held[len(r.held)-keep:]...)
	}
	return dst, nil
}

func (r *rewriter) Flush(dst []byte) ([]byte, error) {
	dst = append(dst, r.held...)
	r.held = nil
	return dst, r.k.Err
}

func (r *rewriter) Held() int              { return len(r.held) }
func (r *rewriter) Masks() []pipeline.Mask { return r.masks }

// Release does nothing.
func (r *rewriter) Release() {}

// Mask is what the masker makes of a whole text.
func (k Masker) Mask(text string) string {
	for _, w := range k.Words {
		text = strings.ReplaceAll(text, w, k.With)
	}
	return text
}

// Entry is a record as the journal got it.
type Entry struct {
	Kind     string
	Session  string
	Exchange string
	JSON     []byte
}

// Log is a journal in memory. It is safe for concurrent use.
type Log struct {
	Fail func(pipeline.Record) error // what the durable channel of a record yields; nil: always nil

	mu      sync.Mutex
	Entries []Entry
	OnDisk  int  // entries whose channel was given its nil
	Discard bool // for benchmarks: keep nothing
}

// Append encodes the body at once, like the real one.
func (l *Log) Append(r pipeline.Record) (pipeline.Position, <-chan error) {
	done := make(chan error, 1)
	if l.Discard {
		done <- nil
		return pipeline.Position{}, done
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b, err := json.Marshal(r.Body)
	if err == nil && l.Fail != nil {
		err = l.Fail(r)
	}
	if err == nil {
		l.Entries = append(l.Entries, Entry{Kind: r.Kind, Session: r.Session, Exchange: r.Exchange, JSON: b})
		l.OnDisk++
	}
	done <- err
	return pipeline.Position{Offset: uint64(len(l.Entries))}, done
}

// Of returns the bodies of all records of a kind.
func (l *Log) Of(kind string) [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out [][]byte
	for _, e := range l.Entries {
		if e.Kind == kind {
			out = append(out, e.JSON)
		}
	}
	return out
}

// Kinds lists the kinds of the records in order, runs of the same kind once.
func (l *Log) Kinds() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, e := range l.Entries {
		if len(out) == 0 || out[len(out)-1] != e.Kind {
			out = append(out, e.Kind)
		}
	}
	return out
}
