/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* origins: what a redirected socket remembers, written by connect, deleted when it connects again; it goes with the socket,
 * so there is no bound to choose. */
#ifndef SALLYPORT_MAP_ORIGINS_H
#define SALLYPORT_MAP_ORIGINS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct origin);
} origins SEC(".maps");

#endif
