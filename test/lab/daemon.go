// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Daemon is a running sallyportd of this lab.
type Daemon struct {
	lab    *Lab
	cmd    *exec.Cmd
	Config string // path of its configuration
	Socket string // path of its admin socket
	stderr *lockedBuffer
	pid    int           // of the process that leads
	done   chan struct{} // it has ended
	err    error
	former []int // processes that handed over
}

// lockedBuffer keeps the end of what the daemon logs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// State is the folder in which the lab's daemon keeps its state.
func (l *Lab) State() string { return filepath.Join(l.opts.Dir, "state") }

// PinDir is where the lab's daemon pins its programs and maps.
func (l *Lab) PinDir() string { return "/sys/fs/bpf/" + l.opts.Name }

// BaseConfig gives the part of a configuration that says where things live; protect and endpoints are the caller's.
func (l *Lab) BaseConfig() string {
	return fmt.Sprintf(`capture: {cgroup: %q, pin_dir: %q, ports: [443, 80]}
ca: {mode: embedded, dir: %q}
trust: {host: none, ledger: %q}
mask: {key_file: %q}
record: {required: true, dir: %q, max_bytes: 1GiB, when_full: stop}
admin: {socket: %q}
`, l.Cgroup, l.PinDir(), filepath.Join(l.State(), "ca"), filepath.Join(l.State(), "trust.ledger"),
		filepath.Join(l.State(), "mask.key"), filepath.Join(l.State(), "journal"), filepath.Join(l.opts.Dir, "admin.sock"))
}

