/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* ports: the captured TCP ports, written and deleted by user space. 256 are more than anybody names by hand. */
#ifndef SALLYPORT_MAP_PORTS_H
#define SALLYPORT_MAP_PORTS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u16);
	__type(value, __u8);
} ports SEC(".maps");

#endif
