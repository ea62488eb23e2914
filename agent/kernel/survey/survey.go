// SPDX-License-Identifier: Apache-2.0

// Package survey looks at what a host's kernel offers, by trying, and at who else has programs where ours are. It changes
// nothing. It never looks at version numbers: distributions carry features back.
package survey

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// State is how bad a finding is.
type State uint8

const (
	OK State = iota
	Warn
	Fail
)

// Finding is one thing that was looked at.
type Finding struct {
	Name   string
	State  State
	Detail string
	Mend   string
}

// needs are what the programs are made of, and for what.
var needs = []struct {
	name  string
	probe func() error
}{
	{"programs at connect", func() error { return features.HaveProgramType(ebpf.CGroupSockAddr) }},
	{"programs at TCP events", func() error { return features.HaveProgramType(ebpf.SockOps) }},
	{"programs at tracepoints", func() error { return features.HaveProgramType(ebpf.TracePoint) }},
	{"storage in sockets", func() error { return features.HaveMapType(ebpf.SkStorage) }},
	{"storage in tasks", func() error { return features.HaveMapType(ebpf.TaskStorage) }},
	{"ring buffers", func() error { return features.HaveMapType(ebpf.RingBuf) }},
	{"bounded loops", features.HaveBoundedLoops},
	{"refusing with an error (bpf_set_retval)", sockAddr(asm.FnSetRetval)},
	{"cookies of network namespaces", sockAddr(asm.FnGetNetnsCookie)},
	{"looking for listeners", sockAddr(asm.FnSkLookupTcp)},
	{"cgroups above the current one", sockAddr(asm.FnGetCurrentAncestorCgroupId)},
	{"the current task", sockAddr(asm.FnGetCurrentTaskBtf)},
	{"the clock that goes on in suspend", sockAddr(asm.FnKtimeGetBootNs)},
}

func sockAddr(f asm.BuiltinFunc) func() error {
	return func() error { return features.HaveProgramHelper(ebpf.CGroupSockAddr, f) }
}

// Features probes what the programs need. lacking names the capabilities that this process has not: without them a probe
// proves nothing.
func Features(lacking []string) []Finding {
	var missing, unsure []string
	for _, n := range needs {
		switch err := n.probe(); {
		case errors.Is(err, ebpf.ErrNotSupported) && len(lacking) == 0:
			missing = append(missing, n.name)
		case err != nil:
			unsure = append(unsure, n.name)
		}
	}
	switch {
	case missing != nil:
		return []Finding{{"kernel features", Fail, "missing: " + strings.Join(missing, ", "), "use a newer kernel: all were found in Linux 5.18"}}
	case unsure != nil:
		return []Finding{{"kernel features", Fail, "could not be probed: " + strings.Join(unsure, ", "), "grant " + strings.Join(lacking, ", ")}}
	}
	return []Finding{{"kernel features", OK, fmt.Sprintf("all %d that are needed", len(needs)), ""}}
}

// hooks are those on which ours are, and what somebody else's program there may do to us, before and after ours.
var hooks = []struct {
	name          string
	at            ebpf.AttachType
	before, after string
}{
	{"connect4", ebpf.AttachCGroupInet4Connect, beforeConnect, afterConnect},
	{"connect6", ebpf.AttachCGroupInet6Connect, beforeConnect, afterConnect},
	{"sendmsg4", ebpf.AttachCGroupUDP4Sendmsg, beforeConnect, afterConnect},
	{"sendmsg6", ebpf.AttachCGroupUDP6Sendmsg, beforeConnect, afterConnect},
	{"sock_ops", ebpf.AttachCGroupSockOps, sockOps, sockOps},
	{"getpeername4", ebpf.AttachCgroupInet4GetPeername, peername, peername},
	{"getpeername6", ebpf.AttachCgroupInet6GetPeername, peername, peername},
}

const (
	beforeConnect = "may change a destination before we see it: to a port that is not captured, say, and so past the proxy"
	afterConnect  = "may change where redirected connections go: past the proxy"
	sockOps       = "may switch off the events by which records of connections are made and removed"
	peername      = "may show applications another peer"
)

// maxCgroups bounds how many folders are asked for programs of their own.
const maxCgroups = 4096

