/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* quic: what happened to datagrams for endpoints, by slot. Programs add, user space reads. Never reset. */
#ifndef SALLYPORT_MAP_QUIC_H
#define SALLYPORT_MAP_QUIC_H
#include "../include/types.h"

struct quic_counters {
	__u64 refused;
	__u64 bypassed; /* let go by break glass */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct quic_counters);
} quic SEC(".maps");

#endif
