// SPDX-License-Identifier: Apache-2.0

// Package lab builds the small world in which end-to-end tests and the demo run: a network namespace with a fake
// provider in it, a cgroup of its own in which programs run, and a daemon that is attached to that cgroup alone, so
// that the rest of the host is untouched. It needs root. Close takes everything away again.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Options says where a lab lives.
type Options struct {
	Name string // names the cgroup, the namespace and the pins; several labs may live beside each other
	Dir  string // an existing folder for state; made by the caller, kept after Close
	Bin  string // the folder that holds sallyportd, sallyport and fakellm
	Log  io.Writer
	Net  byte // the first to try as third octet of the 198.18.x.0/30 that joins host and namespace (RFC 2544 range)
}

// Lab is one such world.
type Lab struct {
	opts    Options
	Cgroup  string // absolute path of the lab's cgroup folder
	Path    string // the same below the cgroup v2 root, with a leading slash
	Fake    netip.Addr
	Program string // the daemon's; "" = sallyportd of Options.Bin
	// Manager starts daemons as a service manager would; nil: they are on their own. It is the caller's to close.
	Manager *Manager
	// Faults, if there is one, can hurt the daemons that are started, and programs that ask for it. It is the caller's to close.
	Faults *Faults
	ns     netns.NsHandle
	undo   []func() error
	once   sync.Once
	err    error
}

// New makes cgroup and namespace. On error nothing is left.
func New(o Options) (_ *Lab, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the lab makes namespaces and cgroups and needs root: run it with sudo")
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	l := &Lab{opts: o, ns: netns.None()}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	root, err := cgroupRoot()
	if err != nil {
		return nil, err
	}
	l.Path = "/" + o.Name
	l.Cgroup = filepath.Join(root, o.Name)
	if err := removeCgroup(l.Cgroup); err != nil {
		return nil, err
	}
	if err := os.Mkdir(l.Cgroup, 0o755); err != nil {
		return nil, fmt.Errorf("making the lab's cgroup: %w", err)
	}
	l.undo = append(l.undo, func() error { return removeCgroup(l.Cgroup) })
	if err := l.network(); err != nil {
		return nil, err
	}
	return l, nil
}

// cgroupRoot finds the cgroup v2 mount, also on hosts that have v1 beside it.
func cgroupRoot() (string, error) {
	for _, p := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(p, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return p, nil
		}
	}
	return "", errors.New("no cgroup v2 mount at /sys/fs/cgroup or /sys/fs/cgroup/unified: mount one")
}

// removeCgroup kills what is left in a cgroup tree and removes it.
func removeCgroup(path string) error {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		var dirs []string
		err := filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading cgroup %s: %w", path, err)
		}
		for i := len(dirs) - 1; i >= 0; i-- {
			b, _ := os.ReadFile(filepath.Join(dirs[i], "cgroup.procs"))
			for _, f := range strings.Fields(string(b)) {
				var pid int
				if _, err := fmt.Sscan(f, &pid); err == nil && pid > 0 {
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
						return fmt.Errorf("ending process %d of cgroup %s: %w", pid, dirs[i], err)
					}
				}
			}
			err = os.Remove(dirs[i])
		}
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("removing cgroup %s: %w", path, err)
		}
		time.Sleep(20 * time.Millisecond) // a killed process leaves its cgroup a moment later; there is no event to wait for
	}
}

// network makes the namespace and a pair of interfaces that joins it to the host.
func (l *Lab) network() error {
	ns, err := newNetNS()
	if err != nil {
		return fmt.Errorf("making a network namespace: %w", err)
	}
	l.ns = ns
	l.undo = append(l.undo, func() error { return l.ns.Close() })
	var near, host, peer string
	for tries := 0; ; tries++ { // an interface of that name belongs to another lab: that of a dead one goes with its namespace
		near = fmt.Sprintf("slp%d", l.opts.Net)
		host, peer = fmt.Sprintf("198.18.%d.1/30", l.opts.Net), fmt.Sprintf("198.18.%d.2/30", l.opts.Net)
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: near}, PeerName: "fake0", PeerNamespace: netlink.NsFd(int(ns))}
		if err = netlink.LinkAdd(veth); err == nil {
			break
		}
		if !errors.Is(err, unix.EEXIST) || tries == 255 {
			return fmt.Errorf("making interfaces: %w", err)
		}
		l.opts.Net++
	}
	l.Fake = netip.MustParsePrefix(peer).Addr()
	l.undo = append(l.undo, func() error {
		link, err := netlink.LinkByName(near)
		if err != nil {
			return nil // it went with the namespace
		}
		return netlink.LinkDel(link)
	})
	hostLink, err := netlink.LinkByName(near)
	if err != nil {
		return fmt.Errorf("finding interface %s: %w", near, err)
	}
	if err := up(&netlink.Handle{}, hostLink, host); err != nil {
		return err
	}
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("entering the namespace: %w", err)
	}
	defer h.Close()
	for name, addr := range map[string]string{"fake0": peer, "lo": ""} {
		link, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("finding interface %s: %w", name, err)
		}
		if err := up(h, link, addr); err != nil {
			return err
		}
	}
	return nil
}

func up(h *netlink.Handle, link netlink.Link, addr string) error {
	if addr != "" {
		a, err := netlink.ParseAddr(addr)
		if err != nil {
			return err
		}
		if err := h.AddrAdd(link, a); err != nil {
			return fmt.Errorf("giving %s to %s: %w", addr, link.Attrs().Name, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("starting interface %s: %w", link.Attrs().Name, err)
	}
	return nil
}

// newNetNS makes a namespace without moving the calling goroutine for good.
func newNetNS() (netns.NsHandle, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := netns.Get()
	if err != nil {
		return netns.None(), err
	}
	defer old.Close()
	ns, err := netns.New()
	if err != nil {
		return netns.None(), err
	}
	return ns, netns.Set(old)
}

// Listen opens a TCP listener inside the lab's namespace, at the fake provider's address.
func (l *Lab) Listen(port uint16) (net.Listener, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, err := netns.Get()
	if err != nil {
		return nil, err
	}
	defer old.Close()
	if err := netns.Set(l.ns); err != nil {
		return nil, fmt.Errorf("entering the namespace: %w", err)
	}
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false)
	ln, lerr := lc.Listen(context.Background(), "tcp4", netip.AddrPortFrom(l.Fake, port).String())
	if err := netns.Set(old); err != nil {
		panic("cannot leave the lab's namespace: " + err.Error()) // this thread must not go on elsewhere
	}
	return ln, lerr
}

// Child makes a cgroup below the lab's and returns its path below the cgroup v2 root.
func (l *Lab) Child(name string) (string, error) {
	if err := os.MkdirAll(filepath.Join(l.Cgroup, name), 0o755); err != nil {
		return "", fmt.Errorf("making cgroup %s: %w", name, err)
	}
	return l.Path + "/" + name, nil
}

// Start runs a command, in the named child cgroup from its first instruction on ("" = where we are), and owns it:
// the caller must Wait; Close kills what is left.
func (l *Lab) Start(child string, cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = 0
	if child != "" {
		if _, err := l.Child(child); err != nil {
			return err
		}
		dir, err := os.Open(filepath.Join(l.Cgroup, child))
		if err != nil {
			return fmt.Errorf("opening cgroup %s: %w", child, err)
		}
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return nil
}

// Close removes all that New and the methods made. It may be called twice.
func (l *Lab) Close() error {
	l.once.Do(func() {
		for i := len(l.undo) - 1; i >= 0; i-- {
			l.err = errors.Join(l.err, l.undo[i]())
		}
	})
	return l.err
}
