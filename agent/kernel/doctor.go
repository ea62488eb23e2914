// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"errors"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/bpf"
)

// Check is one line of what works on this host and what does not.
type Check struct {
	Name   string
	OK     bool
	Detail string
	Mend   string
}

// Doctor tries what the agent needs, by doing it: each object is loaded (and let go), nothing is attached.
func Doctor(pinDir string) []Check {
	if pinDir == "" {
		pinDir = DefaultPinDir
	}
	var out []Check
	add := func(name string, err error, detail, mend string) {
		c := Check{Name: name, OK: err == nil, Detail: detail}
		if err != nil {
			c.Detail, c.Mend = firstLine(err), mend
		}
		out = append(out, c)
	}
	var uts unix.Utsname
	err := unix.Uname(&uts)
	add("kernel", err, unix.ByteSliceToString(uts.Release[:])+" "+unix.ByteSliceToString(uts.Machine[:]), "")
	root := error(nil)
	if os.Geteuid() != 0 {
		root = errors.New("not root")
	}
	add("privileges", root, "root", "run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN and CAP_SYS_PTRACE")
	dir, err := CgroupRoot()
	add("cgroup v2", err, dir, "mount -t cgroup2 none /sys/fs/cgroup/unified")
	_, err = btf.LoadKernelSpec()
	add("kernel type information", err, "/sys/kernel/btf/vmlinux", "use a kernel built with CONFIG_DEBUG_INFO_BTF")
	add("bpf and trace file systems", prepare(pinDir), "/sys/fs/bpf, /sys/kernel/tracing", "mount -t bpf bpf /sys/fs/bpf; mount -t tracefs tracefs /sys/kernel/tracing")
	for _, o := range []struct {
		name, min, mend string
		load            func() (*ebpf.CollectionSpec, error)
	}{
		{"redirect connections", "5.18", "without it nothing works", bpf.LoadRedirect},
		{"mark LangChain programs", "5.11", "without it, name workloads in protect[] by unit, cgroup, uid or exe", bpf.LoadTrack},
		{"notice new cgroups", "5.11", "without it, a new unit is seen at the next scan only", bpf.LoadCgroup},
	} {
		spec, err := o.load()
		if err == nil {
			var c *ebpf.Collection
			if c, err = ebpf.NewCollection(spec); err == nil {
				c.Close()
			} else {
				err = explain(o.name, o.min, err)
			}
		}
		add(o.name, err, "loads", o.mend)
	}
	var pinned []string
	entries, err := os.ReadDir(pinDir)
	for _, e := range entries {
		name, isLink := strings.CutPrefix(e.Name(), "link_")
		if !isLink {
			continue
		}
		l, lerr := link.LoadPinnedLink(pinDir+"/"+e.Name(), nil)
		if lerr != nil {
			err = lerr
			break
		}
		l.Close()
		pinned = append(pinned, name)
	}
	if errors.Is(err, os.ErrNotExist) {
		out = append(out, Check{Name: "attached", OK: true, Detail: "nothing is installed in " + pinDir})
	} else {
		add("attached", err, strings.Join(pinned, " "), "run 'sallyportd uninstall' and start again")
	}
	return out
}

// firstLine leaves the verifier's log out.
func firstLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}
