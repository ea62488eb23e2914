// SPDX-License-Identifier: Apache-2.0

// Package inspector adds root certificates to a Node.js program that runs, through its inspector: a debugging port that
// Node opens on 127.0.0.1 when it gets SIGUSR1. Whoever reaches that port commands the program, so it is open for as
// short as possible, and every way out of Add ends with a look whether it is closed.
//
// It is used only if the program handles SIGUSR1 (else the signal would end it), and only on a port that was not there before
// and that the program itself listens on, in its own network namespace. A program that has a handler of its own for
// SIGUSR1 gets that called instead: Node cannot be asked from outside.
//
// What is open is written to a file first, so that after kill -9 the next agent closes it (Recover). If an agent dies
// after it has reached the program, a timer inside that closes the port too.
package inspector
