// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//go:build ignore

/* Tells of processes of a scope that come to run in a network namespace without a listener of ours, before they connect: when
 * they execute a program, and when they enter or make a namespace. */
#include "include/kernel.h"
#include "include/netns.h"
#include "include/select.h"
#include "maps/asks.h"
#include "maps/served.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set at load: as in track.bpf.c. */
volatile const __u64 within = 0;
volatile const __u32 within_level = 0;

/* Keeps the type in the BTF, from which the Go struct is made. */
const struct ask *unused_ask __attribute__((unused));

static __always_inline int consider(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct___netns *t = (void *)task;
	__u64 netns = BPF_CORE_READ(t, nsproxy, net_ns, net_cookie);
	if (!netns || bpf_map_lookup_elem(&served, &netns))
		return 0;
	if (within && bpf_get_current_ancestor_cgroup_id(within_level) != within)
		return 0;
	struct config *cfg = config();
	if (!cfg)
		return 0;
	struct task_struct *leader = task->group_leader;
	if (!leader)
		return 0;
	__s64 scope = select_scope(cfg, task, leader, bpf_get_current_cgroup_id());
	if (scope < 0 || (scope == SCOPE_DEFAULT && cfg->default_mode == MODE_OFF) || (scope < MAX_SCOPES && cfg->row[scope & 63].mode == MODE_OFF))
		return 0;
	__u64 id = bpf_get_current_pid_tgid();
	ask(netns, id >> 32, id, scope == SCOPE_PENDING ? ASK_PENDING : ASK_SCOPE);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(executed_netns)
{
	return consider();
}

SEC("tracepoint/syscalls/sys_exit_setns")
int exit_setns(struct sys_exit_args *ctx)
{
	return ctx->ret < 0 ? 0 : consider();
}

SEC("tracepoint/syscalls/sys_exit_unshare")
int exit_unshare(struct sys_exit_args *ctx)
{
	return ctx->ret < 0 ? 0 : consider();
}
