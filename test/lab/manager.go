// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Manager does for a daemon what systemd does: it hears its notifications, keeps the descriptors that it is handed, and
// gives them to the next one.
type Manager struct {
	path string
	conn *net.UnixConn
	done chan struct{}

	mu     sync.Mutex
	kept   map[string][]*os.File // by FDNAME
	states []string
	main   int           // as MAINPID said last
	ready  int           // how often READY=1 came
	heard  chan struct{} // closed at the next notification
}

// NewManager listens in a folder.
func NewManager(dir string) (*Manager, error) {
	m := &Manager{path: filepath.Join(dir, "notify.sock"), done: make(chan struct{}), heard: make(chan struct{}), kept: map[string][]*os.File{}}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listening for notifications: %w", err)
	}
	m.conn = conn
	go m.hear()
	return m, nil
}

func (m *Manager) hear() {
	defer close(m.done)
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4*250))
	for {
		n, on, _, _, err := m.conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		var files []*os.File
		if cms, err := unix.ParseSocketControlMessage(oob[:on]); err == nil {
			for i := range cms {
				fds, err := unix.ParseUnixRights(&cms[i])
				if err != nil {
					continue
				}
				for _, fd := range fds {
					unix.CloseOnExec(fd)
					files = append(files, os.NewFile(uintptr(fd), "kept"))
				}
			}
		}
		m.mu.Lock()
		m.states = append(m.states, string(buf[:n]))
		for line := range strings.Lines(string(buf[:n])) {
			if _, err := fmt.Sscanf(line, "MAINPID=%d", &m.main); err == nil {
				continue
			}
			if strings.TrimSpace(line) == "READY=1" {
				m.ready++
			}
		}
		close(m.heard)
		m.heard = make(chan struct{})
		if strings.HasPrefix(string(buf[:n]), "FDSTORE=1\n") {
			name := named(string(buf[:n]))
			if name == "sallyport-proxy" { // systemd knows equal sockets; here the new ones stand for the old ones
				m.drop(name)
			}
			m.kept[name] = append(m.kept[name], files...)
		}
		if strings.HasPrefix(string(buf[:n]), "FDSTOREREMOVE=1\n") {
			m.drop(named(string(buf[:n])))
		}
		m.mu.Unlock()
	}
}

// named is the FDNAME of a notification.
func named(state string) (name string) {
	for line := range strings.Lines(state) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "FDNAME="); ok {
			name = v
		}
	}
	return name
}

func (m *Manager) drop(name string) {
	for _, f := range m.kept[name] {
		_ = f.Close()
	}
	delete(m.kept, name)
}

// files are what the next daemon gets, as descriptors 3 and up. All that the last one said is heard first.
func (m *Manager) files() (out []*os.File, err error) {
	to, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	defer to.Close()
	_, _, heard := m.state()
	const mark = "LAB=everything before was heard"
	if _, err := to.Write([]byte(mark)); err != nil {
		return nil, err
	}
	for {
		m.mu.Lock()
		if n := len(m.states); n > 0 && m.states[n-1] == mark {
			m.states = m.states[:n-1]
			for _, name := range slices.Sorted(maps.Keys(m.kept)) {
				out = append(out, m.kept[name]...)
			}
			m.mu.Unlock()
			return out, nil
		}
		m.mu.Unlock()
		<-heard
		_, _, heard = m.state()
	}
}

// state is the process that leads (0: the one that was started), how often it was ready, and when to ask again.
func (m *Manager) state() (main, ready int, heard <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.main, m.ready, m.heard
}

// started says that a process was started, which leads.
func (m *Manager) started(pid int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.main = pid
}

// States lists what the daemons told, in order.
func (m *Manager) States() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.states...)
}

// Drop closes what is kept, as systemd does for a unit that is stopped.
func (m *Manager) Drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.kept {
		m.drop(name)
	}
}

// Close stops listening and closes what is kept.
func (m *Manager) Close() error {
	err := m.conn.Close()
	<-m.done
	m.Drop()
	if rerr := os.Remove(m.path); !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}
