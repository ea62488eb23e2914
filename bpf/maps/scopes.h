/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* scopes: what happened to connections, by slot. Programs add, user space reads. Never reset: an agent that starts notes
 * where they stand. */
#ifndef SALLYPORT_MAP_SCOPES_H
#define SALLYPORT_MAP_SCOPES_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct scope_counters);
} scopes SEC(".maps");

#endif
