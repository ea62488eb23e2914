// SPDX-License-Identifier: Apache-2.0

//go:build root

package trust

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func hostMounts(t *testing.T) string {
	t.Helper()
	return read(t, "/proc/1/mountinfo") + read(t, "/proc/self/mountinfo")
}

// mountPoints is where each line of a mount table mounts, with the name of its source: what stays equal when a namespace is
// copied, unlike the IDs.
func mountPoints(table string) []string {
	var out []string
	for line := range strings.Lines(table) {
		f, tail, _ := strings.Cut(line, " - ")
		out = append(out, strings.Fields(f)[4]+" "+strings.TrimSpace(tail))
	}
	return out
}

func itoa(n int) string { return strconv.Itoa(n) }

func link(path string) string {
	s, _ := os.Readlink(path)
	return s
}

func kill(pid string) error {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	return syscall.Kill(n, syscall.SIGKILL)
}

// await polls until ok.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
	}
}
