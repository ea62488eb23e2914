// SPDX-License-Identifier: Apache-2.0

// Package succession starts a process that takes over from this one, and is the other side in that process. It knows how
// the two talk and what they hand each other, not what it is good for.
//
// They talk over a socket pair, of which the successor finds its end by an environment variable that only its parent sets.
// The order is fixed; each side waits for the other's word:
//
//	offer     →   who hands over, with its listening sockets
//	          ←   prepared: all is read and checked, nothing that both use was touched; from here on it may be
//	more      →   listening sockets of other network namespaces, if there are any; as often as needed
//	go        →   the predecessor has let go
//	          ←   ready
//	lead      →   whoever supervises us was told; the predecessor will end by itself
//
// Instead of "ready" the successor may say "failed": then it has let go again, and ends by itself when what it had begun is
// done. An end that closes before "lead" means that its process is gone or gives up: the other side hears it at once.
package succession
