// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// Kinds of event (EVENT_* of bpf/include/types.h).
const (
	eventMark       = 1
	eventCgroupMade = 2
	eventCgroupGone = 3
	eventStart      = 4
)

// Listen reads events until ctx ends: marks of processes below Options.Cgroup, MarkStarted among them, and cgroups of the whole host. The
// functions are called one after the other and must not block for long: while they do, the kernel drops what does not
// fit (Errors "event lost").
func (k *Kernel) Listen(ctx context.Context, mark func(agent.Mark), cgroup func(agent.CgroupEvent)) error {
	var events *ebpf.Map
	for _, c := range []*ebpf.Collection{k.track, k.cgroup} {
		if c != nil && events == nil {
			events = c.Maps[bpf.TrackMapEvents]
		}
	}
	if events == nil {
		<-ctx.Done()
		return nil
	}
	r, err := ringbuf.NewReader(events)
	if err != nil {
		return fmt.Errorf("reading kernel events: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer func() {
		if stop() {
			r.Close()
		}
	}()
	var rec ringbuf.Record
	var e bpf.TrackEvent
	for {
		if err := r.ReadInto(&rec); err != nil {
			if ctx.Err() != nil { // closed by us: ErrClosed, or EBADF if the reader was just about to wait
				return nil
			}
			return fmt.Errorf("reading kernel events: %w", err)
		}
		if err := binary.Read(bytes.NewReader(rec.RawSample), binary.NativeEndian, &e); err != nil {
			return fmt.Errorf("a kernel event of %d bytes: %w", len(rec.RawSample), err)
		}
		switch path := text(e.Path[:]); e.Kind {
		case eventMark, eventStart:
			kind := agent.MarkLangChain
			if e.Kind == eventStart {
				kind = agent.MarkStarted
			}
			mark(agent.Mark{Kind: kind, Path: path,
				Proc: agent.Process{TGID: e.Tgid, Start: e.Start, UID: e.Uid, LoginUID: e.Loginuid, Comm: text(e.Comm[:]), CgroupID: e.Cgroup}})
		case eventCgroupMade, eventCgroupGone:
			cgroup(agent.CgroupEvent{ID: e.Cgroup, Path: path, Removed: e.Kind == eventCgroupGone})
		}
	}
}
