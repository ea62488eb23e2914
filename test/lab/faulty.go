// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The environment of a test binary that is to become a program under Faults: the socket, or, for its helpers, the thread whose
// next program is to ask the kernel for the time.
const (
	faultsEnv = "SALLYPORT_TEST_FAULTS"
	traceEnv  = "SALLYPORT_TEST_TRACE"
)

// Faulty must be called first thing in TestMain. In a process that is to be hurt it does not return: it puts itself
// under the filter and becomes the program of its arguments.
func Faulty() {
	if tid := os.Getenv(traceEnv); tid != "" {
		os.Exit(report(trace(tid)))
	}
	if path := os.Getenv(faultsEnv); path != "" {
		os.Exit(report(become(path)))
	}
}

func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "test/lab: a program to be hurt:", err)
	return 70
}

// filter asks the listener about the calls of faults.go, and lets all others pass.
func filter() []unix.SockFilter {
	const (
		load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		eq   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret  = unix.BPF_RET | unix.BPF_K
		nr   = 0  // offsets in struct seccomp_data
		arg0 = 16 // its lower half, on little-endian machines
	)
	allow, ask := unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF}
	prog := []unix.SockFilter{{Code: load, K: nr}}
	for _, call := range append([]uint32{Fdatasync, Fsync, Fallocate, AIO}, moreClocks...) {
		prog = append(prog, unix.SockFilter{Code: eq, Jf: 1, K: call}, ask)
	}
	return append(prog,
		unix.SockFilter{Code: eq, Jf: 5, K: BPF},
		unix.SockFilter{Code: load, K: arg0},
		unix.SockFilter{Code: eq, Jt: 2, K: unix.BPF_MAP_CREATE},
		unix.SockFilter{Code: eq, Jt: 1, K: unix.BPF_MAP_UPDATE_ELEM},
		allow, ask,
		unix.SockFilter{Code: eq, Jf: 3, K: clock},
		unix.SockFilter{Code: load, K: arg0},
		unix.SockFilter{Code: eq, Jf: 1, K: unix.CLOCK_REALTIME},
		ask, allow)
}

func become(path string) error {
	runtime.LockOSThread() // filter and exec are this thread's
	args := os.Args[1:]
	if len(args) == 0 {
		return fmt.Errorf("no program")
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	if err := traced(); err != nil {
		return fmt.Errorf("bending the vDSO: %w", err)
	}
	prog := filter()
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	if _, _, err := conn.WriteMsgUnix([]byte{1}, unix.UnixRights(int(fd)), nil); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // somebody answers now
		return err
	}
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, faultsEnv+"=") {
			env = append(env, e)
		}
	}
	unix.CloseOnExec(int(fd))
	return syscall.Exec(args[0], args, env)
}

// traced has another process wait for our next program, to bend the vDSO of it: what asks for the time without a system call
// cannot be answered by us. The other process is nobody's child, so that the program has none that it does not know.
func traced() error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{traceEnv + "=fork," + strconv.Itoa(unix.Gettid())}
	cmd.Stdout, cmd.Stderr = in, os.Stderr
	err = cmd.Run()
	in.Close()
	if err != nil {
		return err
	}
	_, err = out.Read(make([]byte, 1)) // it is there
	return err
}

// trace is what the other process does.
func trace(of string) error {
	if tid, ok := strings.CutPrefix(of, "fork,"); ok {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{traceEnv + "=" + tid}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		return cmd.Start()
	}
	tid, err := strconv.Atoi(of)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, unix.PTRACE_O_TRACEEXEC, 0, 0); errno != 0 {
		return os.NewSyscallError("ptrace", errno)
	}
	if _, err := os.Stdout.Write([]byte{1}); err != nil {
		return err
	}
	os.Stdout.Close()
	for {
		var st unix.WaitStatus
		pid, err := unix.Wait4(-1, &st, unix.WALL, nil)
		switch {
		case err != nil:
			return err
		case st.Exited(), st.Signaled():
			return nil
		case !st.Stopped():
			continue
		case st.TrapCause() == unix.PTRACE_EVENT_EXEC:
			return errors.Join(bend(pid), unix.PtraceDetach(pid))
		}
		sig := int(st.StopSignal())
		if st.TrapCause() > 0 {
			sig = 0
		}
		if err := unix.PtraceCont(pid, sig); err != nil {
			return err
		}
	}
}

// bend makes the functions of the vDSO that tell the time system calls, in a program that is about to begin.
func bend(pid int) error {
	base, image, err := vdso(fmt.Sprintf("/proc/%d", pid))
	if err != nil {
		return err
	}
	symbols, err := image.DynamicSymbols()
	if err != nil {
		return err
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	n := 0
	for _, s := range symbols {
		if code := timeCalls[s.Name]; code != nil {
			if _, err := mem.WriteAt(code, int64(base+s.Value)); err != nil {
				return err
			}
			n++
		}
	}
	if n == 0 {
		return errors.New("no function of the vDSO is known for this machine")
	}
	return nil
}

// vdso finds the vDSO of a process.
func vdso(proc string) (base uint64, image *elf.File, err error) {
	maps, err := os.ReadFile(proc + "/maps")
	if err != nil {
		return 0, nil, err
	}
	for line := range strings.Lines(string(maps)) {
		var end uint64
		if !strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			continue
		}
		if _, err := fmt.Sscanf(line, "%x-%x", &base, &end); err != nil {
			return 0, nil, err
		}
		mem, err := os.Open(proc + "/mem")
		if err != nil {
			return 0, nil, err
		}
		defer mem.Close()
		b := make([]byte, end-base)
		if _, err := mem.ReadAt(b, int64(base)); err != nil {
			return 0, nil, err
		}
		image, err = elf.NewFile(bytes.NewReader(b))
		return base, image, err
	}
	return 0, nil, errors.New("the program has no vDSO")
}
