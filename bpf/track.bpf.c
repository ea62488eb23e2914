// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//go:build ignore

/* Marks LangChain programs: an interpreter that opened a file of a LangChain package, and what it forked. */
#include "include/kernel.h"
#include "maps/flags.h"
#include "maps/counters.h"
#include "maps/events.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keeps the type in the BTF, from which the Go struct is made. */
const struct event *unused_event __attribute__((unused));

/* opening: the user pointer to the path of an open that is under way, kept with the thread, so that only an open that
 * succeeds counts. Written and read by these programs alone. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} opening SEC(".maps");

/* path: room for one path per CPU; a program is not preempted by itself. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, char[256]);
} path SEC(".maps");

static __always_inline __u32 *flags_of(struct task_struct *leader, int create)
{
	__u32 none = 0;
	return bpf_task_storage_get(&flags, leader, create ? &none : 0, create ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
}

/* Does a path lead through a folder langchain_NAME or @langchain? Both slashes must be there: a program that merely looks
 * for plug-ins opens langchain_core-1.2.3.dist-info/entry_points.txt. state: 0 not in such a name; 1 behind a slash;
 * 2..9 that many letters less one of "langchain" are read; 10 all of them; 11 behind "langchain_". */
static __always_inline int leads_through_langchain(const char *p, __u32 n)
{
	const char word[] = "langchain";
	__u32 state = 0, at = 0;

	for (int i = 0; i < 255; i++) {
		if (i >= n)
			break;
		char c = p[i];
		if (c == '/') {
			if (state == 11 || (state == 10 && at))
				return 1;
			state = 1;
			at = 0;
		} else if (state == 0) {
			continue;
		} else if (state == 1 && c == '@') {
			at = 1;
		} else if (state <= 9) {
			state = c == word[(state - 1) & 15] ? state + 1 : 0;
		} else if (state == 10) {
			state = c == '_' && !at ? 11 : 0;
		} else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) {
			state = 0;
		}
	}
	return 0;
}

static __always_inline void describe(struct event *e, __u32 kind, struct task_struct *leader, __u32 flag)
{
	e->kind = kind;
	e->tgid = BPF_CORE_READ(leader, tgid);
	e->start = BPF_CORE_READ(leader, start_boottime);
	e->uid = BPF_CORE_READ(leader, cred, uid.val);
	e->loginuid = bpf_core_field_exists(leader->loginuid) ? BPF_CORE_READ(leader, loginuid.val) : ~0u;
	e->cgroup = bpf_get_current_cgroup_id();
	e->flags = flag;
	e->pad = 0;
	bpf_probe_read_kernel(e->comm, sizeof(e->comm), leader->comm);
	__builtin_memset(e->path, 0, sizeof(e->path));
}

static __always_inline int begin(const void *user_path)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct *leader = task->group_leader;
	if (!leader)
		return 0;
	__u32 *flag = flags_of(leader, 0);
	if (!flag || !(*flag & FLAG_INTERPRETER) || (*flag & FLAG_LANGCHAIN))
		return 0;
	__u32 zero = 0;
	char *p = bpf_map_lookup_elem(&path, &zero);
	if (!p)
		return 0;
	long n = bpf_probe_read_user_str(p, 256, user_path);
	if (n <= 0) {
		fail(ERR_FAULT);
		return 0;
	}
	if (!leads_through_langchain(p, n))
		return 0;
	__u64 at = (__u64)user_path;
	__u64 *o = bpf_task_storage_get(&opening, task, &at, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (o)
		*o = at;
	else
		fail(ERR_MARK_FULL);
	return 0;
}

static __always_inline int end(long ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 *o = bpf_task_storage_get(&opening, task, 0, 0);
	if (!o || !*o)
		return 0;
	void *user_path = (void *)*o;
	*o = 0;
	if (ret < 0)
		return 0;
	struct task_struct *leader = task->group_leader;
	if (!leader)
		return 0;
	__u32 *flag = flags_of(leader, 0);
	if (!flag || (__sync_fetch_and_or(flag, FLAG_LANGCHAIN) & FLAG_LANGCHAIN))
		return 0;
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		fail(ERR_EVENT_LOST);
		return 0;
	}
	describe(e, EVENT_MARK, leader, FLAG_LANGCHAIN);
	bpf_probe_read_user_str(e->path, sizeof(e->path), user_path);
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int enter_openat(struct sys_enter_args *ctx)
{
	return begin((void *)ctx->args[1]);
}

SEC("tracepoint/syscalls/sys_exit_openat")
int exit_openat(struct sys_exit_args *ctx)
{
	return end(ctx->ret);
}

SEC("tracepoint/syscalls/sys_enter_openat2")
int enter_openat2(struct sys_enter_args *ctx)
{
	return begin((void *)ctx->args[1]);
}

SEC("tracepoint/syscalls/sys_exit_openat2")
int exit_openat2(struct sys_exit_args *ctx)
{
	return end(ctx->ret);
}

SEC("tracepoint/syscalls/sys_enter_open")
int enter_open(struct sys_enter_args *ctx)
{
	return begin((void *)ctx->args[0]);
}

SEC("tracepoint/syscalls/sys_exit_open")
int exit_open(struct sys_exit_args *ctx)
{
	return end(ctx->ret);
}

/* A child of a marked process is marked as a descendant; it keeps the parent's own mark until it executes something. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(forked, struct task_struct *parent, struct task_struct *child)
{
	if (parent->tgid == child->tgid)
		return 0;
	struct task_struct *leader = parent->group_leader;
	if (!leader)
		return 0;
	__u32 *flag = flags_of(leader, 0);
	if (!flag || !*flag)
		return 0;
	__u32 inherited = *flag;
	if (inherited & (FLAG_LANGCHAIN | FLAG_DESCENDANT))
		inherited |= FLAG_DESCENDANT;
	__u32 *mine = flags_of(child, 1);
	if (!mine) {
		fail(ERR_MARK_FULL);
		return 0;
	}
	*mine = inherited;
	return 0;
}

/* Is this the name of a program that runs scripts which may use LangChain? */
static __always_inline int runs_scripts(const char *n)
{
	if (n[0] == 'p' && n[1] == 'y' && n[2] == 't' && n[3] == 'h' && n[4] == 'o' && n[5] == 'n')
		return 1;
	if (n[0] == 'p' && n[1] == 'y' && n[2] == 'p' && n[3] == 'y')
		return 1;
	if (n[0] == 'n' && n[1] == 'o' && n[2] == 'd' && n[3] == 'e')
		return 1;
	if (n[0] == 'b' && n[1] == 'u' && n[2] == 'n' && !n[3])
		return 1;
	return n[0] == 'd' && n[1] == 'e' && n[2] == 'n' && n[3] == 'o' && !n[4];
}

/* Exec drops the LangChain mark, keeps the descendant's, and says anew whether this is an interpreter: by the name of the
 * file that runs in the end, so "#!" scripts count as their interpreter. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(executed, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	char name[16] = {};
	const unsigned char *from = BPF_CORE_READ(bprm, file, f_path.dentry, d_name.name);
	if (bpf_probe_read_kernel_str(name, sizeof(name), from) < 0)
		fail(ERR_FAULT);
	int interpreter = runs_scripts(name);
	struct task_struct *leader = task->group_leader;
	if (!leader)
		return 0;
	__u32 *flag = flags_of(leader, interpreter);
	if (!flag) {
		if (interpreter)
			fail(ERR_MARK_FULL);
		return 0;
	}
	*flag = (*flag & FLAG_DESCENDANT) | (interpreter ? FLAG_INTERPRETER : 0);
	return 0;
}
