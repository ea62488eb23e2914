/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* opening: the user pointer to the path of an open that is under way, kept with the thread, so that only an open that
 * succeeds counts. Written by sys_enter, taken by sys_exit; goes with the thread. */
#ifndef SALLYPORT_MAP_OPENING_H
#define SALLYPORT_MAP_OPENING_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} opening SEC(".maps");

#endif
