// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/kernel"
)

// selfTestUID is the user as which the self-test's child runs: one that no real account has, so that a row of its own
// selects it and nothing else.
const selfTestUID = 4200000015

// SelfTestArg is the hidden command of sallyportd that the self-test's child runs: connect to the addresses that
// follow, send one byte, wait for the end.
const SelfTestArg = "self-test-connect"

// selfTest proves that a connection made by a process outside our cgroup arrives at the proxy with its record. It sits
// between enrol and the kernel to add a row of its own behind the configured ones.
type selfTest struct {
	*kernel.Kernel
	attach string
	port   uint16
	v6     bool

	row  atomic.Uint32
	mu   sync.Mutex
	seen map[string]bool // destinations that arrived
	tell chan struct{}
}

func newSelfTest(k *kernel.Kernel, attach string) *selfTest {
	return &selfTest{Kernel: k, attach: attach, seen: map[string]bool{}, tell: make(chan struct{}, 1)}
}

// SetScopes adds the self-test's row.
func (s *selfTest) SetScopes(rows []agent.ScopeRow) error {
	if len(rows) >= agent.MaxScopes {
		return fmt.Errorf("%d scopes, at most %d are possible: join some", len(rows), agent.MaxScopes-1)
	}
	if err := s.Kernel.SetUID(selfTestUID, 1<<len(rows)); err != nil {
		return err
	}
	s.row.Store(uint32(len(rows)))
	return s.Kernel.SetScopes(append(append([]agent.ScopeRow{}, rows...), agent.ScopeRow{Mode: agent.ModeDiscover, Closed: true, NeedUID: true}))
}

// KeepSelection keeps the self-test's user too.
func (s *selfTest) KeepSelection(uids []uint32, exes []agent.File) error {
	return s.Kernel.KeepSelection(append(append([]uint32{}, uids...), selfTestUID), exes)
}

// saw says whether a connection is the self-test's, and notes it.
func (s *selfTest) saw(c agent.Conn) bool {
	if c.Proc.UID != selfTestUID || c.Scope != s.row.Load() {
		return false
	}
	s.mu.Lock()
	s.seen[c.Orig.String()] = true
	s.mu.Unlock()
	select {
	case s.tell <- struct{}{}:
	default:
	}
	return true
}

// run makes the connections and waits until the proxy has seen all of them.
func (s *selfTest) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	s.mu.Lock()
	clear(s.seen) // those of the last time prove nothing
	s.mu.Unlock()
	// Addresses for documentation (RFC 5737, RFC 3849): if redirection does not work, nothing is reached.
	want := []string{fmt.Sprintf("198.51.100.1:%d", s.port)}
	if s.v6 {
		want = append(want, fmt.Sprintf("[2001:db8::1]:%d", s.port))
	}
	dir := filepath.Join(s.attach, "sallyport-selftest")
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("making a cgroup for the test: %w", err)
	}
	defer os.Remove(dir) // its process has ended; what stays is an empty folder
	cgroup, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer cgroup.Close()
	// A miss is possible on a busy host (the kernel may answer a SYN with a cookie), so once is not enough to say no.
	for {
		cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{SelfTestArg}, want...)...)
		cmd.Env = []string{}
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(cgroup.Fd()),
			Credential: &syscall.Credential{Uid: selfTestUID, Gid: selfTestUID}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("a process outside our cgroup could not connect: %w: %s", err, out)
		}
		missing := s.wait(ctx, want)
		if missing == "" {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("a connection to %s did not arrive at the proxy: run 'sallyportd doctor'", missing)
		}
	}
}

// wait waits up to a second for the connections to be seen, and names one that was not.
func (s *selfTest) wait(ctx context.Context, want []string) (missing string) {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	for {
		missing = ""
		s.mu.Lock()
		for _, w := range want {
			if !s.seen[w] {
				missing = w
			}
		}
		s.mu.Unlock()
		if missing == "" {
			return ""
		}
		select {
		case <-s.tell:
		case <-timer.C:
			return missing
		case <-ctx.Done():
			return missing
		}
	}
}

// SelfTestConnect is the child's side.
func SelfTestConnect(addresses []string) error {
	for _, a := range addresses {
		c, err := net.DialTimeout("tcp", a, 5*time.Second)
		if err != nil {
			return err
		}
		err = errors.Join(c.SetDeadline(time.Now().Add(5*time.Second)), ignoreBroken(c))
		if err := errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	return nil
}

// ignoreBroken sends a byte and waits for the end, however it comes: the proxy refuses these connections.
func ignoreBroken(c net.Conn) error {
	if _, err := c.Write([]byte{0}); err != nil {
		return nil
	}
	var b [1]byte
	if _, err := c.Read(b[:]); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the proxy did not answer the test connection within 5 s")
	}
	return nil
}
