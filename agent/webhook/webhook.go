// SPDX-License-Identifier: Apache-2.0

package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Message is one thing to tell.
type Message struct {
	ID      string    // of this message: what has the same ID is the same message
	Expires time.Time // after it there is nothing to be told any more; zero = after a day
	Body    any       // encoded as JSON
}

// Options configures New.
type Options struct {
	URL     string
	Secret  Secret
	CA      []byte // PEM of the roots to verify the receiver against; nil = the system's
	Version string // for User-Agent
	Log     *slog.Logger
}

const (
	maxQueue   = 256
	workers    = 4
	timeout    = 10 * time.Second // of one try
	firstPause = 2 * time.Second  // doubled with each try
	longest    = 5 * time.Minute  // between two tries
	lifetime   = 24 * time.Hour
)

// State is how it goes.
type State struct {
	Queued                int // with those that are under way
	Sent, Failed, Dropped uint64
	Last                  time.Time // that one was taken
	Error                 string    // of the latest try that failed, until one succeeds
}

// Notifier delivers messages. It is safe for concurrent use.
type Notifier struct {
	o    Options
	http *http.Client
	wake chan struct{} // capacity 1

	mu     sync.Mutex // guards what follows
	queue  []*job     // neither sorted nor long
	flying int
	state  State
}

type job struct {
	id      string
	body    []byte
	tries   int
	due     time.Time
	expires time.Time
}

// New checks the options and makes a Notifier. Nothing is sent before Run.
func New(o Options) (*Notifier, error) {
	if o.Secret.key == nil {
		return nil, errors.New("approvals.webhook: a secret is needed, so that the receiver knows who calls")
	}
	c, err := newClient(&o)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Notifier{o: o, http: c, wake: make(chan struct{}, 1)}, nil
}

// Send queues a message and returns at once. One that is queued already is not queued again.
func (n *Notifier) Send(m Message) {
	body, err := json.Marshal(m.Body)
	if err == nil && (m.ID == "" || strings.ContainsAny(m.ID, ". \r\n")) {
		err = fmt.Errorf("the ID %q cannot be signed", m.ID)
	}
	now := time.Now()
	if m.Expires.IsZero() {
		m.Expires = now.Add(lifetime)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case err != nil:
		n.state.Failed++
		n.state.Error = err.Error()
		n.o.Log.Error("a message for the webhook does not encode", "error", err)
		return
	case n.known(m.ID):
		return
	case len(n.queue)+n.flying >= maxQueue:
		if n.state.Dropped++; n.state.Dropped&(n.state.Dropped-1) == 0 { // 1, 2, 4, …: not one line for each
			n.o.Log.Warn("the queue of the webhook is full, messages are dropped", "count", n.state.Dropped)
		}
		return
	}
	n.queue = append(n.queue, &job{id: m.ID, body: body, due: now, expires: m.Expires})
	n.nudge()
}

func (n *Notifier) known(id string) bool {
	for _, j := range n.queue {
		if j.id == id {
			return true
		}
	}
	return false
}

func (n *Notifier) nudge() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// State tells how it goes.
func (n *Notifier) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.state
	s.Queued = len(n.queue) + n.flying
	return s
}

// Run delivers until ctx ends; what is queued then is not delivered.
func (n *Notifier) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range workers {
		all.Go(func() { n.work(ctx) })
	}
	all.Wait()
	n.http.CloseIdleConnections()
	return nil
}

func (n *Notifier) work(ctx context.Context) {
	for ctx.Err() == nil {
		j, wait := n.next(time.Now())
		if j != nil {
			n.done(ctx, j, n.post(ctx, j))
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-n.wake:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// next takes the message that is due, or says how long none is. What has become pointless is given up.
func (n *Notifier) next(now time.Time) (*job, time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wait, at := time.Hour, -1
	for i := 0; i < len(n.queue); i++ {
		j := n.queue[i]
		if !now.Before(j.expires) {
			n.queue = append(n.queue[:i], n.queue[i+1:]...)
			i--
			n.giveUp(j, "its time is over")
			continue
		}
		if d := j.due.Sub(now); d < wait {
			wait, at = d, i
		}
	}
	if at < 0 || wait > 0 {
		return nil, max(wait, time.Millisecond)
	}
	j := n.queue[at]
	n.queue = append(n.queue[:at], n.queue[at+1:]...)
	n.flying++
	if len(n.queue) > 0 {
		n.nudge() // for another worker
	}
	return j, 0
}

func (n *Notifier) giveUp(j *job, why string) {
	n.state.Failed++
	n.o.Log.Error("a message to the webhook was not delivered", "message", j.id, "count", j.tries, "error", why)
}

// done files a message away, or plans its next try.
func (n *Notifier) done(ctx context.Context, j *job, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flying--
	if err == nil {
		n.state.Sent++
		n.state.Last, n.state.Error = time.Now(), ""
		return
	}
	if ctx.Err() != nil { // we are stopping: it says nothing about the receiver
		n.queue = append(n.queue, j)
		return
	}
	j.tries++
	n.state.Error = err.Error()
	var final *finalError
	if errors.As(err, &final) {
		n.giveUp(j, err.Error())
		return
	}
	if j.tries == 1 {
		n.o.Log.Warn("the webhook does not take a message, trying again", "message", j.id, "error", err)
	}
	j.due = time.Now().Add(pause(j.tries, err))
	n.queue = append(n.queue, j)
}

// pause is how long to wait after so many tries: longer each time, and not the same for all.
func pause(tries int, err error) time.Duration {
	d := longest
	if tries < 10 {
		d = min(firstPause<<(tries-1), longest)
	}
	var busy *busyError
	if errors.As(err, &busy) {
		d = min(max(d, busy.after), longest)
	}
	return d/2 + rand.N(d)
}