// Hooks looks for programs of others on our hooks: at the folder to which ours are attached, above it, and below. root is
// where cgroup v2 is mounted.
func Hooks(pinDir, root, attach string) (out []Finding) {
	ours, installed, err := pinned(pinDir)
	if err != nil {
		return []Finding{{"programs of others", Fail, err.Error(), "run as root with CAP_BPF and CAP_NET_ADMIN"}}
	}
	for _, h := range hooks {
		all, err := query(attach, h.at, unix.BPF_F_QUERY_EFFECTIVE)
		if err != nil {
			return append(out, Finding{"programs of others", Fail, "asking for the programs on " + h.name + ": " + err.Error(), "run as root with CAP_BPF and CAP_NET_ADMIN"})
		}
		at := slices.IndexFunc(all, func(id ebpf.ProgramID) bool { return ours[id] })
		if at < 0 && installed {
			out = append(out, Finding{"program " + h.name, Fail, "ours is pinned, but is not in force at " + attach + ": somebody detached it", "restart sallyportd"})
		}
		for i, id := range all {
			if ours[id] {
				continue
			}
			when, may := "runs before ours", h.before
			if i > at && at >= 0 {
				when, may = "runs after ours", h.after
			}
			if at < 0 {
				when = "is there"
			}
			out = append(out, foreign(h.name, id, "", when, may))
		}
	}
	n := 0
	werr := filepath.WalkDir(attach, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || dir == attach {
			return nil
		}
		if n++; n > maxCgroups {
			return fs.SkipAll
		}
		for _, h := range hooks {
			own, err := query(dir, h.at, 0)
			if err != nil {
				return nil // it went
			}
			for _, id := range own {
				if !ours[id] {
					out = append(out, foreign(h.name, id, strings.TrimPrefix(dir, root), "runs before ours", h.before))
				}
			}
		}
		return nil
	})
	switch {
	case werr != nil:
		out = append(out, Finding{"programs of others", Warn, "not all cgroups could be looked at: " + werr.Error(), ""})
	case n > maxCgroups:
		out = append(out, Finding{"programs of others", Warn, fmt.Sprintf("only %d cgroups below %s were looked at", maxCgroups, attach), ""})
	case len(out) == 0:
		out = append(out, Finding{"programs of others", OK, fmt.Sprintf("none on our hooks, at %s and in %d cgroups below", attach, n), ""})
	}
	return out
}

func foreign(hook string, id ebpf.ProgramID, below, when, may string) Finding {
	name := "?"
	if p, err := ebpf.NewProgramFromID(id); err == nil {
		if info, err := p.Info(); err == nil {
			name = info.Name
		}
		p.Close()
	}
	where := ""
	if below != "" {
		where = " in " + below
	}
	return Finding{"program of others", Warn, fmt.Sprintf("%s (id %d) on %s%s %s: it %s", name, id, hook, where, when, may),
		fmt.Sprintf("see whose it is (bpftool prog show id %d); keep it off what scopes name, or let it run on the other side of ours", id)}
}

// pinned lists our programs by the pinned links. installed says whether the redirection is among them.
func pinned(pinDir string) (ids map[ebpf.ProgramID]bool, installed bool, err error) {
	ids = map[ebpf.ProgramID]bool{}
	files, err := filepath.Glob(filepath.Join(pinDir, "link_*"))
	if err != nil {
		return nil, false, err
	}
	for _, f := range files {
		l, err := link.LoadPinnedLink(f, nil)
		if err != nil {
			return nil, false, fmt.Errorf("reading the pin %s: %w", f, err)
		}
		info, err := l.Info()
		if err := errors.Join(err, l.Close()); err != nil {
			return nil, false, fmt.Errorf("reading the pin %s: %w", f, err)
		}
		ids[info.Program] = true
		installed = installed || filepath.Base(f) == "link_connect4"
	}
	return ids, installed, nil
}

func query(dir string, at ebpf.AttachType, flags uint32) ([]ebpf.ProgramID, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := link.QueryPrograms(link.QueryOptions{Target: int(f.Fd()), Attach: at, QueryFlags: flags})
	if err != nil {
		return nil, err
	}
	var out []ebpf.ProgramID
	for _, p := range r.Programs {
		out = append(out, p.ID)
	}
	return out, nil
}
