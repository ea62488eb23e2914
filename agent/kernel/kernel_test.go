// SPDX-License-Identifier: Apache-2.0

package kernel

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/bpf"
)

// TestLayout compares every struct that user space and the programs share: size and offsets as clang laid them out,
// against the Go types that are written into the maps and read from them.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		load func() (*ebpf.CollectionSpec, error)
		name string
		typ  reflect.Type
	}{
		{bpf.LoadRedirect, "conn", reflect.TypeFor[bpf.RedirectConn]()},
		{bpf.LoadRedirect, "flow_key", reflect.TypeFor[bpf.RedirectFlowKey]()},
		{bpf.LoadRedirect, "origin", reflect.TypeFor[bpf.RedirectOrigin]()},
		{bpf.LoadRedirect, "config", reflect.TypeFor[bpf.RedirectConfig]()},
		{bpf.LoadRedirect, "row", reflect.TypeFor[bpf.RedirectRow]()},
		{bpf.LoadRedirect, "cgroup_state", reflect.TypeFor[bpf.RedirectCgroupState]()},
		{bpf.LoadRedirect, "exe_key", reflect.TypeFor[bpf.RedirectExeKey]()},
		{bpf.LoadRedirect, "scope_counters", reflect.TypeFor[bpf.RedirectScopeCounters]()},
		{bpf.LoadRedirect, "marking", reflect.TypeFor[bpf.RedirectMarking]()},
		{bpf.LoadRedirect, "beat", reflect.TypeFor[bpf.RedirectBeat]()},
		{bpf.LoadRedirect, "scope_name", reflect.TypeFor[bpf.RedirectScopeName]()},
		{bpf.LoadTrack, "event", reflect.TypeFor[bpf.TrackEvent]()},
		{bpf.LoadCgroup, "cgroup_state", reflect.TypeFor[bpf.RedirectCgroupState]()},
		{bpf.LoadTrack, "marking", reflect.TypeFor[bpf.RedirectMarking]()},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, err := c.load()
			if err != nil {
				t.Fatal(err)
			}
			var s *btf.Struct
			if err := spec.Types.TypeByName(c.name, &s); err != nil {
				t.Fatal(err)
			}
			if uintptr(s.Size) != c.typ.Size() {
				t.Errorf("%d bytes in C, %d in Go", s.Size, c.typ.Size())
			}
			fields := map[string]reflect.StructField{}
			for f := range c.typ.Fields() {
				fields[f.Name] = f
			}
			for _, m := range s.Members {
				f, ok := fields[goName(m.Name)]
				if !ok {
					t.Errorf("%s is not in the Go type", m.Name)
					continue
				}
				size, err := btf.Sizeof(m.Type)
				if err != nil {
					t.Fatal(err)
				}
				if uintptr(m.Offset.Bytes()) != f.Offset || uintptr(size) != f.Type.Size() {
					t.Errorf("%s: at %d, %d bytes in C; at %d, %d bytes in Go", m.Name, m.Offset.Bytes(), size, f.Offset, f.Type.Size())
				}
			}
		})
	}
}

