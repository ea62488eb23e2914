// SPDX-License-Identifier: Apache-2.0

package discover

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"strconv"
	"strings"
)

const (
	maxMemory = 512 << 20 // bytes searched of one process
	window    = 1 << 20
)

// remembers searches the writable memory of a process for the name of a LangChain module. The bare name of a package is no
// evidence, it stands in directory listings too. Nothing of what is read is kept.
func (p process) remembers(ctx context.Context) bool {
	maps, err := os.Open(p.path("maps"))
	if err != nil {
		return false
	}
	defer maps.Close()
	mem, err := os.Open(p.path("mem"))
	if err != nil {
		return false
	}
	defer mem.Close()
	left, buf := int64(maxMemory), make([]byte, window)
	defer clear(buf)
	sc := bufio.NewScanner(io.LimitReader(maps, 16<<20))
	for sc.Scan() {
		begin, end, ok := private(sc.Text())
		if !ok {
			continue
		}
		for begin < end && left > 0 {
			if ctx.Err() != nil {
				return false
			}
			n, err := mem.ReadAt(buf[:min(int64(len(buf)), end-begin, left)], begin)
			if holds(buf[:n]) {
				return true
			}
			if err != nil || n <= len(word) {
				break // a guard page, or it was unmapped meanwhile
			}
			left -= int64(n)
			if begin+int64(n) >= end {
				break
			}
			begin += int64(n - len(word)) // a word may lie across the border
		}
	}
	return false
}

const word = "langchain_core.runnables.base"

func holds(b []byte) bool {
	return bytes.Contains(b, []byte(word)) || bytes.Contains(b, []byte("@langchain/core/runnables"))
}

// private reads a line of /proc/PID/maps; ok if it is memory that the process wrote itself.
func private(line string) (begin, end int64, ok bool) {
	f := strings.Fields(line)
	if len(f) < 5 || !strings.HasPrefix(f[1], "rw") || len(f) > 5 && f[5] != "[heap]" && !strings.HasPrefix(f[5], "[anon") {
		return 0, 0, false
	}
	from, to, _ := strings.Cut(f[0], "-")
	begin, err1 := strconv.ParseInt(from, 16, 64)
	end, err2 := strconv.ParseInt(to, 16, 64)
	return begin, end, err1 == nil && err2 == nil && begin < end
}
