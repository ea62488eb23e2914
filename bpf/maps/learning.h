/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* learning: what was done and what could not be, by enum dns_count. Programs add, user space reads. */
#ifndef SALLYPORT_MAP_LEARNING_H
#define SALLYPORT_MAP_LEARNING_H
#include "../include/learn.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DNS_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} learning SEC(".maps");

static __always_inline void dns_count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&learning, &what);
	if (n)
		__sync_fetch_and_add(n, 1);
}

#endif
