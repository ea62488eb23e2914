/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Which scope the current process belongs to. */
#ifndef SALLYPORT_SELECT_H
#define SALLYPORT_SELECT_H
#include "../maps/cgroups.h"
#include "../maps/configs.h"
#include "../maps/errors.h"
#include "../maps/exes.h"
#include "../maps/marks.h"
#include "../maps/uids.h"

static __always_inline __u32 lowest(__u64 x)
{
	__u32 n = 0;
	if (!(x & 0xffffffffull)) { n += 32; x >>= 32; }
	if (!(x & 0xffff)) { n += 16; x >>= 16; }
	if (!(x & 0xff)) { n += 8; x >>= 8; }
	if (!(x & 0xf)) { n += 4; x >>= 4; }
	if (!(x & 0x3)) { n += 2; x >>= 2; }
	if (!(x & 0x1)) n += 1;
	return n;
}

/* Through the thread itself: a thread group whose leader has exited goes on, but its leader has no memory any more. */
static __always_inline __u64 exe_mask(struct task_struct *task)
{
	struct exe_key key = {};
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	if (!exe)
		return 0;
	key.dev = BPF_CORE_READ(exe, f_inode, i_sb, s_dev);
	key.ino = BPF_CORE_READ(exe, f_inode, i_ino);
	__u64 *mask = bpf_map_lookup_elem(&exes, &key);
	return mask ? *mask : 0;
}

/* Finds the scope of the current process: a row, SCOPE_DEFAULT, SCOPE_PENDING, or -1 for none. */
static __always_inline __s64 select_scope(struct config *cfg, struct task_struct *task, struct task_struct *leader, __u64 cgroup)
{
	__u64 match = cfg->rows;
	int pending = 0;
	struct marking *mark = bpf_task_storage_get(&marks, leader, 0, 0);
	int marked = mark && (mark->flags & (FLAG_LANGCHAIN | FLAG_DESCENDANT));

	if (!marked)
		match &= ~cfg->need_mark;
	if (match & cfg->need_cgroup) {
		struct cgroup_state *state = bpf_map_lookup_elem(&cgroups, &cgroup);
		if (!state)
			fail(ERR_UNKNOWN_CGROUP);
		pending = !state || state->pending;
		if (!pending)
			match &= state->mask | ~cfg->need_cgroup;
	}
	if (match & cfg->need_uid) {
		__u32 uid = bpf_get_current_uid_gid();
		__u64 *mask = bpf_map_lookup_elem(&uids, &uid);
		match &= (mask ? *mask : 0) | ~cfg->need_uid;
	}
	if (match & cfg->need_exe)
		match &= exe_mask(task) | ~cfg->need_exe;
	if (match) {
		__u32 row = lowest(match);
		/* The first match may hang on a cgroup that nobody has looked at yet: user space decides at accept. */
		if (pending && (cfg->need_cgroup >> (row & 63) & 1))
			return SCOPE_PENDING;
		return row;
	}
	return marked ? (__s64)SCOPE_DEFAULT : -1;
}

/* What the configuration wants of a scope. One that nobody has looked at yet is discovered, and fails as the strictest that it may
 * turn out to be. */
static __always_inline void wanted_of(struct config *cfg, __s64 scope, __u8 *mode, __u8 *closed)
{
	if (scope == SCOPE_DEFAULT) {
		*mode = cfg->default_mode;
		*closed = cfg->default_closed;
	} else if (scope == SCOPE_PENDING) {
		*mode = MODE_DISCOVER;
		*closed = cfg->pending_closed;
	} else {
		*mode = cfg->row[scope & 63].mode;
		*closed = cfg->row[scope & 63].closed;
	}
}

static __always_inline __u32 slot_of(__u32 scope)
{
	if (scope == SCOPE_DEFAULT)
		return SLOT_DEFAULT;
	if (scope == SCOPE_PENDING)
		return SLOT_PENDING;
	return scope & 63;
}

#endif
