/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* sets: which roots each set of roots holds. Written and read by user space alone; kept here because proofs name sets and
 * outlive an agent. A set comes with each new root: some a year. */
#ifndef SALLYPORT_MAP_SETS_H
#define SALLYPORT_MAP_SETS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, struct root_set);
} sets SEC(".maps");

#endif
