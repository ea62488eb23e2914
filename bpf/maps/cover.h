/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* cover: what became of the connections of each workload. Programs add, user space reads, and deletes what has not moved
 * since its cgroup went. 8,192 workloads; what is beyond is counted under cgroup 0, for which user space makes the rows. */
#ifndef SALLYPORT_MAP_COVER_H
#define SALLYPORT_MAP_COVER_H
#include "../include/cover.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct cover_key);
	__type(value, struct cover_row);
} cover SEC(".maps");

static __always_inline struct cover_row *cover_of(__u64 cgroup, __u32 slot)
{
	struct cover_key k = {.cgroup = cgroup, .slot = slot};
	struct cover_row *row = bpf_map_lookup_elem(&cover, &k);
	if (row)
		return row;
	struct cover_row none = {};
	bpf_map_update_elem(&cover, &k, &none, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&cover, &k);
	if (row)
		return row;
	k.cgroup = 0;
	return bpf_map_lookup_elem(&cover, &k);
}

#endif
