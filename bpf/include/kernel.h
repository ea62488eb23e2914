/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The few kernel types that our programs look into. Only names matter: offsets are relocated at load time from the
 * running kernel's BTF (preserve_access_index), so no generated header of one kernel is needed. */
#ifndef SALLYPORT_KERNEL_H
#define SALLYPORT_KERNEL_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_MPTCP 262
#define ECONNREFUSED 111
#define EEXIST 17

/* These are never laid out by us, so their padding means nothing. */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpadded"
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct qstr {
	const unsigned char *name;
};
struct dentry {
	struct qstr d_name;
};
struct path {
	struct dentry *dentry;
};
typedef struct {
	__u8 b[16];
} uuid_t;
struct super_block {
	__u32 s_dev;
	uuid_t s_uuid;
};
struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
};
struct file {
	struct path f_path;
	struct inode *f_inode;
};
struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};
struct files_struct {
	struct fdtable *fdt;
};
struct mm_struct {
	struct file *exe_file;
};
typedef struct {
	__u32 val;
} kuid_t;
struct cred {
	kuid_t uid;
};
struct task_struct {
	int pid;
	int tgid;
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct mm_struct *mm;
	struct files_struct *files;
	const struct cred *cred;
	kuid_t loginuid;
	char comm[16];
};
struct linux_binprm {
	struct file *file;
};
struct kernfs_node {
	__u64 id;
};
struct cgroup_root {
	int hierarchy_id;
};
struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
};
struct tcp_sock {
	__u32 write_seq;
};

#pragma clang attribute pop
#pragma clang diagnostic pop

/* Stable since the tracepoint exists: /sys/kernel/tracing/events/syscalls/sys_enter_openat/format. */
struct sys_enter_args {
	__u64 common;
	long id;
	unsigned long args[6];
};
struct sys_exit_args {
	__u64 common;
	long id;
	long ret;
};

#endif
