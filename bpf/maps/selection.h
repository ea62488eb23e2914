/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who is selected. All but cgroups are written by user space alone. ports: captured TCP ports. exempt: cgroup ids, exactly
 * the agent's own; 16, so that two generations and a self-test fit many times. uids, exes: masks of the rows that name
 * them. bypass: break glass, one deadline (CLOCK_BOOTTIME ns) per slot. */
#ifndef SALLYPORT_MAP_SELECTION_H
#define SALLYPORT_MAP_SELECTION_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u16);
	__type(value, __u8);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u64);
	__type(value, __u8);
} exempt SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} uids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct exe_key);
	__type(value, __u64);
} exes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} bypass SEC(".maps");
#endif
