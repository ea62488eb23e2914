/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* errors: how often a program could not do what it should, by enum error. Programs add, user space reads. */
#ifndef SALLYPORT_MAP_ERRORS_H
#define SALLYPORT_MAP_ERRORS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ERRORS);
	__type(key, __u32);
	__type(value, __u64);
} errors SEC(".maps");

static __always_inline void fail(__u32 error)
{
	__u64 *n = bpf_map_lookup_elem(&errors, &error);
	if (n)
		__sync_fetch_and_add(n, 1);
}

#endif
