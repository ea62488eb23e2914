// SPDX-License-Identifier: Apache-2.0

// Package kernel is the only one that talks to our programs in the kernel: it loads and attaches them, writes the maps
// that steer them, and reads what they tell. Several capabilities are objects of their own, because a kernel may refuse
// one of them: redirect (needed), track (LangChain marks), cgroup (cgroups that come and go), dns (addresses of endpoints),
// cover (every connection, counted), older (package sockets), exec (package execs), netns (network namespaces that come to
// need a listener).
//
// Links and maps are pinned. They outlive the daemon: with no daemon, scopes fail closed or open as they were told, and
// the next daemon takes the pins over without a moment in between. Uninstall removes them.
//
// Size: package: every file here writes maps that the same programs read, under one set of pins; what needs only the pins or
// the kernel's features is in learn and survey.
package kernel
