// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//go:build ignore

/* Tells user space of programs that start, for it to find out which of them are LangChain programs that open no file of a
 * LangChain package: archives, bundles, Go programs. What it found out about an executable is remembered here. */
#include "include/kernel.h"
#include "include/exec.h"
#include "maps/execs.h"
#include "maps/marks.h"
#include "maps/verdicts.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set at load: only processes in this cgroup, at this depth below the root, are told of; 0 = all. */
volatile const __u64 within = 0;
volatile const __u32 within_level = 0;

/* Set at load: verdicts of other rules do not count. */
volatile const __u32 rules = 0;

/* Keeps the type in the BTF, from which the Go struct is made. */
const struct exec_event *unused_exec_event __attribute__((unused));

#define NS 1000000000ull
#define QUERIED (1u << 31) /* since 6.13 a bit of the nanoseconds says that somebody has read them */

static __always_inline __u64 changed(struct inode *inode)
{
	struct inode___split *split = (void *)inode;
	struct inode___whole *whole = (void *)inode;
	struct inode___plain *plain = (void *)inode;
	if (bpf_core_field_exists(split->i_ctime_sec))
		return BPF_CORE_READ(split, i_ctime_sec) * NS + (BPF_CORE_READ(split, i_ctime_nsec) & ~QUERIED);
	if (bpf_core_field_exists(whole->__i_ctime))
		return BPF_CORE_READ(whole, __i_ctime.tv_sec) * NS + BPF_CORE_READ(whole, __i_ctime.tv_nsec);
	if (bpf_core_field_exists(plain->i_ctime))
		return BPF_CORE_READ(plain, i_ctime.tv_sec) * NS + BPF_CORE_READ(plain, i_ctime.tv_nsec);
	return 0;
}

/* Runs behind track.bpf.c's program at the same place, which is attached first and drops the marks of what ran before. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_seen, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	if (within && bpf_get_current_ancestor_cgroup_id(within_level) != within)
		return 0;
	struct task_struct *leader = task->group_leader;
	struct inode *inode = BPF_CORE_READ(bprm, file, f_inode);
	if (!leader || !inode)
		return 0;
	struct executable file = {.ino = BPF_CORE_READ(inode, i_ino), .dev = BPF_CORE_READ(inode, i_sb, s_dev), .changed = changed(inode)};
	file.size = BPF_CORE_READ((struct inode___size *)inode, i_size);
	if (file.changed) {
		__u32 *v = bpf_map_lookup_elem(&verdicts, &file);
		if (v && *v == (rules << 8 | VERDICT_NOTHING))
			return 0;
		if (v && *v == (rules << 8 | VERDICT_LANGCHAIN)) {
			struct marking *mark = bpf_task_storage_get(&marks, leader, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
			if (mark) {
				mark->start = BPF_CORE_READ(leader, start_boottime);
				__sync_fetch_and_or(&mark->flags, FLAG_LANGCHAIN);
			}
		}
	}
	struct exec_event *e = bpf_ringbuf_reserve(&execs, sizeof(*e), 0);
	if (!e) {
		__u32 slot = TALLY_LOST;
		__u64 *n = bpf_map_lookup_elem(&tally, &slot);
		if (n)
			__sync_fetch_and_add(n, 1);
		return 0;
	}
	e->file = file;
	e->tgid = BPF_CORE_READ(leader, tgid);
	e->start = BPF_CORE_READ(leader, start_boottime);
	e->pad = 0;
	bpf_ringbuf_submit(e, 0);
	return 0;
}
