/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What we need to know of network namespaces. They are named by their cookie, which is never used again. */
#ifndef SALLYPORT_NETNS_H
#define SALLYPORT_NETNS_H
#include "kernel.h"

#define ASK_CONNECT 1 /* a connection found no listener */
#define ASK_SCOPE 2   /* a process of a scope runs there now */
#define ASK_PENDING 3 /* perhaps of a scope: its cgroup is not resolved yet */

/* A network namespace needs a listener: tid is a thread that is in it, as far as we know. */
struct ask {
	__u64 netns;
	__u64 ns; /* CLOCK_MONOTONIC */
	__u32 tgid;
	__u32 tid;
	__u32 kind; /* ASK_* */
	__u32 pad;
};

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpadded"
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct net {
	__u64 net_cookie;
};
struct nsproxy {
	struct net *net_ns;
};
struct task_struct___netns {
	struct nsproxy *nsproxy;
};
#pragma clang attribute pop
#pragma clang diagnostic pop

#endif
