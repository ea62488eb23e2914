// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

func cpuSet(cpu string) (set unix.CPUSet, err error) {
	n, err := strconv.Atoi(cpu)
	if err != nil || n < 0 {
		return set, fmt.Errorf("CPU %q is no number", cpu)
	}
	set.Set(n)
	return set, nil
}

// pinned runs f on a thread that may only use the given CPU. A process that f starts inherits this from its first
// instruction on, and with it each of its threads; a Go program then takes 1 for GOMAXPROCS by itself.
func pinned(cpu string, f func() error) error {
	set, err := cpuSet(cpu)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	var old unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("reading the CPUs of this thread: %w", err)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("pinning to CPU %s: %w", cpu, err)
	}
	ferr := f()
	if err := unix.SchedSetaffinity(0, &old); err != nil {
		return fmt.Errorf("giving this thread its CPUs back: %w", err) // it stays locked: the runtime ends it with its goroutine
	}
	runtime.UnlockOSThread()
	return ferr
}

// pin moves all threads of a running process to the given CPU, until a pass finds none to move; new threads inherit it.
// It returns after two seconds more: a Go program looks at its CPUs once a second and then lowers GOMAXPROCS by itself
// (Go 1.25).
func pin(ctx context.Context, cpu string, pid int) error {
	set, err := cpuSet(cpu)
	if err != nil {
		return err
	}
	for moved := true; moved; {
		moved = false
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			return err
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				continue
			}
			var have unix.CPUSet
			err = unix.SchedGetaffinity(tid, &have)
			if err == nil && have != set {
				moved = true
				err = unix.SchedSetaffinity(tid, &set)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("thread %d: %w", tid, err)
			}
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(2 * time.Second):
		return nil
	}
}
