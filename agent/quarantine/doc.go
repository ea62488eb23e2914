// SPDX-License-Identifier: Apache-2.0

// Package quarantine cuts a principal off the network at once: the kernel programs refuse what it connects from then on, and
// the connections that it has are ended. It works with a dead agent too, by the pinned maps alone.
//
// # What is refused
//
// Every connect of TCP and UDP, to every port and address, loopback among them, and what is sent on UDP without connecting:
// whoever is cut off may not choose a port that nobody captures, nor a relay on the same host. What others open to it is not
// refused here.
//
// # Who
//
// A user, or a cgroup with all that is under it: named by path, systemd unit, container, pod or SPIFFE ID, which are found in
// the cgroup tree. The kernel also knows the paths, so that a unit that is started again is cut off from its first
// instruction. What the host cannot do without is refused by Options.Vital.
//
// # What is kept
//
// A file says who is cut off, by whom, why and until when; it is written before anything takes effect, and Apply brings the
// maps in line with it: at start, and once a second while somebody is cut off. Who keeps the journal asks for what is not
// recorded yet (Unrecorded). Deadlines are kept by the clock that no one sets; after a reboot by the wall clock.
package quarantine
