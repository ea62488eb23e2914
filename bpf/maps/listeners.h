/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* listeners: our tag on our own listener, set by user space through its descriptor and gone with the socket: a stranger on
 * the proxy's port has none. */
#ifndef SALLYPORT_MAP_LISTENERS_H
#define SALLYPORT_MAP_LISTENERS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} listeners SEC(".maps");

#endif
