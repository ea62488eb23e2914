// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/kernel"
)

// TestSpaceRace starts programs in new namespaces that connect as soon as they run, and shows how long a listener takes and how many
// of them found none. SPACE_RACE says how many of each kind (5). Nothing may go direct.
func TestSpaceRace(t *testing.T) {
	n := 5
	if _, err := fmt.Sscan(os.Getenv("SPACE_RACE"), &n); err != nil {
		n = 5
	}
	to := fmt.Sprintf("/dev/tcp/%s/%d", origin4.Addr(), origin4.Port())
	for _, c := range []struct {
		name    string
		program []string
		order   string
	}{
		{"a shell", []string{"/bin/bash", "-c", "exec 3<>" + to}, ""},
		{"python", []string{"/usr/bin/python3", "-Sc", fmt.Sprintf("import socket;socket.create_connection(('%s',%d))", origin4.Addr(), origin4.Port())}, ""},
		{"unshare and connect in one process", nil, "unshare"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := inScope(t, enforced)
			s := w.spaces()
			var mu sync.Mutex
			var took []time.Duration
			ctx, cancel := context.WithCancel(t.Context())
			var done sync.WaitGroup
			done.Go(func() {
				err := s.Answer(ctx, func(ctx context.Context, do func(agent.NetNSAsk)) error {
					return w.k.Asks(ctx, func(a agent.NetNSAsk) {
						made := s.Stats().Made
						do(a)
						if d, err := kernel.Since(a.At); err == nil && s.Stats().Made > made {
							mu.Lock()
							took = append(took, d)
							mu.Unlock()
						}
					})
				})
				if err != nil {
					t.Error(err)
				}
			})
			t.Cleanup(func() { cancel(); done.Wait() })
			for i := range n {
				if c.order != "" {
					p := w.spawn("app")
					p.do(c.order)
					p.connect("v4", origin4)
					p.end()
					continue
				}
				r := newRoom(t, i%60)
				r.do(func() {
					dir, err := os.Open(filepath.Join(w.cgroup, "app"))
					must(t, err)
					defer dir.Close()
					cmd := exec.Command(c.program[0], c.program[1:]...)
					cmd.Env = []string{}
					cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
					cmd.Run() // it fails if it is refused
				})
				r.leave()
				wait(t, "the namespace to go", func() bool {
					s.Sweep() // the question may be answered only now
					_, err := netlink.LinkByName(r.near)
					return err != nil
				})
			}
			counts, err := w.k.Scope(0)
			must(t, err)
			if w.went() != 0 || counts.Opened != 0 || counts.Seen == 0 {
				t.Errorf("%d went direct, %+v", w.went(), counts)
			}
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(took)
			if len(took) > 0 {
				t.Logf("%d cores: %d of %d connections refused; question to listener: %s median, %s at most, of %d",
					runtime.NumCPU(), counts.Refused, counts.Seen, took[len(took)/2], took[len(took)-1], len(took))
			}
		})
	}
}
