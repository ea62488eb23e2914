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

	"github.com/sallyport-dev/sallyport/agent/kernel/survey"
	"github.com/sallyport-dev/sallyport/bpf"
)

// Check is one line of what works on this host and what does not.
type Check struct {
	Name   string
	OK     bool
	Detail string
	Mend   string
}

// syscallTracepoints says whether the kernel traces system calls, once tracefs is mounted.
func syscallTracepoints() error {
	_, err := os.Stat("/sys/kernel/tracing/events/syscalls/sys_enter_openat")
	return err
}

// Doctor tries what the agent needs, by doing it: each object is loaded (and let go). Nothing is attached, mounted or
// written.
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
	add("privileges", survey.Privileges(), "all that are needed", "run as root, or grant these (systemd: AmbientCapabilities=)")
	add("clocks", hostClocks("/proc/self/timens_offsets"), "the host's", "start it outside of the time namespace")
	dir, err := CgroupRoot()
	add("cgroup v2", err, dir, "this host has cgroup v1 only: boot with systemd.unified_cgroup_hierarchy=1, or mkdir /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified")
	_, err = btf.LoadKernelSpec()
	add("kernel type information", err, "/sys/kernel/btf/vmlinux", "use a kernel built with CONFIG_DEBUG_INFO_BTF")
	for _, f := range fileSystems {
		detail := f.at
		var merr error
		if !isMounted(f.at, f.magic) {
			detail, merr = "not mounted at "+f.at+": the daemon mounts it when it starts", survey.Mountable(f.kind)
		}
		add(f.kind+" file system", merr, detail, "mount -t "+f.kind+" "+f.kind+" "+f.at)
	}
	if isMounted(fileSystems[0].at, fileSystems[0].magic) {
		add("folder for pins", pinnable(pinDir), pinDir, "set capture.pin_dir to a folder below /sys/fs/bpf")
	}
	if isMounted(fileSystems[1].at, fileSystems[1].magic) {
		add("syscall tracepoints", syscallTracepoints(), "sys_enter_openat", "use a kernel built with CONFIG_FTRACE_SYSCALLS; without it, LangChain programs are not marked")
	}
	for _, o := range []struct {
		name, min, mend string
		load            func() (*ebpf.CollectionSpec, error)
	}{
		{"redirect connections", minRedirect, "without it nothing works", bpf.LoadRedirect},
		{"mark LangChain programs", minTracing, "without it, name workloads in protect[] by unit, cgroup, uid or exe", bpf.LoadTrack},
		{"learn addresses from DNS", minLearner, "without it, programs that no scope names are not recognised by where they connect, and QUIC is not refused", bpf.LoadDns},
		{"count connections", minTracing, "without it, coverage is not proven", bpf.LoadCover},
		{featureSockets, minIterator, "without it, connections that are older than the agent are looked for in /proc", bpf.LoadOlder},
		{featureExecs, minTracing, "without it, LangChain programs in archives, bundles and Go are not recognised when they start", bpf.LoadExec},
		{"notice new cgroups", minTracing, "without it, a new unit is seen at the next scan only", bpf.LoadCgroup},
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
