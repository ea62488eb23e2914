/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* quarantine_*: who is cut off, by user, by cgroup (with its whole subtree) and by the path of a cgroup, so that one that is
 * made anew under the same name is cut off from its first instruction on. Written and deleted by user space, with or without
 * an agent; the programs compare deadlines with their own clock and count. Cgroups are also added when they are made and
 * deleted when they go. The sizes are more than anybody cuts off by hand; what does not fit is an error in user space. */
#ifndef SALLYPORT_MAP_QUARANTINE_H
#define SALLYPORT_MAP_QUARANTINE_H
#include "exempt.h"
#include "../include/types.h"

#define QUARANTINE_DEPTH 16 /* a cgroup that is named lies at most so deep; what is below it may lie deeper */
#define QUARANTINE_PATH 256 /* with its zero */

struct quarantined {
	__u64 until; /* CLOCK_BOOTTIME ns */
	__u64 refused;
};

struct quarantine_path {
	char text[QUARANTINE_PATH];
};

/* When the last of them ends; 0 = there is none. All that a connection costs while nobody is cut off. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} quarantine_on SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct quarantined);
} quarantine_ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct quarantined);
} quarantine_uids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct quarantine_path);
	__type(value, __u64);
} quarantine_paths SEC(".maps");

static __always_inline int quarantine_active(__u64 *now)
{
	__u32 zero = 0;
	__u64 *last = bpf_map_lookup_elem(&quarantine_on, &zero);
	if (!last || !*last)
		return 0;
	*now = bpf_ktime_get_boot_ns();
	return *last > *now;
}

static __always_inline int quarantine_counts(struct quarantined *q, __u64 now)
{
	if (!q || q->until <= now)
		return 0;
	__sync_fetch_and_add(&q->refused, 1);
	return 1;
}

/* Is the current process cut off? Never the agent. */
static __always_inline int quarantined(void)
{
	__u64 now;
	if (!quarantine_active(&now))
		return 0;
	__u64 cgroup = bpf_get_current_cgroup_id();
	if (bpf_map_lookup_elem(&exempt, &cgroup))
		return 0;
	__u32 uid = bpf_get_current_uid_gid();
	if (quarantine_counts(bpf_map_lookup_elem(&quarantine_uids, &uid), now))
		return 1;
	for (int level = 1; level <= QUARANTINE_DEPTH; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);
		if (!id)
			break;
		if (quarantine_counts(bpf_map_lookup_elem(&quarantine_ids, &id), now))
			return 1;
	}
	return 0;
}

/* A cgroup was made: is its path cut off? -1: it is, and there was no room to say so. */
static __always_inline int quarantine_made(__u64 id, const char *path)
{
	__u64 now;
	if (!quarantine_active(&now))
		return 0;
	struct quarantine_path key = {};
	if (bpf_probe_read_kernel_str(key.text, sizeof(key.text), path) <= 0)
		return 0;
	__u64 *until = bpf_map_lookup_elem(&quarantine_paths, &key);
	if (!until || *until <= now)
		return 0;
	struct quarantined q = {.until = *until};
	return bpf_map_update_elem(&quarantine_ids, &id, &q, BPF_ANY) ? -1 : 0;
}

#endif
