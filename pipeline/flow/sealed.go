// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// The limits of replies that are kept. What does not fit is dropped, the oldest first: its request is then asked anew.
const (
	vaultFor   = 30 * time.Minute
	vaultBytes = 64 << 20
	vaultOne   = 8 << 20
	vaultCount = 256
)

// vault keeps replies that hold something undecided, for the same request to come again. They are encrypted with a key of this
// process, so that memory written out by others (swap, a core of a client's process) does not show what nobody was to see yet.
type vault struct {
	now   func() time.Time
	seeds [2]maphash.Seed
	aead  cipher.AEAD

	mu    sync.Mutex
	kept  map[vaultKey]*sealed
	order []*sealed // oldest first
	bytes int
}

// vaultKey names a request of a caller: equal requests have equal keys, and in one process nobody finds two others that do.
type vaultKey [2]uint64

type sealed struct {
	key      vaultKey
	at       time.Time
	exchange string // that asked the provider
	box      []byte
}

func newVault(now func() time.Time) (*vault, error) {
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &vault{now: now, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, aead: aead, kept: map[vaultKey]*sealed{}}, nil
}

// placeOf tells callers apart that have no identity.
func placeOf(m *pipeline.Meta) string {
	if m.Principal.SPIFFEID != "" {
		return ""
	}
	return m.Workload.Place()
}

// keyOf is the key of a request.
func (v *vault) keyOf(m *pipeline.Meta, h *pipeline.Head, body []byte) (k vaultKey) {
	for i := range k {
		var s maphash.Hash
		s.SetSeed(v.seeds[i])
		for _, part := range [...]string{m.Scope, m.Principal.SPIFFEID, m.Principal.User, strconv.FormatUint(uint64(m.Workload.UID), 10),
			strconv.FormatUint(uint64(m.Workload.LoginUID), 10), placeOf(m),
			m.Endpoint.Name, m.Endpoint.Host, strconv.Itoa(int(m.Endpoint.Port)), h.Method, h.Target, h.Credential} {
			_, _ = s.WriteString(strconv.Itoa(len(part)))
			_ = s.WriteByte(':')
			_, _ = s.WriteString(part)
		}
		_, _ = s.Write(body)
		k[i] = s.Sum64()
	}
	return k
}

// put keeps a reply.
func (v *vault) put(key vaultKey, exchange string, head pipeline.Head, body []byte) error {
	if len(body) > vaultOne {
		return nil
	}
	h, err := json.Marshal(head)
	if err != nil {
		return err
	}
	plain := append([]byte(strconv.Itoa(len(h))+"\n"), h...)
	s := &sealed{key: key, at: v.now(), exchange: exchange}
	s.box = v.aead.Seal(nil, nil, append(plain, body...), []byte(exchange))
	v.mu.Lock()
	defer v.mu.Unlock()
	v.drop(v.kept[key])
	v.kept[key] = s
	v.order = append(v.order, s)
	v.bytes += len(s.box)
	for len(v.order) > vaultCount || v.bytes > vaultBytes || v.now().Sub(v.order[0].at) > vaultFor {
		v.drop(v.order[0])
	}
	return nil
}

// drop forgets a reply. mu is held.
func (v *vault) drop(s *sealed) {
	if s == nil {
		return
	}
	delete(v.kept, s.key)
	v.bytes -= len(s.box)
	for i, o := range v.order {
		if o == s {
			v.order = append(v.order[:i], v.order[i+1:]...)
			break
		}
	}
}

// empty tells that nothing is kept, without a look at a request.
func (v *vault) empty() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.order) == 0
}

// take gives a reply back, once.
func (v *vault) take(key vaultKey) (exchange string, head pipeline.Head, body []byte, ok bool, err error) {
	v.mu.Lock()
	s := v.kept[key]
	v.drop(s)
	v.mu.Unlock()
	if s == nil || v.now().Sub(s.at) > vaultFor {
		return "", head, nil, false, nil
	}
	plain, err := v.aead.Open(nil, nil, s.box, []byte(s.exchange))
	if err != nil {
		return "", head, nil, false, fmt.Errorf("open a kept reply: %w", err)
	}
	for i, c := range plain {
		if c != '\n' {
			continue
		}
		n, err := strconv.Atoi(string(plain[:i]))
		if err != nil || n < 0 || n > len(plain)-i-1 {
			break
		}
		if err := json.Unmarshal(plain[i+1:i+1+n], &head); err != nil {
			return "", head, nil, false, fmt.Errorf("open a kept reply: %w", err)
		}
		return s.exchange, head, plain[i+1+n:], true, nil
	}
	return "", head, nil, false, errors.New("open a kept reply: not as it was written")
}

// unseal gives the reply that was kept for this request, nil if there is none. It must be called when the request is decided.
func (x *exchange) unseal() pipeline.Reply {
	if !x.enforce || x.f.o.Holder == nil || x.codec == nil || x.req.Call.Stream || x.h.body == nil {
		return nil
	}
	x.h.key = x.f.vault.keyOf(x.m, &x.head, x.h.body)
	if x.f.vault.empty() {
		return nil
	}
	exchange, head, body, ok, err := x.f.vault.take(x.h.key)
	if err != nil {
		x.f.o.Notice("hold", err)
	}
	if !ok {
		return nil
	}
	x.out.ReplyOf = exchange
	return &keptReply{head: head, body: body}
}

// seal keeps a reply in which something is held still, or whose application went away while it was.
func (x *exchange) seal(head pipeline.Head, err error) {
	if !x.h.over || x.h.reply == nil || x.h.key == (vaultKey{}) || err == nil {
		return
	}
	exchange := x.m.Exchange
	if x.out.ReplyOf != "" {
		exchange = x.out.ReplyOf
	}
	if err := x.f.vault.put(x.h.key, exchange, head, x.h.reply); err != nil {
		x.f.o.Notice("hold", err)
	}
}

// keptReply is a reply that came before.
type keptReply struct {
	head pipeline.Head
	body []byte
}

func (r *keptReply) Head() pipeline.Head { return r.head }

func (r *keptReply) Next(context.Context) ([]byte, error) {
	b := r.body
	if r.body = nil; len(b) == 0 {
		return nil, io.EOF
	}
	return b, nil
}

func (r *keptReply) Close() error { return nil }
