// SPDX-License-Identifier: Apache-2.0

// Package daemon is the composition root: the one place where every part is built, plugged into the others, started and
// stopped. Order and owners stand in docs/architecture.md.
//
// Start at Run (daemon.go), which opens the parts (parts.go), then serve.go, which runs them and ends in one of three ways:
// stopped, restarted by a service manager that keeps the listening sockets (handover.go), or upgraded in place (upgrade.go).
//
// Size: package: it knows each part by name, and what it adds to one (an adapter, a loop) is of no use without the others.
package daemon
