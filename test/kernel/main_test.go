// SPDX-License-Identifier: Apache-2.0

//go:build root

// Package kernel tests our programs in the running kernel: they are attached to a cgroup of the test's own, and
// processes in it really connect. It needs root and fails without it.
package kernel

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/proxy"
)

// The captured port, where the origin listens, and the proxy's.
const (
	originPort = 18499
	proxyPort  = 18498
)

var (
	origin4 = netip.MustParseAddrPort(fmt.Sprintf("127.0.0.2:%d", originPort))
	origin6 = netip.MustParseAddrPort(fmt.Sprintf("[::1]:%d", originPort))
	proxy4  = netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", proxyPort))
	proxy6  = netip.MustParseAddrPort(fmt.Sprintf("[::1]:%d", proxyPort))
	other4  = netip.MustParseAddr("203.0.113.7")
	other6  = netip.MustParseAddr("2001:db8::7")
)

func TestMain(m *testing.M) {
	if order := os.Getenv(childEnv); order != "" {
		os.Exit(child(order))
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "kernel tests attach programs and make cgroups: run them as root (sudo make test-root)")
		os.Exit(1)
	}
	if os.Getenv(insideEnv) == "" {
		os.Exit(inside())
	}
	if err := network(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// insideEnv says that this process has namespaces of its own already.
const insideEnv = "SALLYPORT_KTEST_INSIDE"

// inside runs the tests again in new network and mount namespaces. The cgroup and the folder for pins have fixed names, so that
// what a run left behind is taken away by the next one: two runs at a time take turns.
func inside() int {
	turn, err := os.Open("/sys/fs/bpf")
	if err == nil {
		err = unix.Flock(int(turn.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "waiting for another run of these tests:", err)
		return 1
	}
	defer turn.Close()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code > 0 {
		return code
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "running the tests in namespaces of their own:", err)
		return 1
	}
	return 0
}

// network makes loopback work, with addresses that are no loopback addresses.
func network() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	for _, a := range []string{other4.String() + "/32", other6.String() + "/128"} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD
		if err := netlink.AddrAdd(lo, addr); err != nil {
			return err
		}
	}
	return nil
}

// world is a cgroup with our programs on it, an origin that says ORIGIN, and a proxy that says PROXY.
type world struct {
	t      testing.TB
	k      *kernel.Kernel
	cgroup string
	pins   string
	netns  uint64

	gate    sync.Mutex // held by a test: the proxy accepts, and takes no record
	mu      sync.Mutex
	conns   []agent.Conn
	misses  int
	direct  int
	stop    context.CancelFunc
	proxies []*net.TCPListener
	group   sync.WaitGroup
	heart   sync.WaitGroup
}

// worldName names cgroup and pins; SALLYPORT_KTEST_NAME changes it where two runs share a machine.
func worldName() string { return cmp.Or(os.Getenv("SALLYPORT_KTEST_NAME"), "sallyport-ktest") }

// newWorld loads and attaches with the given scopes; masks are set by the caller through w.k.
func newWorld(t testing.TB, rows ...agent.ScopeRow) *world {
	t.Helper()
	root, err := kernel.CgroupRoot()
	must(t, err)
	w := &world{t: t, cgroup: filepath.Join(root, worldName()), pins: "/sys/fs/bpf/" + worldName()}
	must(t, errors.Join(kernel.Uninstall(w.pins), killCgroup(w.cgroup)))
	must(t, os.Mkdir(w.cgroup, 0o755))
	t.Cleanup(func() {
		must(t, kernel.Uninstall(w.pins))
		must(t, killCgroup(w.cgroup))
	})
	t.Cleanup(w.group.Wait)
	w.netns, err = netnsCookie()
	must(t, err)
	for _, a := range []netip.AddrPort{origin4, origin6} {
		w.origin(a)
	}
	w.k = w.load(1)
	t.Cleanup(w.k.Close)
	must(t, w.k.SetPorts([]uint16{originPort}))
	must(t, w.k.SetScopes(rows))
	must(t, w.k.SetProxy(proxy4, proxy6))
	must(t, w.k.Proof().Begin(false))
	must(t, w.k.Attach())
	w.startProxy()
	return w
}

func (w *world) load(generation uint32) *kernel.Kernel {
	w.t.Helper()
	k, err := kernel.Load(kernel.Options{Cgroup: w.cgroup, PinDir: w.pins, Generation: generation})
	must(w.t, err)
	for name, err := range k.Refused() {
		w.t.Errorf("the kernel refused %s: %v", name, err)
	}
	return k
}

