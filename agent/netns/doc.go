// SPDX-License-Identifier: Apache-2.0

// Package netns takes the proxy into other network namespaces. Redirection leads to a loopback address, and each namespace
// has a loopback of its own: so each one in which a process of a scope lives gets listeners made inside it, which the one
// proxy serves, and the connections that the proxy makes for that process begin there as well. Its routes, its firewall and
// its source address hold, and what is loopback or link-local there means what it means there.
//
// # Names
//
// A namespace is known by its cookie, which the kernel never uses again, and never by a process or an inode. The cookie is
// asked of a socket made inside.
//
// # Lifetime
//
// Our descriptors keep a namespace alive. It has ended for us when no thread is in it any more: then the listeners are
// closed, the idle upstream connections too, and our descriptor. Whoever enters it later (a namespace may have a name) is
// noticed like any other: the kernel programs ask. Until the listener is there a connection is refused or goes direct, as
// its scope says for a dead agent.
//
// # Threads
//
// setns(2) moves a thread. Do runs on a thread of its own that comes home afterwards; one that cannot is thrown away.
package netns
