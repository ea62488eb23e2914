/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* learned: which addresses the programs of a network namespace were given for the names of endpoints. Written by dns_ingress,
 * read by connect, deleted by user space when it is out of date; addresses from the configuration stand in it for good. Never
 * LRU: a flood of answers must not push out what others learned. 16,384 are some hundred names for a hundred pods. What
 * finds no room is counted, and noted in crowded. */
#ifndef SALLYPORT_MAP_LEARNED_H
#define SALLYPORT_MAP_LEARNED_H
#include "../include/learn.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct learned_key);
	__type(value, struct place);
} learned SEC(".maps");

/* crowded: when an address last found no room (CLOCK_BOOTTIME ns), by dns_ingress. One entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} crowded SEC(".maps");

#endif
