// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// Flags of a thread group (FLAG_* of bpf/include/types.h).
const (
	flagInterpreter = 1
	flagLangChain   = 2
	flagDescendant  = 4
	flagWatched     = 8
)

// Marked says whether a thread group carries a mark of LangChain, and which.
func (k *Kernel) Marked(tgid uint32) (agent.MarkKind, bool, error) {
	m, err := k.marking(int(tgid))
	switch {
	case err != nil:
		return 0, false, err
	case m.Flags&flagLangChain != 0:
		return agent.MarkLangChain, true, nil
	}
	return agent.MarkDescendant, m.Flags&flagDescendant != 0, nil
}

// marking is what the programs know about a thread group; nothing is the zero value.
func (k *Kernel) marking(tgid int) (m bpf.RedirectMarking, err error) {
	fd, err := unix.PidfdOpen(tgid, 0)
	if err != nil {
		return m, fmt.Errorf("opening process %d: %w", tgid, err)
	}
	defer unix.Close(fd)
	err = k.redirect.Maps[bpf.RedirectMapMarks].Lookup(uint32(fd), &m)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return m, fmt.Errorf("reading the mark of process %d: %w", tgid, err)
	}
	return m, nil
}

// Marks lists the LangChain programs that run now below Options.Cgroup, without the paths that gave them away: for an agent that starts, or
// that lost events. Descendants are left out, as Listen leaves them out.
func (k *Kernel) Marks() ([]agent.Mark, error) {
	var out []agent.Mark
	err := eachProcess(func(pid int) error {
		m, err := k.marking(pid)
		if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
			return nil // it ended, or only its leader did
		}
		if err != nil {
			return err
		}
		if m.Flags&flagLangChain == 0 {
			return nil
		}
		p := agent.Process{TGID: uint32(pid), Start: m.Start, LoginUID: agent.NoLogin}
		if path := describe(&p); !inside(path, k.o.Cgroup) {
			return nil
		}
		out = append(out, agent.Mark{Proc: p, Kind: agent.MarkLangChain})
		return nil
	})
	return out, err
}

// inside says whether a cgroup folder is another, or below it.
func inside(dir, top string) bool {
	return dir == top || strings.HasPrefix(dir, strings.TrimSuffix(top, "/")+"/")
}

// describe fills in what /proc tells and returns the cgroup's folder; what ended meanwhile stays unknown.
func describe(p *agent.Process) (cgroup string) {
	dir := filepath.Join("/proc", strconv.Itoa(int(p.TGID)))
	if b, err := os.ReadFile(filepath.Join(dir, "status")); err == nil {
		if _, after, ok := strings.Cut(string(b), "\nUid:"); ok {
			if f := strings.Fields(after); len(f) > 0 {
				if n, err := strconv.ParseUint(f[0], 10, 32); err == nil {
					p.UID = uint32(n)
				}
			}
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "comm")); err == nil {
		p.Comm = strings.TrimSuffix(string(b), "\n")
	}
	if b, err := os.ReadFile(filepath.Join(dir, "loginuid")); err == nil {
		if n, err := strconv.ParseUint(string(b), 10, 32); err == nil {
			p.LoginUID = uint32(n)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "cgroup"))
	root, rerr := CgroupRoot()
	if err != nil || rerr != nil {
		return ""
	}
	var st unix.Stat_t
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && unix.Stat(filepath.Join(root, path), &st) == nil {
			p.CgroupID = st.Ino
			return filepath.Join(root, path)
		}
	}
	return ""
}

func eachProcess(do func(pid int) error) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if err := do(pid); err != nil {
			return err
		}
	}
	return nil
}

// FlagInterpreters sets the interpreter flag of programs that ran before the exec program was attached, so that a
// LangChain file that they open from now on counts. What they opened before does not. It returns how many it flagged.
func (k *Kernel) FlagInterpreters() (int, error) {
	n := 0
	err := eachProcess(func(pid int) error {
		exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
		if err != nil || !runsScripts(filepath.Base(exe)) {
			return nil // it ended, or is a kernel thread
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return nil
		}
		defer unix.Close(fd)
		err = k.redirect.Maps[bpf.RedirectMapMarks].Update(uint32(fd), bpf.RedirectMarking{Flags: flagInterpreter}, ebpf.UpdateNoExist)
		if err == nil {
			n++
		}
		if err == nil || errors.Is(err, ebpf.ErrKeyExist) || errors.Is(err, unix.ESRCH) {
			return nil
		}
		return fmt.Errorf("flagging process %d: %w", pid, err)
	})
	return n, err
}

// runsScripts is runs_scripts of track.bpf.c.
func runsScripts(name string) bool {
	for _, p := range []string{"python", "pypy", "node"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return name == "bun" || name == "deno"
}