// goName is what bpf2go makes of a C name.
func goName(c string) string {
	var b strings.Builder
	for _, part := range strings.Split(c, "_") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// TestConstants compares what both sides know by number.
func TestConstants(t *testing.T) {
	raw, err := os.ReadFile("../../bpf/include/types.h")
	if err != nil {
		t.Fatal(err)
	}
	raw2, err := os.ReadFile("../../bpf/redirect.bpf.c")
	if err != nil {
		t.Fatal(err)
	}
	header := string(raw) + string(raw2)
	defines := map[string]uint64{}
	for _, m := range regexp.MustCompile(`(?m)^#define ([A-Z_]+) (0x[0-9a-f]+|[0-9]+)(?:u|ull)?\b`).FindAllStringSubmatch(header, -1) {
		if defines[m[1]], err = strconv.ParseUint(m[2], 0, 64); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]uint64{
		"MAX_SCOPES": agent.MaxScopes, "SCOPE_DEFAULT": uint64(agent.ScopeDefault), "SCOPE_PENDING": uint64(agent.ScopePending), "SLOTS": slots,
		"SLOT_DEFAULT": uint64(scopeSlot(agent.ScopeDefault)), "SLOT_PENDING": uint64(scopeSlot(agent.ScopePending)),
		"MODE_OFF": uint64(agent.ModeOff), "MODE_DISCOVER": uint64(agent.ModeDiscover), "LAYOUT": layout, "LISTENER_TAG": listenerTag,
		"FLAG_INTERPRETER": flagInterpreter, "FLAG_LANGCHAIN": flagLangChain, "FLAG_DESCENDANT": flagDescendant,
		"EVENT_MARK": eventMark, "EVENT_CGROUP_MADE": eventCgroupMade, "EVENT_CGROUP_GONE": eventCgroupGone,
	} {
		if got, ok := defines[name]; !ok || got != want {
			t.Errorf("%s is %d in C (%v), %d in Go", name, got, ok, want)
		}
	}
	_, enum, _ := strings.Cut(header, "enum error {")
	enum, _, _ = strings.Cut(enum, "}")
	var names []string
	for _, m := range regexp.MustCompile(`\bERR_([A-Z_]+),`).FindAllStringSubmatch(enum, -1) {
		names = append(names, strings.ToLower(strings.ReplaceAll(m[1], "_", " ")))
	}
	if !reflect.DeepEqual(names, errorNames) {
		t.Errorf("errors are %q in C, %q in Go", names, errorNames)
	}
}

// TestMapSizes: what is never taken back by the kernel is bounded, and nothing is a least-recently-used map, which would
// forget what it guards.
func TestMapSizes(t *testing.T) {
	for _, load := range []func() (*ebpf.CollectionSpec, error){bpf.LoadRedirect, bpf.LoadTrack, bpf.LoadCgroup} {
		spec, err := load()
		if err != nil {
			t.Fatal(err)
		}
		for name, m := range spec.Maps {
			storage := m.Type == ebpf.SkStorage || m.Type == ebpf.TaskStorage
			if m.MaxEntries == 0 && !storage || m.Type == ebpf.LRUHash || m.Type == ebpf.LRUCPUHash {
				t.Errorf("map %s: %s of %d entries", name, m.Type, m.MaxEntries)
			}
		}
	}
}

func TestSYN(t *testing.T) {
	const (
		v4 = "4500003c1f5a400040061d607f0000017f000001a05c95f9a04452fb00000000a002ffd7fe3000000204ffd70402080afee02fae000000000103030a"
		v6 = "600ebdad002806400000000000000000000000000000000100000000000000000000000000000001a5b480c74c866f0100000000a002ffc4003000000204ffc40402080ade17fd1e000000000103030a"
	)
	for _, c := range []struct {
		name, syn string
		want      uint32
		miss      bool
	}{
		{"IPv4", v4, 0xa04452fb, false},
		{"IPv6", v6, 0x4c866f01, false},
		{"IPv4 with options", "46" + v4[2:40] + "01010101" + v4[40:], 0xa04452fb, false},
		{"none was kept", "", 0, true},
		{"cut in the IP header", v4[:38], 0, true},
		{"cut in the TCP header", v4[:78], 0, true},
		{"a header length below the least", "41" + v4[2:], 0, true},
		{"IPv6 with an extension", "600ebdad002800" + v6[14:], 0, true},
		{"another protocol", "4500003c1f5a40004011" + v4[20:], 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := hex.DecodeString(c.syn)
			if err != nil {
				t.Fatal(err)
			}
			got, err := synSequence(b)
			if got != c.want || errors.Is(err, ErrMiss) != c.miss {
				t.Errorf("%x, %v", got, err)
			}
		})
	}
}

func FuzzSYN(f *testing.F) {
	f.Add([]byte{0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, 1, 2, 3, 4, 9, 9, 9, 9, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0x60})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := synSequence(b); err != nil && !errors.Is(err, ErrMiss) {
			t.Error(err)
		}
	})
}