// StartDaemon writes the configuration and starts sallyportd with it; it returns once the daemon says that it is ready.
func (l *Lab) StartDaemon(ctx context.Context, config string) (*Daemon, error) {
	if err := os.MkdirAll(l.State(), 0o700); err != nil {
		return nil, err
	}
	d := &Daemon{lab: l, Config: filepath.Join(l.opts.Dir, "config.yaml"), Socket: filepath.Join(l.opts.Dir, "admin.sock"),
		stderr: &lockedBuffer{}, done: make(chan struct{})}
	if err := os.WriteFile(d.Config, []byte(config), 0o600); err != nil {
		return nil, err
	}
	program := l.Program
	if program == "" {
		program = filepath.Join(l.opts.Bin, "sallyportd")
	}
	args, env := []string{program, "--config", d.Config}, []string{}
	if f := l.Faults; f != nil {
		var err error
		if args, env, err = f.wrap(args, env); err != nil {
			return nil, err
		}
	}
	d.cmd = exec.Command(args[0], args[1:]...)
	d.cmd.Env = env
	if m := l.Manager; m != nil {
		d.cmd.Env = append(d.cmd.Env, "NOTIFY_SOCKET="+m.path, "FDSTORE=4096")
		kept, err := m.files()
		if err != nil {
			return nil, err
		}
		if len(kept) > 0 {
			// LISTEN_PID is the daemon's own: a shell knows it before it becomes the daemon.
			d.cmd.Path, d.cmd.Args = "/bin/sh", append([]string{"sh", "-c", `export LISTEN_PID=$$; exec "$0" "$@"`}, d.cmd.Args...)
			d.cmd.Env = append(d.cmd.Env, fmt.Sprintf("LISTEN_FDS=%d", len(kept)))
			d.cmd.ExtraFiles = kept
		}
	}
	// A pipe of our own: successors write to it too, and the first process is not waited for until they have ended.
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	d.cmd.Stderr, d.cmd.Stdout = to, to
	err = l.Start("", d.cmd)
	if err = errors.Join(err, to.Close()); err != nil {
		return nil, errors.Join(err, from.Close())
	}
	go func() { _, _ = io.Copy(d.stderr, from); from.Close() }() // ends with the last of them
	d.pid = d.cmd.Process.Pid
	if l.Manager != nil {
		l.Manager.started(d.pid)
	}
	go func(done chan struct{}) { d.err = d.cmd.Wait(); close(done) }(d.done)
	l.undo = append(l.undo, func() error {
		return errors.Join(d.Kill(), d.Uninstall(context.Background()))
	})
	for {
		var st struct{ Ready bool }
		if out, err := d.CLI(ctx, "status", "-o", "json"); err == nil && json.Unmarshal([]byte(out), &st) == nil && st.Ready {
			return d, nil
		}
		select {
		case <-d.done:
			return nil, fmt.Errorf("sallyportd ended before it was ready: %v: %s", d.err, strings.TrimSpace(d.stderr.String()))
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for sallyportd: %w: %s", ctx.Err(), strings.TrimSpace(d.stderr.String()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// CLI runs the sallyport command against this daemon and returns its standard output.
func (d *Daemon) CLI(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(d.lab.opts.Bin, "sallyport"), args...)
	cmd.Env = []string{"SALLYPORT_SOCKET=" + d.Socket, "NO_COLOR=1"}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("sallyport %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// PID is the process id of the daemon.
func (d *Daemon) PID() int { return d.pid }

// ErrNotUpgraded says that the process which led before still does.
var ErrNotUpgraded = errors.New("sallyportd was not upgraded")

// Upgrade has the daemon start its successor by a signal, and returns when that leads. It needs a Manager.
func (d *Daemon) Upgrade(ctx context.Context, by syscall.Signal) error {
	m := d.lab.Manager
	_, before, _ := m.state()
	if err := syscall.Kill(d.pid, by); err != nil {
		return fmt.Errorf("asking for an upgrade: %w", err)
	}
	done := d.done
	for {
		main, ready, heard := m.state()
		if ready > before {
			if main == d.pid {
				return ErrNotUpgraded
			}
			return d.lead(main)
		}
		select {
		case <-heard:
		case <-done:
			if d.err == nil { // it had nothing to end, and its successor is about to say that it leads
				done = nil
				continue
			}
			return fmt.Errorf("sallyportd ended while it was upgraded: %v: %s", d.err, strings.TrimSpace(d.stderr.String()))
		case <-ctx.Done():
			return fmt.Errorf("waiting for the upgrade: %w: %s", ctx.Err(), strings.TrimSpace(d.stderr.String()))
		}
	}
}

// lead notes the process that leads. It is no child of ours: how it ends is only in its log.
func (d *Daemon) lead(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("watching the successor, process %d: %w", pid, err)
	}
	d.former = append(d.former, d.pid)
	d.pid, d.err, d.done = pid, nil, make(chan struct{})
	go func(done chan struct{}) {
		_ = ended(fd) // what cannot be asked after counts as ended
		unix.Close(fd)
		close(done)
	}(d.done)
	return nil
}

// Former lists the processes that handed over and still run.
func (d *Daemon) Former() (out []int) {
	for _, pid := range d.former {
		if d.ours(pid) && !strings.Contains("ZX", stateOf(pid)) {
			out = append(out, pid)
		}
	}
	return out
}

// Log is what the daemon has written to its standard error so far, as far as it came through the pipe: what it wrote before
// it did something else may come after that. See Logged.
func (d *Daemon) Log() string { return d.stderr.String() }

// Logged waits until the daemon has logged a text, and says whether it did before the context ended.
func (d *Daemon) Logged(ctx context.Context, text string) bool {
	for !strings.Contains(d.Log(), text) {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return true
}

// Stop ends the daemon as systemd would and waits for it.
func (d *Daemon) Stop(ctx context.Context) error {
	if d.ours(d.pid) {
		if err := syscall.Kill(d.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	select {
	case <-d.done:
		if d.err != nil {
			return fmt.Errorf("sallyportd: %w: %s", d.err, strings.TrimSpace(d.stderr.String()))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for sallyportd to stop: %w", ctx.Err())
	}
}

// Uninstall takes everything out that daemons of this lab left in the kernel and in trust stores.
func (d *Daemon) Uninstall(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, filepath.Join(d.lab.opts.Bin, "sallyportd"), "uninstall", "--pin-dir", d.lab.PinDir(),
		"--ledger", filepath.Join(d.lab.State(), "trust.ledger")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("uninstalling: %w: %s", err, out)
	}
	return nil
}

// Kill ends the daemon by SIGKILL and waits for it, and whatever is left of its former processes and of a successor that
// does not lead yet, as a service manager does with what is left of a unit. Killing one that has ended is fine.
func (d *Daemon) Kill() error {
	left := append(d.Former(), d.pid)
	if m := d.lab.Manager; m != nil {
		if main, _, _ := m.state(); main != 0 {
			left = append(left, main)
		}
	}
	// Numbers come again: one that is no daemon of ours now belongs to somebody else.
	left = slices.DeleteFunc(left, func(pid int) bool { return !d.ours(pid) })
	for i := 0; i < len(left); i++ {
		if err := stop(left[i]); err != nil { // so that it starts no more, and is still the parent of what it did start
			return err
		}
		more, err := d.children(left[i])
		if err != nil {
			return err
		}
		left = append(left, more...)
	}
	for _, pid := range left {
		if err := end(pid); err != nil {
			return err
		}
	}
	<-d.done
	return nil
}

// end kills a process and waits until all of its threads have ended: its locks are free then.
func end(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("killing process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing process %d: %w", pid, err)
	}
	return ended(fd)
}

// ended waits for the end of a process.
func ended(pidfd int) error {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		switch n, err := unix.Poll(fds, -1); {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		}
	}
}

// stop halts a process and returns when it stands still, or has ended.
func stop(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	for !strings.Contains("TtZX", stateOf(pid)) {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// stateOf is the letter of proc_pid_stat(5); X for a process that is not there.
func stateOf(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if _, state, ok := strings.Cut(string(stat), ") "); err == nil && ok {
		return state[:1]
	}
	return "X"
}

// ours tells whether a process has the configuration of this daemon; one that has ended has not.
func (d *Daemon) ours(pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(line, []byte(d.Config))
}

// children lists the child processes of one that have the configuration of this daemon.
func (d *Daemon) children(of int) (out []int, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		_, rest, ok := strings.Cut(string(raw), ") ")
		if err != nil || !ok {
			continue // it has ended
		}
		var state string
		var parent, pid int
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil || parent != of {
			continue
		}
		if _, err := fmt.Sscan(filepath.Base(filepath.Dir(path)), &pid); err == nil && d.ours(pid) {
			out = append(out, pid)
		}
	}
	return out, err
}
