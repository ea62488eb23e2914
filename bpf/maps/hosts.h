/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* hosts: the names of endpoints, each with its number, which stands for it as a bit. Written and deleted by user space. */
#ifndef SALLYPORT_MAP_HOSTS_H
#define SALLYPORT_MAP_HOSTS_H
#include "../include/learn.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_NAMES);
	__type(key, struct name_key);
	__type(value, __u32);
} hosts SEC(".maps");

#endif
