// SPDX-License-Identifier: Apache-2.0

// Package admin serves the admin API (agent/adminapi) on a unix socket.
//
// # Who may do what
//
// Everybody may connect; the kernel says who it is (SO_PEERCRED, and a pidfd so that a reused pid is noticed).
//
//	all of it         root and the configured uids, from the host's namespaces, outside every scope
//	why               everybody, for decisions about their own uid
//	approvals         persons on the host, outside every scope: operators see all, others what their groups may decide, and
//	                  whoever asked for an elevation sees that. Who may decide what is the Desk's to say
//	elevations (ask)  every person, for themselves; a process that is refused otherwise, for itself alone
//	trust/apply       everybody in the host's pid, network and user namespace, for their own process, if it has a mount
//	                  namespace of its own (that is `sallyport run`)
//
// A peer in another namespace, or in a process tree that a scope selects, is not an operator, whatever its uid: a
// compromised agent that runs as root in a container must not be able to read sessions or take trust away. A peer whose
// process ended, or whose namespaces cannot be read, is refused.
//
// A person is the login uid, which the kernel keeps through su and sudo; outside a login session it is the uid. Name and
// groups are asked of the host at each request, and who has no name, or whose groups cannot be read, is nobody.
//
// Reading the contents of sessions and of what is held, deciding, asking for a role, and changing trust, is recorded before
// it happens; what cannot be recorded does not happen. A quarantine is an exception: who asked is noted on disk first, and brought into the
// journal after it took effect, since a full journal must not keep anybody from cutting an intruder off; and so is taking a
// grant back.
package admin
