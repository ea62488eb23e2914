// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent/daemon/succession"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
)

// An upgrade in place: this process starts its successor with its listening sockets and goes on serving until that has read
// and checked everything. Then it lets go of what only one process may do (lead), the successor takes kernel maps, admin
// socket and the queue of connections over, and this one lets its exchanges end, with a journal generation of its own.

const (
	prepareLimit = 5 * time.Minute  // for reading configuration, policy and journal
	takeLimit    = 30 * time.Second // for kernel maps and self-test; new connections wait meanwhile
)

// leadership runs what only one process at a time may do.
type leadership struct {
	ctx    context.Context
	resign context.CancelFunc
	g      *errgroup.Group
	tasks  sync.WaitGroup
}

func lead(ctx context.Context, g *errgroup.Group) *leadership {
	l := &leadership{g: g}
	l.ctx, l.resign = context.WithCancel(ctx)
	return l
}

func (l *leadership) start(task func(context.Context) error) {
	l.tasks.Add(1)
	l.g.Go(func() error {
		defer l.tasks.Done()
		return task(l.ctx)
	})
}

// end stops all tasks and waits for them.
func (l *leadership) end() {
	l.resign()
	l.tasks.Wait()
}

// fingerprint tells whether the configuration was changed; nil if it cannot be read.
func fingerprint(path string) []byte {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(raw)
	return sum[:]
}

// changed says why a reload is to be an upgrade, "" if it is one of the policy only.
func (d *daemon) changed() string {
	if len(d.Command) == 0 {
		return ""
	}
	ours, oerr := os.Stat("/proc/self/exe")
	now, err := os.Stat(d.Command[0])
	if oerr == nil && err == nil && !os.SameFile(ours, now) {
		return "the program was replaced"
	}
	if sum := fingerprint(d.ConfigFile); sum != nil && !bytes.Equal(sum, d.configSum) {
		return "the configuration was changed"
	}
	return ""
}

// reloading tells the service manager that a reload begins; READY=1 ends it.
func (d *daemon) reloading() {
	if d.ready.get() != "" {
		return
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return // there is always one; the manager then times the reload by itself
	}
	d.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d\nEXTEND_TIMEOUT_USEC=%d", now.Nano()/1000, prepareLimit.Microseconds()))
}

func (d *daemon) reloaded(status string) {
	if d.ready.get() == "" {
		d.tell("READY=1\nSTATUS=" + status)
	}
}

// draining is what is left to a process that has let go.
type draining struct {
	ctx   context.Context // ends with the drain time
	stop  context.CancelFunc
	ended chan error // of proxy.Shutdown
	err   error      // nobody has taken over

	others []*os.File // listeners of other network namespaces, for whoever takes over
}

// upgrade starts a successor and hands over to it. nil: it did not come to that, and all is as before.
func (d *daemon) upgrade(ctx context.Context, l *leadership) *draining {
	if why := d.ready.get(); why != "" || len(d.Command) == 0 {
		d.Log.Warn("no upgrade is possible now", telemetry.KeyError, why)
		return nil
	}
	d.reloading()
	d.Log.Info("starting the successor", telemetry.KeyPath, d.Command[0])
	offer, err := d.offer()
	defer closeOffer(&offer)
	var s *succession.Successor
	if err == nil {
		s, err = prepared(ctx, d.Command[0], d.Command[1:], offer)
	}
	if err != nil {
		d.Log.Error("the upgrade failed, this process goes on", telemetry.KeyError, err)
		d.reloaded("an upgrade failed: see the log")
		return nil
	}
	out := d.letGo(ctx, l)
	defer func() { closeFiles(out.others) }()
	if err = takeOver(ctx, s, out.others); err != nil && ctx.Err() == nil {
		// Nothing here can begin anew; the program that runs here can, as a successor of its own.
		d.Log.Error("the successor failed, trying the program of this process", telemetry.KeyError, err)
		d.keepWaiting()
		offer.PIDs = append(offer.PIDs, s.PID()) // it may still end exchanges
		if s, err = prepared(ctx, "/proc/self/exe", d.Command[1:], offer); err == nil {
			err = takeOver(ctx, s, out.others)
		}
	}
	if err != nil {
		if ctx.Err() == nil { // else we are to stop, and the successor was stopped too
			out.err = fmt.Errorf("handing over: %w: scopes are refused until sallyportd is started again", err)
		}
		return out
	}
	d.Log.Info("handed over, ending what runs", telemetry.KeyPID, s.PID(), telemetry.KeyDuration, d.cfg.Proxy.Drain)
	d.tell(fmt.Sprintf("MAINPID=%d", s.PID()))
	if err := s.Lead(); err != nil { // it is ready all the same, and says so if it cannot lead
		d.Log.Warn("the successor was not told to lead", telemetry.KeyError, err)
	}
	select {
	case <-d.Reload: // came too late for this process
		if err := syscall.Kill(s.PID(), syscall.SIGHUP); err != nil {
			d.Log.Warn("passing a reload on", telemetry.KeyError, err)
		}
	default:
	}
	return out
}

