/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* stores: the trust stores that hold our roots. Written by user space when it has changed a store; read when a watched
 * program has opened a file. An entry of a file system that is gone does no harm, and the next one with its device number
 * takes its place, so that there are never more than were there at one time. */
#ifndef SALLYPORT_MAP_STORES_H
#define SALLYPORT_MAP_STORES_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct store_key);
	__type(value, struct store);
} stores SEC(".maps");

#endif