func (w *world) origin(a netip.AddrPort) {
	ln := listen(w.t, a)
	w.group.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.direct++
			w.mu.Unlock()
			io.WriteString(c, "ORIGIN\n")
			c.Close()
		}
	})
	w.t.Cleanup(func() { ln.Close() })
}

// startProxy listens, takes records, and keeps the heart beating; stopProxy ends all of it, as a dead agent would.
func (w *world) startProxy() {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	for _, a := range []netip.AddrPort{proxy4, proxy6} {
		ln := listen(w.t, a)
		must(w.t, w.k.TagListener(ln))
		w.proxies = append(w.proxies, ln)
		w.group.Go(func() { w.accept(ln) })
	}
	must(w.t, w.k.Beat())
	k := w.k
	w.heart.Go(func() {
		if err := k.Heartbeat(ctx, func() bool { return true }); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(w.stopProxy)
}

func (w *world) stopProxy() {
	w.stop()
	w.stop = func() {}
	w.heart.Wait()
	for _, ln := range w.proxies {
		ln.Close()
	}
	w.proxies = nil
}

func (w *world) accept(ln *net.TCPListener) {
	for {
		c, err := ln.AcceptTCP()
		if err != nil {
			return
		}
		netns := w.netns
		if n, err := proxy.NetNS(c); err == nil {
			netns = n
		}
		w.gate.Lock()
		conn, err := w.k.Take(netns, c)
		w.gate.Unlock()
		w.mu.Lock()
		if err == nil {
			w.conns = append(w.conns, conn)
			w.k.Proof().Took(conn)
		} else {
			w.misses++
			if !errors.Is(err, kernel.ErrMiss) {
				w.t.Error(err)
			}
		}
		w.mu.Unlock()
		w.group.Go(func() {
			defer c.Close()
			if err != nil {
				return
			}
			io.WriteString(c, "PROXY\n")
			c.CloseWrite()
			c.SetDeadline(time.Now().Add(30 * time.Second))
			io.Copy(io.Discard, c) // closing with bytes unread would reset the connection
		})
	}
}

// went is how many connections reached the origin directly.
func (w *world) went() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.direct
}

// taken empties the list of connections that the proxy saw.
func (w *world) taken() []agent.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.conns
	w.conns = nil
	return out
}

func listen(t testing.TB, a netip.AddrPort) *net.TCPListener {
	t.Helper()
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(t.Context(), "tcp", a.String())
	must(t, err)
	return ln.(*net.TCPListener)
}

// sub makes a cgroup below the world's and returns its id.
func (w *world) sub(name string) uint64 {
	w.t.Helper()
	dir := filepath.Join(w.cgroup, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		w.t.Fatal(err)
	}
	var st unix.Stat_t
	must(w.t, unix.Stat(dir, &st))
	return st.Ino
}

// process is a child in a cgroup of the world that does what it is told, line by line.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// spawn starts a child in a sub-cgroup. Options change the command before it starts.
func (w *world) spawn(cgroup string, options ...func(*exec.Cmd)) *process {
	w.t.Helper()
	dir, err := os.Open(filepath.Join(w.cgroup, cgroup))
	must(w.t, err)
	defer dir.Close()
	cmd := exec.Command("/proc/self/exe") // not by its path, which other users may not reach
	cmd.Env = []string{childEnv + "=serve"}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	for _, o := range options {
		o(cmd)
	}
	in, err := cmd.StdinPipe()
	must(w.t, err)
	out, err := cmd.StdoutPipe()
	must(w.t, err)
	must(w.t, cmd.Start())
	p := &process{t: w.t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	w.t.Cleanup(p.end)
	return p
}

func (p *process) end() {
	p.in.Close()
	if err := p.cmd.Wait(); err != nil && p.cmd.ProcessState == nil {
		p.t.Error(err)
	}
}

// do sends one order and returns the answer.
func (p *process) do(order ...string) reply {
	p.t.Helper()
	b, err := json.Marshal(order)
	must(p.t, err)
	if _, err := p.in.Write(append(b, '\n')); err != nil {
		p.t.Fatal(err)
	}
	if !p.out.Scan() {
		p.t.Fatalf("the child ended while it did %q: %v", order, p.out.Err())
	}
	var r reply
	must(p.t, json.Unmarshal(p.out.Bytes(), &r))
	return r
}

// connect connects and says who answered: PROXY, ORIGIN, or the error.
func (p *process) connect(kind string, a netip.AddrPort) string {
	p.t.Helper()
	r := p.do("connect", kind, a.String())
	if r.Error != "" {
		return r.Error
	}
	return r.Said
}

func netnsCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
