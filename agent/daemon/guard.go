// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sallyport-dev/sallyport/agent"
	"github.com/sallyport-dev/sallyport/agent/config"
	"github.com/sallyport-dev/sallyport/agent/enrol"
	"github.com/sallyport-dev/sallyport/agent/kernel"
	"github.com/sallyport-dev/sallyport/agent/quarantine"
	"github.com/sallyport-dev/sallyport/agent/telemetry"
)

// baton is a lock between the guard, which holds it alone, and daemons, which share it: two write the kernel's maps by
// turns, never at once. The kernel lets it go when its holder ends, however it ends.
type baton struct{ f *os.File }

func openBaton(cfg *config.Config) (*baton, error) {
	path := filepath.Join(filepath.Dir(cfg.Admin.Socket), "guard.lock")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of the guard's lock: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the guard's lock: %w", err)
	}
	return &baton{f}, nil
}

// take tries to take it; if somebody else has it, it says who.
func (b *baton) take(kind int16) (holder int, err error) {
	for {
		l := unix.Flock_t{Type: kind, Whence: io.SeekStart}
		err := unix.FcntlFlock(b.f.Fd(), unix.F_SETLK, &l)
		if err == nil {
			return 0, nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			return 0, fmt.Errorf("taking the guard's lock: %w", err)
		}
		l = unix.Flock_t{Type: kind, Whence: io.SeekStart}
		if err := unix.FcntlFlock(b.f.Fd(), unix.F_GETLK, &l); err != nil {
			return 0, fmt.Errorf("asking who has the guard's lock: %w", err)
		}
		if l.Type != unix.F_UNLCK {
			return int(l.Pid), nil
		}
	}
}

func (b *baton) Close() error { return b.f.Close() }

// guardLeaves is how long a guard may take to end when it is told to.
const guardLeaves = 10 * time.Second

// relieveGuard ends the guard, if there is one, and keeps others away as long as this daemon runs.
func (d *daemon) relieveGuard(ctx context.Context) (err error) {
	if d.baton, err = openBaton(d.cfg); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, guardLeaves)
	defer cancel()
	for {
		holder, err := d.baton.take(unix.F_RDLCK)
		if err != nil || holder == 0 {
			return err
		}
		d.Log.Info("taking over from the guard", telemetry.KeyPID, holder)
		if err := endProcess(ctx, holder); err != nil {
			return fmt.Errorf("the guard (process %d) does not let go: %w", holder, err)
		}
	}
}

// endProcess tells a process to end and waits for it.
func endProcess(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n > 0 {
			return nil
		}
	}
	return ctx.Err()
}

// Guard puts the programs in force with the configured scopes and without an agent: enforcing scopes are refused, others go
// direct. It then looks after cgroups that are made, until a daemon takes over or ctx ends; with once, only those that are
// there now are known, and in any later one what a scope may name by unit or cgroup is refused until there is a daemon.
// Where a daemon runs, it touches nothing. What is in force stays so when it returns.
func Guard(ctx context.Context, cfg *config.Config, log *slog.Logger, once bool) (err error) {
	if err := config.CheckFiles(cfg); err != nil {
		return &UsageError{err}
	}
	d := &daemon{cfg: cfg, Options: Options{Log: log}}
	if err := d.checkScopes(); err != nil { // before anything is touched
		return err
	}
	root, attach, err := places(cfg)
	if err != nil {
		return err
	}
	b, err := openBaton(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	holder, err := b.take(unix.F_WRLCK)
	if err != nil {
		return err
	}
	alive, err := kernel.Alive(cfg.Capture.PinDir)
	if err != nil {
		return err
	}
	if holder != 0 || alive {
		log.Info("a daemon or a guard is there already: nothing to do", telemetry.KeyPID, holder)
		d.tell("READY=1")
		return nil
	}
	_, serr := os.Lstat(cfg.Capture.PinDir)
	fresh := errors.Is(serr, fs.ErrNotExist)
	if err := d.guard(root, attach); err != nil {
		if d.kernel != nil {
			d.kernel.Close()
		}
		if fresh { // nothing half-installed
			err = errors.Join(err, kernel.Uninstall(cfg.Capture.PinDir))
		}
		return err
	}
	defer d.kernel.Close()
	d.tell("READY=1")
	log.Info("guarding until the daemon is there", telemetry.KeyCount, len(cfg.Protect))
	if once {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kept := make(chan error, 1)
	go func() { kept <- d.keepGuarding(ctx, cancel) }()
	err = d.kernel.Listen(ctx, func(agent.Mark) {}, d.enrol.Cgroup)
	cancel()
	return errors.Join(err, <-kept)
}

// guard is what a daemon does in openKernel and takeKernel, but for the listener.
func (d *daemon) guard(root, attach string) (err error) {
	d.kernel, err = kernel.Load(kernel.Options{Cgroup: attach, PinDir: d.cfg.Capture.PinDir, Generation: uint32(time.Now().UnixMilli()), Guard: true})
	if err != nil {
		return err
	}
	for name, err := range d.kernel.Refused() {
		d.Log.Warn("the kernel refused a capability", telemetry.KeyComponent, name, telemetry.KeyError, err)
	}
	d.selftest = newSelfTest(d.kernel, attach)
	if d.enrol, err = enrol.New(d.enrolOptions(root, attach)); err != nil {
		return &UsageError{err}
	}
	if d.quarantine, err = offline(d.cfg); err != nil {
		return err
	}
	if err := errors.Join(d.kernel.Exempt(), d.kernel.SetPorts(d.ports()), d.nameEndpoints(), d.enrol.Apply(),
		d.kernel.SetProxy(netip.AddrPort{}, netip.AddrPort{})); err != nil {
		return err
	}
	if err := d.quarantine.Apply(); errors.Is(err, quarantine.ErrUnresolved) {
		d.Log.Error("a quarantine is not as it should be", telemetry.KeyError, err)
	} else if err != nil {
		return err
	}
	if err := d.kernel.Attach(); err != nil {
		return err
	}
	_, err = d.kernel.FlagInterpreters()
	return errors.Join(err, d.enrol.Rescan())
}

// keepGuarding does what the daemon's watch does. On error it ends everything: the service manager starts us again.
func (d *daemon) keepGuarding(ctx context.Context, failed func()) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var lost uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		n, err := d.kernel.Lost()
		if err == nil && n != lost {
			lost, err = n, d.enrol.Rescan()
		}
		if err == nil {
			err = d.enrol.Refresh()
		}
		if err == nil && d.quarantine.Active() {
			if err = d.quarantine.Apply(); errors.Is(err, quarantine.ErrUnresolved) {
				err = nil
			}
		}
		if err != nil {
			failed()
			return err
		}
	}
}
