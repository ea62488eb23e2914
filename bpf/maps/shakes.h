/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* shakes: how handshakes with a thread group ended, kept with its leader as opens are. Written by user space, by fork and exec. */
#ifndef SALLYPORT_MAP_SHAKES_H
#define SALLYPORT_MAP_SHAKES_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct shaken);
} shakes SEC(".maps");

#endif
