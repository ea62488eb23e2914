/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* cgroups: which rows a cgroup satisfies. Made "pending" by the kernel when the cgroup is made, resolved by user space,
 * deleted by the kernel when the cgroup goes. 65,536: as many as a host may sensibly have; a cgroup that is missing here is
 * treated as pending, so that a full map cannot let anything out. */
#ifndef SALLYPORT_MAP_CGROUPS_H
#define SALLYPORT_MAP_CGROUPS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct cgroup_state);
} cgroups SEC(".maps");
#endif
