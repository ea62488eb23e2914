// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//go:build ignore

/* Marks LangChain programs: an interpreter that opened a file of a LangChain package, and what it forked. Notes which of the
 * trust stores that hold our roots a program has opened. */
#include "include/kernel.h"
#include "maps/cgroups.h"
#include "maps/errors.h"
#include "maps/events.h"
#include "maps/marks.h"
#include "maps/opening.h"
#include "maps/opens.h"
#include "maps/path.h"
#include "maps/sets.h"
#include "maps/shakes.h"
#include "maps/stores.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set at load: only marks of processes in this cgroup, at this depth below the root, are told; 0 = of all. */
volatile const __u64 within = 0;
volatile const __u32 within_level = 0;

/* Keeps the type in the BTF, from which the Go struct is made. */
const struct event *unused_event __attribute__((unused));
const struct root_set *unused_root_set __attribute__((unused));

static __always_inline struct marking *marks_of(struct task_struct *leader, int create)
{
	struct marking none = {};
	return bpf_task_storage_get(&marks, leader, create ? &none : 0, create ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
}

#define PACKAGES 0x7061636b61676573ull /* "packages": site-packages, dist-packages */
#define MODULES 0x5f6d6f64756c6573ull  /* "_modules": node_modules */

struct scan {
	const char *path;
	__u32 length;
	__u32 start;    /* of the name that is being read */
	__u32 odd;      /* it holds a dot or a dash */
	__u32 packaged; /* it stands in a folder of packages */
	__u64 last;     /* its last eight letters */
	__u64 found;
};

/* Is this the name of a LangChain package's folder? langchain_NAME, @langchain, or a plain langchain in a folder of
 * packages: people call their own projects that. */
static __always_inline int is_langchain(const char *name, __u32 length, __u32 odd, __u32 packaged)
{
	const char word[] = "langchain";
	__u32 at = name[0] == '@';

	for (__u32 i = 0; i < sizeof(word) - 1; i++)
		if (name[at + i] != word[i])
			return 0;
	if (at)
		return length == sizeof(word);
	return length == sizeof(word) - 1 ? packaged : name[sizeof(word) - 1] == '_' && !odd;
}

/* Looks at one letter. A name counts when the slash behind it is read: a program that merely looks for plug-ins opens
 * langchain_core-1.2.3.dist-info/entry_points.txt. */
static long letter(__u64 i, struct scan *s)
{
	if (i >= s->length || i >= PATH_TEXT)
		return 1;
	char c = s->path[i];
	if (c != '/') {
		s->odd |= c == '.' || c == '-';
		s->last = s->last << 8 | (__u8)c;
		return 0;
	}
	__u32 start = s->start;
	if (start < PATH_TEXT && is_langchain(s->path + start, i - start, s->odd, s->packaged)) {
		s->found = 1;
		return 1;
	}
	s->packaged = s->last == PACKAGES || s->last == MODULES;
	s->start = i + 1;
	s->odd = 0;
	s->last = 0;
	return 0;
}

static __always_inline int leads_through_langchain(const char *path, __u32 length)
{
	struct scan s = {.path = path, .length = length};
	bpf_loop(PATH_TEXT, letter, &s, 0);
	return s.found;
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

/* The path at a user address: 1 a LangChain path, 0 another one, -1 not readable now. */
static __always_inline int judge(const void *user_path)
{
	__u32 zero = 0;
	struct path_text *p = bpf_map_lookup_elem(&path, &zero);
	if (!p)
		return 0;
	long n = bpf_probe_read_user_str(p->text, sizeof(p->text), user_path);
	if (n <= 0)
		return -1;
	return leads_through_langchain(p->text, n);
}

static __always_inline int begin(const void *user_path)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct *leader = task->group_leader;
	if (!leader)
		return 0;
	struct marking *mark = marks_of(leader, 0);
	if (!mark || !(mark->flags & (FLAG_INTERPRETER | FLAG_WATCHED)))
		return 0;
	struct open_at at = {.path = (__u64)user_path, .why = WHY_STORE};
	/* A path that is not in memory yet is looked at again when the open has read it. */
	if ((mark->flags & (FLAG_INTERPRETER | FLAG_LANGCHAIN)) == FLAG_INTERPRETER && judge(user_path))
		at.why |= WHY_PATH;
	struct open_at *o = bpf_task_storage_get(&opening, task, &at, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (o)
		*o = at;
	else
		fail(ERR_MARK_FULL);
	return 0;
}

/* Notes that a process has opened a covered store. Two threads that do so at once may lose one of the two notes. */
static __always_inline void note(struct task_struct *leader, const struct store_key *key, __u64 set)
{
	struct store_opens none = {};
	struct store_opens *o = bpf_task_storage_get(&opens, leader, &none, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!o) {
		fail(ERR_MARK_FULL);
		return;
	}
	for (__u32 i = 0; i < OPENED; i++)
		if (o->of[i].file.dev == key->dev && o->of[i].file.ino == key->ino && o->of[i].set == set)
			return;
	o->start = BPF_CORE_READ(leader, start_boottime);
	__u32 at = o->n % OPENED;
	o->n++;
	o->of[at].file = *key;
	o->of[at].set = set;
	o->of[at].ns = bpf_ktime_get_boot_ns();
}

/* Is the file of this descriptor a covered store? */
static __always_inline void compare(struct task_struct *task, struct task_struct *leader, long fd)
{
	struct file **table = BPF_CORE_READ(task, files, fdt, fd), *file = 0;
	if (bpf_probe_read_kernel(&file, sizeof(file), table + fd))
		return;
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct super_block *sb = BPF_CORE_READ(inode, i_sb);
	struct store_key key = {.dev = BPF_CORE_READ(sb, s_dev)};
	struct store *s = bpf_map_lookup_elem(&stores, &key);
	if (s && s->fsid) {
		__u64 uuid[2] = {};
		bpf_core_read(uuid, sizeof(uuid), &sb->s_uuid);
		if ((uuid[0] ^ uuid[1]) != s->fsid)
			s = 0;
	}
	if (!s) {
		key.ino = BPF_CORE_READ(inode, i_ino);
		s = bpf_map_lookup_elem(&stores, &key);
	}
	if (s)
		note(leader, &key, s->set);
}

static __always_inline int end(long ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct open_at *o = bpf_task_storage_get(&opening, task, 0, 0);
	if (!o || !o->why)
		return 0;
	void *user_path = (void *)o->path;
	__u64 why = o->why;
	o->why = 0;
	struct task_struct *leader = task->group_leader;
	if (ret < 0 || !leader)
		return 0;
	compare(task, leader, ret);
	if (!(why & WHY_PATH))
		return 0;
	int is = judge(user_path);
	if (is < 0)
		fail(ERR_FAULT);
	if (is <= 0)
		return 0;
	struct marking *mark = marks_of(leader, 0);
	if (!mark)
		return 0;
	mark->start = BPF_CORE_READ(leader, start_boottime);
	if (__sync_fetch_and_or(&mark->flags, FLAG_LANGCHAIN) & FLAG_LANGCHAIN)
		return 0;
	if (within && bpf_get_current_ancestor_cgroup_id(within_level) != within)
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

/* A child holds what its parent has read of trust stores, and so trusts and distrusts what that does. */
static __always_inline void inherit(struct task_struct *leader, struct task_struct *child)
{
	struct store_opens *o = bpf_task_storage_get(&opens, leader, 0, 0);
	if (o) {
		struct store_opens *mine = bpf_task_storage_get(&opens, child, o, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (mine)
			mine->start = BPF_CORE_READ(child, start_boottime);
		else
			fail(ERR_MARK_FULL);
	}
	struct shaken *s = bpf_task_storage_get(&shakes, leader, 0, 0);
	if (s && !bpf_task_storage_get(&shakes, child, s, BPF_LOCAL_STORAGE_GET_F_CREATE))
		fail(ERR_MARK_FULL);
}

/* A child of a marked process is marked as a descendant; it keeps the parent's own mark until it executes something. A new
 * thread of a descendant carries the mark too: when a thread other than the leader executes a program, it becomes the
 * leader, and what the old one carried is gone. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(forked, struct task_struct *parent, struct task_struct *child)
{
	struct task_struct *leader = parent->group_leader;
	if (!leader)
		return 0;
	struct marking *mark = marks_of(leader, 0);
	if (!mark || !mark->flags)
		return 0;
	__u32 inherited = mark->flags;
	if (parent->tgid == child->tgid) {
		inherited &= FLAG_DESCENDANT | FLAG_WATCHED;
		if (!inherited)
			return 0;
	} else {
		inherit(leader, child);
		if (inherited & (FLAG_LANGCHAIN | FLAG_DESCENDANT))
			inherited |= FLAG_DESCENDANT;
	}
	struct marking *mine = marks_of(child, 1);
	if (!mine) {
		fail(ERR_MARK_FULL);
		return 0;
	}
	mine->start = BPF_CORE_READ(child, start_boottime);
	mine->flags = inherited;
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

static __always_inline int is_java(const char *n)
{
	return n[0] == 'j' && n[1] == 'a' && n[2] == 'v' && n[3] == 'a' && !n[4];
}

/* Tells of a program that reads trust stores and may be in a scope, before it reads them. */
static __always_inline void started(struct task_struct *leader, int watched)
{
	if (within && bpf_get_current_ancestor_cgroup_id(within_level) != within)
		return;
	__u64 id = bpf_get_current_cgroup_id();
	struct cgroup_state *c = bpf_map_lookup_elem(&cgroups, &id);
	if (!watched && c && !c->mask && !c->pending)
		return;
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return; /* its first LangChain file, or its first connection, tells of it again */
	describe(e, EVENT_START, leader, 0);
	bpf_ringbuf_submit(e, 0);
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
	int interpreter = runs_scripts(name), java = is_java(name);
	struct task_struct *leader = task->group_leader;
	if (!leader)
		return 0;
	/* Fails if there are none, and need not be told of. */
	bpf_task_storage_delete(&opens, leader);
	bpf_task_storage_delete(&shakes, leader);
	struct marking *mark = marks_of(leader, interpreter || java);
	if (!mark) {
		if (interpreter || java)
			fail(ERR_MARK_FULL);
		return 0;
	}
	int watched = mark->flags & FLAG_WATCHED;
	mark->start = BPF_CORE_READ(leader, start_boottime);
	mark->flags = (mark->flags & (FLAG_DESCENDANT | FLAG_WATCHED)) | (interpreter ? FLAG_INTERPRETER : 0) | (java ? FLAG_WATCHED : 0);
	if (interpreter || java || watched)
		started(leader, watched);
	return 0;
}
