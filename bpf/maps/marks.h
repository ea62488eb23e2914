/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* marks: what is known of a thread group, kept with its leader: they go with the task, so nothing is left over and a reused pid
 * starts clean. Written by exec, fork and open; user space sets the interpreter flag of programs that ran before us. */
#ifndef SALLYPORT_MAP_MARKS_H
#define SALLYPORT_MAP_MARKS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct marking);
} marks SEC(".maps");
#endif
