/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* opens: the covered stores that a thread group has opened, kept with its leader: copied by fork, dropped by exec, gone with
 * the task. Written by open, fork and exec; read by user space. */
#ifndef SALLYPORT_MAP_OPENS_H
#define SALLYPORT_MAP_OPENS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct store_opens);
} opens SEC(".maps");

#endif
