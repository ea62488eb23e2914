/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* targets: which names are endpoints at a port. Written and deleted by user space; as many as ports can be captured. */
#ifndef SALLYPORT_MAP_TARGETS_H
#define SALLYPORT_MAP_TARGETS_H
#include "../include/learn.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u16);
	__type(value, struct target);
} targets SEC(".maps");

#endif
