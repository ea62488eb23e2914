// SPDX-License-Identifier: Apache-2.0

package older

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// fromProc lists the connections of covered processes without the kernel's iterator: each descriptor that is a socket is
// copied and asked. Holders that no scope covers are not found this way.
func (o *Older) fromProc(judge func(pid uint32, start uint64) *verdict) (out []agent.Socket, err error) {
	entries, err := os.ReadDir(o.o.proc)
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.ParseUint(e.Name(), 10, 32)
		if err != nil {
			continue
		}
		ticks, err := startTicks(o.o.proc, uint32(pid))
		if err != nil || !judge(uint32(pid), ticks*nsPerTick).ok {
			continue
		}
		some, err := o.o.touch.list(uint32(pid))
		if err != nil && !errors.Is(err, errGone) {
			o.once(err.Error())
		}
		out = append(out, some...)
	}
	return out, nil
}

// startTicks is field 22 of /proc/PID/stat: when the process started, in clock ticks since boot (proc(5)).
func startTicks(proc string, pid uint32) (uint64, error) {
	b, err := os.ReadFile(filepath.Join(proc, strconv.FormatUint(uint64(pid), 10), "stat"))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(b[max(0, strings.LastIndexByte(string(b), ')')):]), ")")
	f := strings.Fields(after)
	if len(f) < 20 {
		return 0, fmt.Errorf("process %d: short stat line", pid)
	}
	return strconv.ParseUint(f[19], 10, 64)
}

func sinceBoot() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("reading the clock: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}
