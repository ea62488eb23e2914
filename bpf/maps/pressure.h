/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* pressure: when a record last found no room in conns (CLOCK_MONOTONIC ns), written by sockops. For a second after that,
 * connect does what the scope says for a dead agent: a connection without a record would be closed at the proxy, which
 * is not what an open scope asks for. One entry. */
#ifndef SALLYPORT_MAP_PRESSURE_H
#define SALLYPORT_MAP_PRESSURE_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} pressure SEC(".maps");

#endif
