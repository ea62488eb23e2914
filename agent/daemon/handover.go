// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent/netns"
	"github.com/sallyport-dev/sallyport/agent/proxy"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
)

// A restart keeps the listening sockets: the service manager holds them meanwhile (sd_notify(3) with FDSTORE=1, sd_listen_fds(3)),
// connections wait in their queues, and the next daemon serves them. The kernel programs are told that we come back
// (Kernel.Depart); if nobody does in time, or the manager lets the sockets go because it was told to stop us, scopes
// are closed or open as for any dead agent.

// The names of our sockets in the manager's store: those of our own network namespace are always there, those of others only
// during a restart, because they keep their namespaces alive.
const (
	handoverName = "sallyport-proxy"
	othersName   = "sallyport-others"
)

// maxKept is how many sockets the next daemon takes, maxRights how many go with one message (SCM_MAX_FD is 253).
const (
	maxKept   = 1 << 15
	maxRights = 250
)

// handoverMargin is what a restart may take besides the drain.
const handoverMargin = 10 * time.Second

// firstFD is SD_LISTEN_FDS_START.
const firstFD = 3

// notify tells the service manager something and hands it descriptors. Without a manager it does nothing and is false.
func notify(state string, fds ...int) (bool, error) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return false, nil
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("telling the service manager: %w", err)
	}
	defer func() { _ = unix.Close(s) }()
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	// A leading @ is an abstract name: x/sys turns it into the zero byte.
	if err := unix.Sendmsg(s, []byte(state), rights, &unix.SockaddrUnix{Name: path}, 0); err != nil {
		return false, fmt.Errorf("telling the service manager: %w", err)
	}
	return true, nil
}

// inherited takes the listening sockets that the service manager kept for us: of our own network namespace by address, and those
// of others. What is no listener of TCP is closed. It clears the variables, so that no child takes them for its own.
func inherited() (own map[netip.AddrPort]*net.TCPListener, others []*net.TCPListener, err error) {
	pid, n := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, nil, err
		}
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil, nil
	}
	count, err := strconv.Atoi(n)
	if err != nil || count < 0 || count > maxKept {
		return nil, nil, errors.New("LISTEN_FDS is no sound number: start sallyportd by its unit, or without that variable")
	}
	here, err := netns.Here()
	if err != nil {
		return nil, nil, err
	}
	own = map[netip.AddrPort]*net.TCPListener{}
	for fd := firstFD; fd < firstFD+count; fd++ {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), handoverName)
		l, err := net.FileListener(f) // a copy
		err = errors.Join(err, f.Close())
		tcp, ok := l.(*net.TCPListener)
		if err != nil || !ok {
			if l != nil {
				_ = l.Close()
			}
			continue
		}
		switch cookie, err := proxy.NetNS(tcp); {
		case err != nil, cookie == here && own[addrOf(tcp)] != nil:
			_ = l.Close()
		case cookie == here:
			own[addrOf(tcp)] = tcp
		default:
			others = append(others, tcp)
		}
	}
	return own, others, nil
}

func addrOf(l *net.TCPListener) netip.AddrPort {
	a := l.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// storeListeners gives the sockets to the service manager. d.handover says whether it has them.
func (d *daemon) storeListeners() {
	var fds []int
	for _, l := range d.listeners {
		rc, err := l.SyscallConn()
		if err == nil {
			err = rc.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
		}
		if err != nil {
			d.Log.Warn("a restart will refuse connections", telemetry.KeyError, err)
			return
		}
	}
	ok, err := notify("FDSTORE=1\nFDNAME="+handoverName, fds...)
	if err != nil {
		d.Log.Warn("a restart will refuse connections", telemetry.KeyError, err)
	}
	// The manager says in FDSTORE that it has room for them at all (systemd 254); without it they would be dropped.
	room, _ := strconv.Atoi(os.Getenv("FDSTORE"))
	d.handover = ok && err == nil && room >= len(fds)
}

// storeOthers gives the listeners of other network namespaces to the service manager for the time of a restart, as many as it
// has room for. Connections of the namespaces that are left out are refused until the next daemon has made listeners anew.
func (d *daemon) storeOthers() {
	files, err := d.spaces.Files()
	defer closeFiles(files)
	room, _ := strconv.Atoi(os.Getenv("FDSTORE"))
	room = max(0, room-len(d.listeners))
	if len(files) > room {
		d.Log.Warn("the service manager has no room for all listeners of other network namespaces: connections there do what their scopes say for a dead agent "+
			"until the next daemon is there; raise FileDescriptorStoreMax=", telemetry.KeyCount, len(files)-room)
		files = files[:room]
	}
	for part := range slices.Chunk(files, maxRights) {
		var fds []int
		for _, f := range part { // not by Fd, which would make the listeners block
			rc, cerr := f.SyscallConn()
			if cerr == nil {
				cerr = rc.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
			}
			err = errors.Join(err, cerr)
		}
		if err == nil {
			_, err = notify("FDSTORE=1\nFDNAME="+othersName, fds...)
		}
	}
	if err != nil {
		d.Log.Warn("a restart will refuse connections of other network namespaces", telemetry.KeyError, err)
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // copies
	}
}

// tell notifies the manager of a state, which is of no use to anybody else.
func (d *daemon) tell(state string) {
	if _, err := notify(state); err != nil {
		d.Log.Warn("the service manager does not hear us", telemetry.KeyError, err)
	}
}
