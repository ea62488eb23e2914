/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The iterator over open files, and what older.bpf.c writes of them. */
#ifndef SALLYPORT_HELD_H
#define SALLYPORT_HELD_H
#include "kernel.h"
#include "sock.h"

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpadded"
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct socket {
	struct sock *sk;
};
struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
};
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

#pragma clang attribute pop
#pragma clang diagnostic pop

/* A TCP connection that a process holds open, one for each descriptor. Addresses as in struct conn, ports in host order. */
struct held_socket {
	__u64 cookie;
	__u64 netns; /* cookie */
	__u64 start; /* start_boottime of the thread group leader, ns */
	__u8 local[16];
	__u8 remote[16];
	__u32 netns_inode;
	__u32 tgid;
	__u32 fd;
	__u16 local_port;
	__u16 remote_port;
	__u16 family;
	__u8 redirected;
	__u8 pad[5];
};

#endif
