// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// Files gives the names under which the kernel may know an executable, for SetExe. The programs see the device of the
// super block; stat shows another one on btrfs, and on an overlay of several file systems. What the kernel has mapped
// (/proc/PID/maps) shows the super block's, so both are given where they differ.
func Files(path string) ([]agent.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("looking at an executable: %w", err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("looking at %s: %w", path, err)
	}
	out := []agent.File{{Dev: st.Dev, Ino: st.Ino}}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size == 0 {
		return nil, fmt.Errorf("%s is no executable file", path)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", path, err)
	}
	defer unix.Munmap(m)
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", path, err)
	}
	defer maps.Close()
	mapped, err := mappedFile(maps, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(m)))))
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", path, err)
	}
	if !slices.Contains(out, mapped) {
		out = append(out, mapped)
	}
	return out, nil
}

// mappedFile finds the file that is mapped at an address (proc_pid_maps(5)).
func mappedFile(maps io.Reader, address uint64) (agent.File, error) {
	sc := bufio.NewScanner(maps)
	for sc.Scan() {
		// 7f0000000000-7f0000001000 r--p 00000000 08:01 1234 /path
		f := strings.Fields(sc.Text())
		if len(f) < 5 {
			continue
		}
		from, to, _ := strings.Cut(f[0], "-")
		first, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err1 != nil || err2 != nil || address < first || address >= end {
			continue
		}
		major, minor, _ := strings.Cut(f[3], ":")
		ma, err1 := strconv.ParseUint(major, 16, 32)
		mi, err2 := strconv.ParseUint(minor, 16, 32)
		ino, err3 := strconv.ParseUint(f[4], 10, 64)
		if err1 != nil || err2 != nil || err3 != nil {
			return agent.File{}, fmt.Errorf("unexpected line %q in /proc/self/maps", sc.Text())
		}
		return agent.File{Dev: unix.Mkdev(uint32(ma), uint32(mi)), Ino: ino}, nil
	}
	if err := sc.Err(); err != nil {
		return agent.File{}, err
	}
	return agent.File{}, fmt.Errorf("no file is mapped at %#x", address)
}
