/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* execs: executions for user space to look at, and tally beside it, which counts those that found no room. 256 KiB hold
 * some 4,000. */
#ifndef SALLYPORT_MAP_EXECS_H
#define SALLYPORT_MAP_EXECS_H
#include "../include/exec.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} execs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TALLIES);
	__type(key, __u32);
	__type(value, __u64);
} tally SEC(".maps");

#endif