func TestCgroup2Mount(t *testing.T) {
	for _, c := range []struct{ name, info, want string }{
		{"none", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n", ""},
		{"hybrid", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:26 / /cg rw,nosuid shared:4 - cgroup cgroup rw,cpu\n31 22 0:27 / /my\\040cg rw shared:5 - cgroup2 cgroup2 rw\n", "/my cg"},
		{"only a part of the tree", "31 22 0:27 /docker /mnt rw - cgroup2 cgroup2 rw\n", ""},
		{"broken", "cgroup2 / - cgroup2 x\n\n - \n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := cgroup2Mount(strings.NewReader(c.info)); got != c.want || err != nil {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name        string
		lacking     []string
		err         error
		unsupported bool
		says        string
	}{
		{"rights", nil, unix.EPERM, true, "CAP_BPF"},
		{"a capability", []string{"CAP_A", "CAP_B"}, unix.EPERM, true, "not supported here: missing CAP_A, CAP_B: grant it"},
		{"a capability, and the kernel says something else", []string{"CAP_A"}, unix.EINVAL, true, "not supported here: missing CAP_A: grant it"},
		{"an old kernel", nil, ebpf.ErrNotSupported, true, "needs Linux 5.18"},
		{"another layout", []string{"CAP_A"}, ebpf.ErrMapIncompatible, false, "sallyportd uninstall"},
		{"anything else", []string{"CAP_A"}, unix.ENOSPC, false, "no space"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := explainLacking(c.lacking, "redirection", minRedirect, c.err)
			var u *agent.Unsupported
			if errors.As(err, &u) != c.unsupported || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestRunsScripts: the names are those of runs_scripts in track.bpf.c.
func TestRunsScripts(t *testing.T) {
	for name, want := range map[string]bool{
		"python": true, "python3.13": true, "pypy3": true, "node": true, "nodejs": true, "node22 (deleted)": true, "bun": true, "deno": true,
		"bunzip2": false, "denoise": false, "bash": false, "": false, "java": false,
	} {
		if got := runsScripts(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// TestHostClocks: in a time namespace with clocks of its own nothing is started.
func TestHostClocks(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"the host's", "monotonic           0         0\nboottime            0         0\n", ""},
		{"monotonic", "monotonic        3600         0\nboottime            0         0\n", "monotonic 3600 0"},
		{"behind", "monotonic           0         0\nboottime           -1 500000000\n", "boottime -1 500000000"},
		{"nanoseconds", "monotonic           0         1\n", "monotonic 0 1"},
		{"not understood", "monotonic\n", "monotonic"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "offsets")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := hostClocks(file)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	if err := hostClocks(t.TempDir() + "/missing"); err != nil {
		t.Errorf("a kernel without time namespaces: %v", err)
	}
}

func TestFiles(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(self, &st); err != nil {
		t.Fatal(err)
	}
	got, err := Files(self)
	if err != nil || len(got) == 0 || got[0] != (agent.File{Dev: st.Dev, Ino: st.Ino}) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, path := range map[string]string{"missing": t.TempDir() + "/x", "a folder": t.TempDir(), "empty": "/dev/null"} {
		if got, err := Files(path); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestMappedFile(t *testing.T) {
	const maps = "1000-2000 r--p 00000000 08:01 12 /a b\n\n2000-3000 r--p 00000000 fd:1f 34 /c\n4000-5000 rw-p 00000000 zz:01 5\n"
	for _, c := range []struct {
		name string
		at   uint64
		want agent.File
		bad  bool
	}{
		{"first", 0x1000, agent.File{Dev: unix.Mkdev(8, 1), Ino: 12}, false},
		{"second", 0x2fff, agent.File{Dev: unix.Mkdev(0xfd, 0x1f), Ino: 34}, false},
		{"between", 0x3000, agent.File{}, true},
		{"unreadable", 0x4000, agent.File{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := mappedFile(strings.NewReader(maps), c.at); got != c.want || (err != nil) != c.bad {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestMountedByUs(t *testing.T) {
	got, err := mountedByUs(strings.NewReader("36 35 98:0 / /sys/fs/bpf rw shared:1 - bpf sallyport rw\n37 35 98:1 / /a\\040b rw - tracefs sallyport rw\n" +
		"38 35 98:2 / /etc/ssl rw - tmpfs sallyport-1-2 rw\n39 35 98:3 / /x rw - bpf bpf rw\nodd\n"))
	if err != nil || len(got) != 2 || !got["/sys/fs/bpf"] || !got["/a b"] {
		t.Errorf("%v, %v", got, err)
	}
}
