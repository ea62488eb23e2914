// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/kernel/execs"
	"github.com/sallyport-dev/sallyport/bpf"
)

const featureExecs = "noticing programs that start"

// Execs tells of programs that start below Options.Cgroup, until ctx ends; of one whose executable was judged not to be
// LangChain it does not. Where the kernel refused that it tells nothing.
func (k *Kernel) Execs(ctx context.Context, tell func(agent.Exec)) error {
	if k.exec == nil {
		<-ctx.Done()
		return nil
	}
	return execs.Listen(ctx, k.exec, tell)
}

// LostExecs counts the programs that Execs did not tell of.
func (k *Kernel) LostExecs() (uint64, error) {
	if k.exec == nil {
		return 0, nil
	}
	return execs.Lost(k.exec)
}

// Judge remembers whether an executable is a LangChain program whatever its arguments are. If it is, its processes carry the
// mark from their start on.
func (k *Kernel) Judge(p agent.Program, is bool) error {
	if k.exec == nil {
		return nil
	}
	return execs.Judge(k.exec, p, is)
}

// ErrEnded says that a process is not there any more.
var ErrEnded = errors.New("the process ended")

// MarkLangChain gives a process the mark of LangChain; false if it has it already.
func (k *Kernel) MarkLangChain(pid uint32, start uint64) (bool, error) {
	return k.remark(pid, start, flagLangChain, 0)
}

// UnmarkLangChain takes it away: the process has executed another program while we looked.
func (k *Kernel) UnmarkLangChain(pid uint32, start uint64) error {
	_, err := k.remark(pid, start, 0, flagLangChain)
	return err
}

func (k *Kernel) remark(pid uint32, start uint64, set, drop uint32) (bool, error) {
	fd, err := unix.PidfdOpen(int(pid), 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return false, ErrEnded
	}
	if err != nil {
		return false, fmt.Errorf("opening process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if !startedAt(pid, start) {
		return false, ErrEnded
	}
	var m bpf.RedirectMarking
	marks := k.redirect.Maps[bpf.RedirectMapMarks]
	if err := marks.Lookup(uint32(fd), &m); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, fmt.Errorf("reading the mark of process %d: %w", pid, err)
	}
	next := (m.Flags | set) &^ drop
	if next == m.Flags {
		return false, nil
	}
	m.Flags = next
	if m.Start == 0 {
		m.Start = start
	}
	err = marks.Update(uint32(fd), m, ebpf.UpdateAny)
	if errors.Is(err, unix.ESRCH) {
		return false, ErrEnded
	}
	if err != nil {
		return false, fmt.Errorf("marking process %d: %w", pid, err)
	}
	return true, nil
}

// startedAt says whether a pid still belongs to the process that started then, as exactly as /proc knows it.
func startedAt(pid uint32, start uint64) bool {
	const ticks, nsPerTick = 19, 10_000_000 // behind the name; proc(5)
	b, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/stat")
	if err != nil {
		return false
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) <= ticks {
		return false
	}
	n, err := strconv.ParseUint(f[ticks], 10, 64)
	return err == nil && n == start/nsPerTick
}
