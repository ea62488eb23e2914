// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//go:build ignore

/* Notes cgroups (v2) as they come and go, so that none is unknown for the moment until user space has looked at it. */
#include "include/kernel.h"
#include "maps/cgroups.h"
#include "maps/errors.h"
#include "maps/events.h"
#include "maps/quarantine.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void tell(__u32 kind, __u64 id, const char *path)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		fail(ERR_EVENT_LOST);
		return;
	}
	__builtin_memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->cgroup = id;
	long n = bpf_probe_read_kernel_str(e->path, sizeof(e->path), path);
	if (n <= 0 || n == sizeof(e->path)) { /* perhaps cut: a wrong path would name a wrong scope */
		bpf_ringbuf_discard(e, 0);
		fail(ERR_EVENT_LOST);
		return;
	}
	bpf_ringbuf_submit(e, 0);
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(cgroup_made, struct cgroup *cgroup, const char *path)
{
	if (BPF_CORE_READ(cgroup, root, hierarchy_id) != 0) /* v1 */
		return 0;
	__u64 id = BPF_CORE_READ(cgroup, kn, id);
	struct cgroup_state pending = {.pending = 1};
	if (bpf_map_update_elem(&cgroups, &id, &pending, BPF_ANY))
		fail(ERR_CGROUP_FULL);
	if (quarantine_made(id, path))
		fail(ERR_CGROUP_FULL);
	tell(EVENT_CGROUP_MADE, id, path);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(cgroup_gone, struct cgroup *cgroup, const char *path)
{
	if (BPF_CORE_READ(cgroup, root, hierarchy_id) != 0)
		return 0;
	__u64 id = BPF_CORE_READ(cgroup, kn, id);
	bpf_map_delete_elem(&cgroups, &id);
	bpf_map_delete_elem(&quarantine_ids, &id);
	tell(EVENT_CGROUP_GONE, id, path);
	return 0;
}
