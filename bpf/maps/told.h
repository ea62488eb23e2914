/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* told: what of cover is on record already. User space alone writes and reads it; it is here so that it outlives a daemon. */
#ifndef SALLYPORT_MAP_TOLD_H
#define SALLYPORT_MAP_TOLD_H
#include "../include/cover.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct cover_key);
	__type(value, struct cover_told);
} told SEC(".maps");

#endif
