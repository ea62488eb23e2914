// SPDX-License-Identifier: Apache-2.0

// Package execs tells of programs that start, and remembers in the kernel what user space found out about executables: one
// that is not LangChain whatever its arguments are is not told of again, one that is carries the mark from its first
// instruction on.
package execs

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

// Rules is the version of the rules by which executables are judged: count it up when they change, so that older verdicts,
// which are pinned, do not count.
const Rules uint32 = 1

// Verdicts (VERDICT_* of bpf/include/exec.h).
const (
	nothing   = 1
	langChain = 2
)

// Listen reads executions from the programs' ring until ctx ends. tell must not block for long: while it does, the kernel
// drops what does not fit.
func Listen(ctx context.Context, c *ebpf.Collection, tell func(agent.Exec)) error {
	r, err := ringbuf.NewReader(c.Maps[bpf.ExecMapExecs])
	if err != nil {
		return fmt.Errorf("reading executions: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer func() {
		if stop() {
			r.Close()
		}
	}()
	var rec ringbuf.Record
	for {
		if err := r.ReadInto(&rec); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("reading executions: %w", err)
		}
		e, err := parse(rec.RawSample)
		if err != nil {
			return fmt.Errorf("reading executions: %w", err)
		}
		tell(e)
	}
}

func parse(b []byte) (agent.Exec, error) {
	var e bpf.ExecExecEvent
	if err := binary.Read(bytes.NewReader(b), binary.NativeEndian, &e); err != nil {
		return agent.Exec{}, fmt.Errorf("an event of %d bytes: %w", len(b), err)
	}
	f := e.File
	return agent.Exec{PID: e.Tgid, Start: e.Start, File: agent.Program{Dev: f.Dev, Ino: f.Ino, Size: f.Size, Changed: f.Changed}}, nil
}

// Judge remembers what an executable is. One whose change time is not known is not remembered.
func Judge(c *ebpf.Collection, p agent.Program, is bool) error {
	if p.Changed == 0 {
		return nil
	}
	verdict := uint32(nothing)
	if is {
		verdict = langChain
	}
	key := bpf.ExecExecutable{Dev: p.Dev, Ino: p.Ino, Size: p.Size, Changed: p.Changed}
	if err := c.Maps[bpf.ExecMapVerdicts].Put(key, Rules<<8|verdict); err != nil {
		return fmt.Errorf("remembering an executable: %w", err)
	}
	return nil
}

// Lost counts the executions that Listen did not tell of, because its ring was full.
func Lost(c *ebpf.Collection) (n uint64, err error) {
	if err := c.Maps[bpf.ExecMapTally].Lookup(uint32(0), &n); err != nil {
		return 0, fmt.Errorf("reading the kernel's counters: %w", err)
	}
	return n, nil
}
