/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* exes: mask of the rows that name an executable. Written and deleted by user space; 1,024, since a glob may name many. */
#ifndef SALLYPORT_MAP_EXES_H
#define SALLYPORT_MAP_EXES_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct exe_key);
	__type(value, __u64);
} exes SEC(".maps");

#endif
