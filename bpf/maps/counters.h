/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* errors: how often a program could not do what it should, by enum error. scopes: what happened to connections, by slot.
 * Programs add, user space reads. */
#ifndef SALLYPORT_MAP_COUNTERS_H
#define SALLYPORT_MAP_COUNTERS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ERRORS);
	__type(key, __u32);
	__type(value, __u64);
} errors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct scope_counters);
} scopes SEC(".maps");

static __always_inline void fail(__u32 error)
{
	__u64 *n = bpf_map_lookup_elem(&errors, &error);
	if (n)
		__sync_fetch_and_add(n, 1);
}
#endif
