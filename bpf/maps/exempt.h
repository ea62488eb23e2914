/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* exempt: cgroup ids that are never redirected: exactly the agent's own, written by user space before its first outward
 * connection, deleted by the next agent. 16, so that two generations fit many times. */
#ifndef SALLYPORT_MAP_EXEMPT_H
#define SALLYPORT_MAP_EXEMPT_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u8);
} exempt SEC(".maps");

#endif
