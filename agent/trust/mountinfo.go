// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// mount is one line of /proc/PID/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	id     int
	point  string // as seen from the root of the process whose table it is
	peers  int    // peer group if shared, else 0
	fs     string
	source string
}

// tagPrefix begins the source name of every tmpfs of ours.
const tagPrefix = "sallyport-"

// ours returns the tag if the mount is one of ours.
func (m mount) ours() (tag string, ok bool) {
	return m.source, m.fs == "tmpfs" && strings.HasPrefix(m.source, tagPrefix)
}

// parseMounts reads a mount table, in its order: a later mount at the same point lies over an earlier one.
func parseMounts(table string) ([]mount, error) {
	var out []mount
	for line := range strings.Lines(table) {
		m, err := parseMount(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("mount table: %w", err)
		}
		out = append(out, m)
	}
	return out, nil
}

func parseMount(line string) (mount, error) {
	f := strings.Split(line, " ") // fields are never empty, and spaces in them are escaped; sources may be empty, though
	if len(f) < 10 {
		return mount{}, errors.New("a line has fewer than ten fields")
	}
	id, err := strconv.Atoi(f[0])
	if err != nil {
		return mount{}, errors.New("a line does not begin with a number")
	}
	m := mount{id: id, point: unescape(f[4])}
	i := 6
	for ; i < len(f) && f[i] != "-"; i++ {
		if n, ok := strings.CutPrefix(f[i], "shared:"); ok {
			if m.peers, err = strconv.Atoi(n); err != nil {
				return mount{}, errors.New("a peer group is no number")
			}
		}
	}
	if len(f) < i+3 {
		return mount{}, errors.New("a line has no separator")
	}
	m.fs, m.source = unescape(f[i+1]), unescape(f[i+2])
	return m, nil
}

// unescape undoes the kernel's \ooo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
