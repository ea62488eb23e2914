// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
)

// Asks reads the questions of the kernel programs until ctx ends, one after the other (agent/kernel).
type Asks func(ctx context.Context, do func(agent.NetNSAsk)) error

// niceness of the thread that answers. A container that connects as soon as it begins races with it, and on a busy host each
// turn that it has to wait for is a connection that finds no listener.
const niceness = -15

// Answer serves the namespaces that are asked for until ctx ends. One thread reads, goes into the namespace, listens and comes
// back: handing over to another one would cost a turn. If it cannot come back it is thrown away, and a new one goes on.
func (s *Spaces) Answer(ctx context.Context, asks Asks) (err error) {
	for ctx.Err() == nil && err == nil {
		apart(func() (home bool) {
			home, err = s.answer(ctx, asks)
			if !home {
				s.say("lost", "a thread could not leave a network namespace and was thrown away", nil)
			}
			return home
		})
	}
	return err
}

// answer is Answer on the calling thread, until that is not home any more.
func (s *Spaces) answer(ctx context.Context, asks Asks) (home bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) == nil { // of this thread alone; without the right to it, it is slower
		defer func() { _ = unix.Setpriority(unix.PRIO_PROCESS, 0, 0) }()
	}
	home = true
	here := func(ns *os.File, f func() error) (err error) {
		if !home {
			return os.ErrClosed
		}
		if home, err = visit(s.home, ns, f); !home {
			cancel()
		}
		return err
	}
	err = asks(ctx, func(a agent.NetNSAsk) { s.ask(here, a) })
	return home, err
}
