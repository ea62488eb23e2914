// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

func (k *Kernel) loadNetns() {
	shared := map[string]*ebpf.Map{}
	for _, name := range []string{bpf.RedirectMapAsks, bpf.RedirectMapAskTimes, bpf.RedirectMapConfigs, bpf.RedirectMapActive, bpf.RedirectMapUids, bpf.RedirectMapExes,
		bpf.RedirectMapCgroups, bpf.RedirectMapMarks, bpf.RedirectMapErrors} {
		shared[name] = k.redirect.Maps[name]
	}
	var err error
	if k.netns, err = k.collection(bpf.LoadNetns, shared); err != nil {
		k.refused["netns"] = explain("noticing network namespaces early", minTracing, err)
	}
}

// Asks reads which network namespaces need a listener, until ctx ends: those in which a connection was just refused or let
// go for want of one, and, if the kernel grants it (Refused "netns"), those in which a process of a scope begins to run. do
// is called for one after the other and should be quick: the sooner the listener, the fewer connections find none.
func (k *Kernel) Asks(ctx context.Context, do func(agent.NetNSAsk)) error {
	r, err := ringbuf.NewReader(k.redirect.Maps[bpf.RedirectMapAsks])
	if err != nil {
		return fmt.Errorf("reading which namespaces need a listener: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer func() {
		if stop() {
			r.Close()
		}
	}()
	var rec ringbuf.Record
	var a bpf.NetnsAsk
	for {
		if err := r.ReadInto(&rec); err != nil {
			if ctx.Err() != nil { // closed by us
				return nil
			}
			return fmt.Errorf("reading which namespaces need a listener: %w", err)
		}
		if err := binary.Read(bytes.NewReader(rec.RawSample), binary.NativeEndian, &a); err != nil {
			return fmt.Errorf("a question of %d bytes: %w", len(rec.RawSample), err)
		}
		do(agent.NetNSAsk{NetNS: a.Netns, TGID: a.Tgid, TID: a.Tid, Why: agent.NetNSWhy(a.Kind), At: time.Duration(a.Ns)})
	}
}

// Served says that a network namespace (by its cookie) has our listener or needs none, or no longer so.
func (k *Kernel) Served(netns uint64, is bool) error {
	if k.netns == nil {
		return nil // only connections ask
	}
	m := k.netns.Maps[bpf.NetnsMapServed]
	if !is {
		return ignoreMissing(m.Delete(netns))
	}
	if err := m.Put(netns, uint8(1)); err != nil {
		return fmt.Errorf("noting a network namespace: %w", err)
	}
	return nil
}

// ResetServed forgets all namespaces: those of an agent that is gone.
func (k *Kernel) ResetServed() error {
	if k.netns == nil {
		return nil
	}
	return prune(k.netns.Maps[bpf.NetnsMapServed], func(uint64) bool { return false })
}

// Since is how long ago a question was asked.
func Since(at time.Duration) (time.Duration, error) {
	now, err := clock(unix.CLOCK_MONOTONIC)
	return now - at, err
}