// prepared starts a successor and waits until it could take over. On an error nothing is left of it.
func prepared(ctx context.Context, path string, args []string, o succession.Offer) (*succession.Successor, error) {
	s, err := succession.Start(path, args, o)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, prepareLimit)
	defer cancel()
	if err := s.Prepared(wait); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	return s, nil
}

func takeOver(ctx context.Context, s *succession.Successor, others []*os.File) error {
	wait, cancel := context.WithTimeout(ctx, takeLimit)
	defer cancel()
	err := s.More(others)
	if err == nil {
		err = s.Go(wait)
	}
	if err != nil && !errors.Is(err, succession.ErrFailed) {
		err = errors.Join(err, s.Kill())
	}
	return err
}

// offer is what a successor gets. It is the caller's to close.
func (d *daemon) offer() (o succession.Offer, err error) {
	o.PIDs = []int{os.Getpid()}
	if d.pred != nil {
		o.PIDs = append(o.PIDs, d.pred.Left()...)
	}
	for _, l := range d.listeners {
		f, err := l.File()
		if err != nil {
			return o, fmt.Errorf("copying a listening socket: %w", err)
		}
		o.Listeners = append(o.Listeners, f)
	}
	if o.Admin, err = d.admin.File(); err != nil {
		return o, fmt.Errorf("copying the admin socket: %w", err)
	}
	return o, nil
}

func closeOffer(o *succession.Offer) {
	closeFiles(o.Listeners)
	if o.Admin != nil {
		_ = o.Admin.Close()
	}
}

// letGo ends everything that only one process may do. Connections wait in the queues of the sockets from now on; those that
// were accepted go on until the drain time is over. It cannot be undone.
func (d *daemon) letGo(ctx context.Context, l *leadership) *draining {
	d.ready.set("handing over")
	out := &draining{ended: make(chan error, 1)}
	out.ctx, out.stop = context.WithTimeout(context.WithoutCancel(ctx), d.cfg.Proxy.Drain)
	d.release(l, out)
	return out
}

// release is the order in which to let go.
func (d *daemon) release(l *leadership, out *draining) {
	d.keepWaiting()
	if err := d.admin.Release(); err != nil && !errors.Is(err, net.ErrClosed) {
		d.Log.Warn("letting go of the admin socket", telemetry.KeyError, err)
	}
	l.end()
	d.leaveDesk()
	var err error
	if out.others, err = d.spaces.Files(); err != nil {
		d.Log.Warn("connections of other network namespaces are refused until the successor is there", telemetry.KeyError, err)
	}
	go func() { // serve waits for it
		err := d.proxy.Shutdown(out.ctx)
		d.flow.Flush()
		out.ended <- err
	}()
	for _, ln := range d.listeners {
		for !errors.Is(ln.SetDeadline(time.Time{}), net.ErrClosed) {
			time.Sleep(time.Millisecond) // Shutdown closes them first of all, and does not tell
		}
	}
}

// keepWaiting has the kernel programs take us for alive until a successor beats.
func (d *daemon) keepWaiting() {
	if err := d.kernel.Depart(handoverMargin); err != nil {
		d.Log.Warn("connections are refused during the upgrade", telemetry.KeyError, err)
	}
}
