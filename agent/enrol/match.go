// SPDX-License-Identifier: Apache-2.0

package enrol

import (
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/pipeline"
)

// answer is what can be said of a criterion.
type answer uint8

const (
	no answer = iota
	yes
	unknown
)

func is(b bool) answer {
	if b {
		return yes
	}
	return no
}

// subject is what is known of a process. A function is asked only if a criterion needs it.
type subject struct {
	cgroup      string
	cgroupKnown bool
	uid         uint32
	exe         func(row int) answer // does its executable satisfy the criterion of that row?
	marked      answer
}

// selects says whether all criteria hold: no if one does not, else unknown if one is unknown.
func (e *Enrol) selects(row int, s *subject) answer {
	m := &e.scopes[row].Match
	out := yes
	also := func(a answer) {
		if a == no || out == no {
			out = no
		} else if a == unknown {
			out = unknown
		}
	}
	if m.UID != nil {
		also(is(*m.UID == s.uid))
	}
	if m.Cgroup != "" || m.Unit != "" {
		if s.cgroupKnown {
			also(is(e.inCgroup(m, s.cgroup)))
		} else {
			also(unknown)
		}
	}
	if m.LangChain {
		also(s.marked)
	}
	if m.Exe != "" && out != no {
		also(s.exe(row))
	}
	return out
}

// Matches finds the first scope whose criteria a workload satisfies now. marked says whether it carries the LangChain
// mark.
func (e *Enrol) Matches(w *pipeline.Workload, marked bool) (int, bool) {
	s := subject{cgroup: w.Cgroup, cgroupKnown: w.Cgroup != "", uid: w.UID, exe: e.runs(w.PID), marked: is(marked)}
	for i := range e.scopes {
		if e.chosen(i, &s) != no {
			return i, true
		}
	}
	return 0, false
}

// runs asks for the executable of a process as the kernel programs do, by device and inode: its name is the process's
// own to choose.
func (e *Enrol) runs(pid uint32) func(int) answer {
	return func(row int) answer {
		f, err := fileOf(filepath.Join(e.o.ProcRoot, strconv.FormatUint(uint64(pid), 10), "exe"))
		if err != nil {
			return unknown
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		return is(e.exes[f]&(1<<row) != 0)
	}
}

// cgroupMask has a bit for each scope whose cgroup criteria a path satisfies.
func (e *Enrol) cgroupMask(path string) (mask uint64) {
	for i := range e.scopes {
		m := &e.scopes[i].Match
		if (m.Cgroup != "" || m.Unit != "") && e.inCgroup(m, path) {
			mask |= 1 << i
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return mask &^ e.spared[path]
}

// inCgroup says whether a path satisfies the cgroup and unit criteria. A cgroup criterion takes its whole subtree.
func (e *Enrol) inCgroup(m *agent.Match, path string) bool {
	if m.Cgroup != "" && !subtree(m.Cgroup, path) {
		return false
	}
	if m.Unit == "" {
		return true
	}
	unit := e.o.Unit(path)
	return unit != "" && matches(m.Unit, unit)
}

// subtree says whether p, or a folder above it, matches a pattern.
func subtree(pattern, p string) bool {
	if pattern == "/" {
		return true
	}
	for p = strings.TrimSuffix(p, "/"); p != ""; p = p[:strings.LastIndexByte(p, '/')] {
		if p[0] != '/' {
			return false
		}
		if matches(pattern, p) {
			return true
		}
	}
	return false
}

// matches is path.Match; New has checked the pattern, and a bad one matches nothing.
func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// literalEscapes lets the escapes of systemd stand for themselves in a pattern: in foo\x2dbar.service, as systemctl shows
// it, path.Match would take the backslash for its own, and the scope would match nothing. (systemd-escape(1))
func literalEscapes(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		b.WriteByte(pattern[i])
		if pattern[i] != '\\' || i+1 == len(pattern) {
			continue
		}
		if i+3 < len(pattern) && pattern[i+1] == 'x' && isHex(pattern[i+2]) && isHex(pattern[i+3]) {
			b.WriteByte('\\')
			continue
		}
		i++ // what is escaped already, a backslash perhaps
		b.WriteByte(pattern[i])
	}
	return b.String()
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }

// Mode is the mode in which a workload's connections are treated: off for one that the programs do not see.
func (e *Enrol) Mode(w *pipeline.Workload, marked bool) agent.Mode {
	if !e.attached(w.Cgroup) {
		return agent.ModeOff
	}
	if i, ok := e.Matches(w, marked); ok {
		return e.o.Scopes[i].Mode
	}
	if marked {
		return e.o.DefaultMode
	}
	return agent.ModeOff
}
