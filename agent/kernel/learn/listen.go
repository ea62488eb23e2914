// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/ringbuf"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// Listen reads copies of DNS traffic until ctx ends. see must not block for long: while it does, the programs drop what does not
// fit (Counts "uncopied").
func (l *Learner) Listen(ctx context.Context, see func(agent.DNSCopy)) error {
	if l.m.Answers == nil {
		<-ctx.Done()
		return nil
	}
	r, err := ringbuf.NewReader(l.m.Answers)
	if err != nil {
		return fmt.Errorf("reading copies of DNS answers: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer func() {
		if stop() {
			r.Close()
		}
	}()
	var rec ringbuf.Record
	var c bpf.DnsCopy
	for {
		if err := r.ReadInto(&rec); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("reading copies of DNS answers: %w", err)
		}
		if err := binary.Read(bytes.NewReader(rec.RawSample), binary.NativeEndian, &c); err != nil {
			return fmt.Errorf("a copy of %d bytes: %w", len(rec.RawSample), err)
		}
		out := agent.DNSCopy{Kind: agent.DNSKind(c.Kind), NetNS: c.Netns, Socket: c.Cookie, Learned: int(c.Learned), Size: int(c.Size), Seq: c.Seq,
			Data: c.Data[:min(int(c.Size), len(c.Data))]}
		if out.Kind == agent.DNSAnswer && c.Name < maxNames {
			l.mu.Lock()
			out.Name = l.names[c.Name]
			l.mu.Unlock()
		}
		see(out)
	}
}

// countNames are enum dns_count of bpf/include/learn.h.
var countNames = []string{"asked", "answered", "learned", "unasked", "malformed", "full", "crowded", "uncopied"}

// Counts tells what was done and what could not be: questions asked and answered, addresses learned, answers to questions that
// nobody asked, malformed answers, addresses without room (full), questions that were forgotten (crowded), copies that
// were dropped (uncopied).
func (l *Learner) Counts() (map[string]uint64, error) {
	out := map[string]uint64{}
	if l.m.Learning == nil {
		return out, nil
	}
	for i, name := range countNames {
		var n uint64
		if err := l.m.Learning.Lookup(uint32(i), &n); err != nil {
			return nil, fmt.Errorf("reading the counters of DNS: %w", err)
		}
		out[name] = n
	}
	return out, nil
}
