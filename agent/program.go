// SPDX-License-Identifier: Apache-2.0

package agent

// Program is one state of an executable file, as the kernel knows it: a file that is changed or replaced is another one.
type Program struct {
	Dev, Ino, Size uint64
	Changed        uint64 // change time, ns; 0 if it is not known
}

// Exec says that a process runs a program from now on.
type Exec struct {
	PID   uint32
	Start uint64 // nanoseconds since boot at which the process started
	File  Program
}
