/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* served: network namespaces (by cookie) that have our listener, or need none, so that nobody asks for them. Written and deleted by
 * user space; 16,384, twice what may be configured. What is missing here only costs a question. */
#ifndef SALLYPORT_MAP_SERVED_H
#define SALLYPORT_MAP_SERVED_H
#include "../include/netns.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, __u8);
} served SEC(".maps");

#endif
