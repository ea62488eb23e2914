/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* path: room for one path per CPU, too large for a program's stack. Written and read by one run of a program, which is not
 * preempted by another of its kind on the same CPU in between. */
#ifndef SALLYPORT_MAP_PATH_H
#define SALLYPORT_MAP_PATH_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct path_text);
} path SEC(".maps");

#endif
