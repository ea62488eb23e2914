// SPDX-License-Identifier: Apache-2.0

// Command gitleaks runs gitleaks' default rules over files, in pieces of 4 KB (it is slower on larger ones), and prints the processor time of each in
// seconds and the number of findings. It is a module of its own, so that nothing of gitleaks is part of the project.
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"github.com/zricethezav/gitleaks/v8/detect"
)

const piece = 4 << 10

func main() {
	runtime.GOMAXPROCS(1)
	d, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gitleaks:", err)
		os.Exit(1)
	}
	for _, name := range os.Args[1:] {
		b, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "gitleaks:", err)
			os.Exit(1)
		}
		start, found := used(), 0
		for at := 0; at < len(b); at += piece {
			found += len(d.DetectBytes(b[at:min(at+piece, len(b))]))
		}
		fmt.Printf("%s %.4f %d\n", name, used()-start, found)
	}
}

// used is the processor time of the process in seconds.
func used() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
