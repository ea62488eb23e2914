// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"sync"
	"time"
)

// Bounds: how many counters there are, how many parts a window has, and how many exchanges may be under way.
const (
	maxKeys = 8192
	parts   = 32
	maxOpen = 1 << 16
)

// MaxWindow is the longest window that a limit may have.
const MaxWindow = 31 * 24 * time.Hour

// MinWindow is the shortest.
const MinWindow = time.Second

// Limit is how much may be used within a window. Zero counts are no limit.
type Limit struct {
	Requests int64
	Tokens   int64
	Per      time.Duration
}

// Key names what is counted: one rule of one role, for one principal.
type Key struct {
	Role      string
	Rule      int
	Principal string
}

// Meter counts. It is safe for concurrent use.
type Meter struct {
	mu    sync.Mutex
	now   func() time.Time
	base  time.Time // wall time at the start; what has passed since is measured by the monotonic clock
	keys  map[Key]*window
	open  map[string]charge // by exchange
	swept time.Time
}

type charge struct {
	key Key
	at  time.Time
}

// window is a ring of parts; the part n holds what was used from n*size to (n+1)*size.
type window struct {
	per  time.Duration
	part [parts + 1]used
}

type used struct{ n, requests, tokens int64 }

// New makes a meter; now may be nil.
func New(now func() time.Time) *Meter {
	if now == nil {
		now = time.Now
	}
	return &Meter{now: now, base: now(), keys: map[Key]*window{}, open: map[string]charge{}}
}

// time is the wall clock as it was at the start plus what has passed since.
func (m *Meter) time() time.Time { return m.base.Add(m.now().Sub(m.base)) }

// Short says what a limit has no room for. The zero value says that there is room.
type Short struct {
	What  string        // "requests", "tokens"; "counters" if too many callers are counted
	Limit int64         // how many
	Per   time.Duration // in which time
	Again time.Time     // when there is room again, if nothing more is used
}

// Room says whether there is room for one more request, and counts nothing.
func (m *Meter) Room(k Key, l Limit) Short {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, short := m.room(k, l, m.time())
	return short
}

// Take counts one request of an exchange if there is room. Tokens are counted when they are spent: who has a token left may
// ask once more.
func (m *Meter) Take(exchange string, k Key, l Limit) Short {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.time()
	w, short := m.room(k, l, now)
	if short.What != "" {
		return short
	}
	w.add(now, 1, 0)
	if exchange != "" {
		if len(m.open) >= maxOpen {
			m.forget(now)
		}
		if _, again := m.open[exchange]; !again {
			m.open[exchange] = charge{k, now}
		}
	}
	return Short{}
}

func (m *Meter) room(k Key, l Limit, now time.Time) (*window, Short) {
	w := m.window(k, l.Per, now)
	if w == nil {
		return nil, Short{What: "counters", Limit: maxKeys, Per: l.Per, Again: now.Add(l.Per / parts)}
	}
	requests, tokens := w.sum(now)
	if l.Requests > 0 && requests >= l.Requests {
		return w, Short{"requests", l.Requests, l.Per, w.again(now, requests, l.Requests, func(u *used) int64 { return u.requests })}
	}
	if l.Tokens > 0 && tokens >= l.Tokens {
		return w, Short{"tokens", l.Tokens, l.Per, w.again(now, tokens, l.Tokens, func(u *used) int64 { return u.tokens })}
	}
	return w, Short{}
}

// Spend counts the tokens of an exchange, once: a second call for it counts nothing.
func (m *Meter) Spend(exchange string, tokens int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.open[exchange]
	if !ok {
		return
	}
	delete(m.open, exchange)
	if w := m.keys[c.key]; w != nil {
		w.add(m.time(), 0, max(0, tokens))
	}
}

// Restore counts what was used at a time before.
func (m *Meter) Restore(k Key, l Limit, at time.Time, requests, tokens int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.time()
	if at.After(now) { // the clock was set back since
		at = now
	}
	if now.Sub(at) > l.Per {
		return
	}
	if w := m.window(k, l.Per, now); w != nil {
		w.add(at, requests, max(0, tokens))
	}
}

// window finds the counter of a key, nil if there is no room for one more.
func (m *Meter) window(k Key, per time.Duration, now time.Time) *window {
	per = min(max(per, MinWindow), MaxWindow)
	w := m.keys[k]
	switch {
	case w == nil:
		if len(m.keys) >= maxKeys {
			m.sweep(now)
			if len(m.keys) >= maxKeys {
				return nil
			}
		}
		w = &window{per: per}
		m.keys[k] = w
	case w.per != per: // the limit was changed: what was used counts on
		old := *w
		*w = window{per: per}
		for _, u := range old.part {
			if u.requests != 0 || u.tokens != 0 {
				if at := time.Unix(0, (u.n+1)*int64(old.size())-1); now.Sub(at) <= per {
					w.add(minTime(at, now), u.requests, u.tokens)
				}
			}
		}
	}
	return w
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// sweep drops counters that count nothing any more; at most once a second, as it looks at all.
func (m *Meter) sweep(now time.Time) {
	if now.Sub(m.swept) < time.Second && now.After(m.swept) {
		return
	}
	m.swept = now
	for k, w := range m.keys {
		if r, t := w.sum(now); r == 0 && t == 0 {
			delete(m.keys, k)
		}
	}
}

// forget drops the older half of the exchanges under way: ones that never ended.
func (m *Meter) forget(now time.Time) {
	var sum time.Duration
	for _, c := range m.open {
		sum += now.Sub(c.at) / time.Duration(len(m.open))
	}
	for e, c := range m.open {
		if now.Sub(c.at) >= sum {
			delete(m.open, e)
		}
	}
}

func (w *window) size() time.Duration { return w.per / parts }

func (w *window) add(at time.Time, requests, tokens int64) {
	n := at.UnixNano() / int64(w.size())
	u := &w.part[n%int64(len(w.part))]
	switch {
	case u.n == n:
		u.requests, u.tokens = u.requests+requests, u.tokens+tokens
	case u.n < n:
		*u = used{n, requests, tokens}
	}
}

// sum is what was used within the window: a part counts until all of it is out.
func (w *window) sum(now time.Time) (requests, tokens int64) {
	first := now.UnixNano()/int64(w.size()) - parts
	for i := range w.part {
		if u := &w.part[i]; u.n >= first {
			requests, tokens = requests+u.requests, tokens+u.tokens
		}
	}
	return requests, tokens
}

// again is when so much has left the window that less than limit is in it.
func (w *window) again(now time.Time, have, limit int64, of func(*used) int64) time.Time {
	last := now.UnixNano() / int64(w.size())
	for n := last - parts; n <= last; n++ {
		if u := &w.part[((n%int64(len(w.part)))+int64(len(w.part)))%int64(len(w.part))]; u.n == n {
			if have -= of(u); have < limit {
				return time.Unix(0, (n+parts+1)*int64(w.size()))
			}
		}
	}
	return now.Add(w.per)
}
