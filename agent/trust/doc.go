// SPDX-License-Identifier: Apache-2.0

// Package trust makes programs trust our roots without changing them: it lays merged copies (their content and our
// roots) over the trust stores that a process reads, and takes them away again. It holds no key.
//
// It works only in a mount namespace of the process's own. A mount there is seen by nobody else, ends with the
// namespace, and is undone by one unmount. In the host's namespace it changes nothing: there a mount over a file makes
// package managers fail with EBUSY.
//
// One Apply goes like this. In our own namespace: pin the process (a descriptor of its /proc folder, start time
// checked), find its stores, resolve each inside its root (openat2, RESOLVE_IN_ROOT), read, merge; write what will be
// mounted to the ledger and sync it. Then, on a thread of its own that is thrown away: a private namespace with a tmpfs
// for the merged files, made read-only; a detached clone per file (open_tree); setns into the process's namespace;
// move_mount onto the descriptors resolved before. The files of a namespace are never shared with another one.
//
// The tmpfs carries a tag as its source name, "sallyport-ROOTS-RANDOM". Every later question (is this covered? what
// must be removed, also in namespaces that were copied from this one?) is answered from the kernel's own mount tables by
// that tag; the ledger says which tags are ours.
//
// Stores, one file each: system.go (bundles and hash folders of OpenSSL, Go and distributions), certifi.go (each copy of
// certifi and its like that the process can import), variables.go (files that CA variables of its environment name).
//
// Limits: copies of folders are read-only, so update-ca-certificates fails inside that namespace until the mounts are
// removed. A container that runs with fewer files than one store needs (no bundle at all) is not helped. Labels of
// SELinux are not copied.
//
// Size: package: what is found, read, mounted and undone shares one pinned process and its descriptors; apart, those
// would have to be exported, and with them the ways to use them wrongly.
package trust
