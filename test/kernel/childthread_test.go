// SPDX-License-Identifier: Apache-2.0

//go:build root

package kernel

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// onThread calls do on a thread that is the leader of its group, or is not.
func onThread(leader bool, do func()) {
	release, done := make(chan struct{}), make(chan struct{})
	defer close(release)
	for {
		go func() {
			runtime.LockOSThread()
			if (unix.Gettid() == os.Getpid()) != leader {
				<-release // keeps this thread busy until the right one is found
				return
			}
			do()
			close(done)
			<-release
		}()
		select {
		case <-done:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func dieLeader() {
	go onThread(true, func() { unix.Syscall(unix.SYS_EXIT, 0, 0, 0) })
	for {
		b, err := os.ReadFile("/proc/self/stat")
		if err != nil || bytes.Contains(b, []byte(") Z ")) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func threadExec(order []string) {
	b, err := json.Marshal(order)
	if err != nil {
		panic(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		panic(err)
	}
	w.Close()
	if err := unix.Dup2(int(r.Fd()), 0); err != nil {
		panic(err)
	}
	onThread(false, func() { panic(unix.Exec("/proc/self/exe", []string{"again"}, []string{childEnv + "=serve"})) })
}
