/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* counting: the generation of the one program that counts. Tracepoint links cannot be updated, so the next program hangs beside the
 * old one for a moment; user space then hands over by this. */
#ifndef SALLYPORT_MAP_COUNTING_H
#define SALLYPORT_MAP_COUNTING_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} counting SEC(".maps");

#endif
