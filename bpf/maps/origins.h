/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* origins: what a redirected socket remembers, from connect to its end. conns: the same for the proxy to take, under the key
 * that accept shows; published before the SYN leaves, deleted by whoever takes it, or when the socket closes. 65,536
 * connections between SYN and accept are more than the listener's queue holds. listeners: our tag on our own listener. */
#ifndef SALLYPORT_MAP_ORIGINS_H
#define SALLYPORT_MAP_ORIGINS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct origin);
} origins SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} listeners SEC(".maps");
#endif
