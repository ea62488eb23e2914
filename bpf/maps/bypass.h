/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* bypass: break glass, one deadline per slot (CLOCK_BOOTTIME ns; 0 = none), written by user space, with or without an
 * agent; the programs compare it with their clock, so that it ends by itself. */
#ifndef SALLYPORT_MAP_BYPASS_H
#define SALLYPORT_MAP_BYPASS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} bypass SEC(".maps");

#endif
