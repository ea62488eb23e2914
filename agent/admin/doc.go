// SPDX-License-Identifier: Apache-2.0

// Package admin serves the admin API (agent/adminapi) on a unix socket.
//
// # Who may do what
//
// Everybody may connect; the kernel says who it is (SO_PEERCRED, and a pidfd so that a reused pid is noticed).
//
//	all of it         root and the configured uids, from the host's namespaces, outside every scope
//	why               everybody, for decisions about their own uid
//	trust/apply       everybody in the host's pid, network and user namespace, for their own process, if it has a mount
//	                  namespace of its own (that is `sallyport run`)
//
// A peer in another namespace, or in a process tree that a scope selects, is not an operator, whatever its uid: a
// compromised agent that runs as root in a container must not be able to read sessions or take trust away. A peer whose
// process ended, or whose namespaces cannot be read, is refused.
//
// Reading the contents of sessions, and changing trust, is recorded before it happens; what cannot be recorded does not
// happen. A quarantine is the one exception: who asked is noted on disk first, and brought into the journal after it took
// effect, since a full journal must not keep anybody from cutting an intruder off.
package admin
