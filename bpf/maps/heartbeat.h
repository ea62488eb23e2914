/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* heartbeat: when the agent's accept loop was last seen running, written by user space several times a second, read by the
 * connect programs. One entry: there is one agent; generation tells an agent that stops whether another took over. */
#ifndef SALLYPORT_MAP_HEARTBEAT_H
#define SALLYPORT_MAP_HEARTBEAT_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct beat);
} heartbeat SEC(".maps");

#endif
