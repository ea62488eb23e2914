/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* uids: mask of the rows that name a user. Written and deleted by user space; 4,096 named users are many. */
#ifndef SALLYPORT_MAP_UIDS_H
#define SALLYPORT_MAP_UIDS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} uids SEC(".maps");

#endif
