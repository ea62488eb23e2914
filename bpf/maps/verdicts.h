/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* verdicts: what user space found out about executables, so that it looks at each once. Written by user space, read at exec.
 * LRU: what falls out is looked at again. 8,192 are more than a host runs in turns. */
#ifndef SALLYPORT_MAP_VERDICTS_H
#define SALLYPORT_MAP_VERDICTS_H
#include "../include/exec.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct executable);
	__type(value, __u32); /* VERDICT_*, and above it the version of the rules */
} verdicts SEC(".maps");

#endif
