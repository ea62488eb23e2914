/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* conns: what origins holds, for the proxy to take, under the key that an accepted socket shows. Published by sockops before the SYN
 * leaves; deleted by the proxy, which takes it, or by sockops when the socket closes first. 65,536 connections between SYN
 * and accept are more than the listener's queue holds. */
#ifndef SALLYPORT_MAP_CONNS_H
#define SALLYPORT_MAP_CONNS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct conn);
} conns SEC(".maps");

#endif
