/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* opening: the user pointer to the path of an open that is under way, and why it is looked at, kept with the thread, so that
 * only an open that succeeds counts. Written by sys_enter, taken by sys_exit; goes with the thread. */
#ifndef SALLYPORT_MAP_OPENING_H
#define SALLYPORT_MAP_OPENING_H
#include "../include/types.h"

#define WHY_PATH 1  /* its path may be LangChain's */
#define WHY_STORE 2 /* it may be a covered store */

struct open_at {
	__u64 path;
	__u64 why; /* WHY_*; 0 = no open is under way */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct open_at);
} opening SEC(".maps");

#endif
