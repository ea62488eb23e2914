// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//go:build ignore

/* Lists the TCP connections to captured ports that processes hold open, in every network namespace: those that are older
 * than what would redirect them. */
#include "include/kernel.h"
#include "include/held.h"
#include "maps/origins.h"
#include "maps/ports.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keeps the type in the BTF, from which the Go struct is made. */
const struct held_socket *unused_socket __attribute__((unused));

#define RCV_SHUTDOWN 1

/* Can bytes still go, one way or the other, or will they soon? */
static __always_inline int open_still(struct sock *sk)
{
	switch (BPF_CORE_READ(sk, __sk_common.skc_state)) {
	case BPF_TCP_SYN_SENT:
	case BPF_TCP_ESTABLISHED:
	case BPF_TCP_CLOSE_WAIT:
		return 1;
	case BPF_TCP_FIN_WAIT1:
	case BPF_TCP_FIN_WAIT2: /* it has said all, and still reads the answer; cut by us it does neither */
		return !(BPF_CORE_READ(sk, sk_shutdown) & RCV_SHUTDOWN);
	}
	return 0;
}

SEC("iter/task_file")
int held_sockets(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct task_struct *task = ctx->task;
	if (!file || !task)
		return 0;
	struct socket *socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	struct sock *sk = socket->sk;
	if (!sk)
		return 0;
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family), protocol = BPF_CORE_READ(sk, sk_protocol);
	if ((family != AF_INET && family != AF_INET6) || (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP) || !open_still(sk))
		return 0;
	__u16 port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (!bpf_map_lookup_elem(&ports, &port))
		return 0;

	struct held_socket s = {.family = family, .remote_port = port, .fd = ctx->fd};
	struct task_struct *leader = task->group_leader;
	s.tgid = task->tgid;
	s.start = BPF_CORE_READ(leader, start_boottime);
	s.cookie = bpf_get_socket_cookie(sk);
	s.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie);
	s.netns_inode = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	s.local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	s.redirected = !!bpf_sk_storage_get(&origins, sk, 0, 0);
	if (family == AF_INET) {
		BPF_CORE_READ_INTO((__u32 *)s.local, sk, __sk_common.skc_rcv_saddr);
		BPF_CORE_READ_INTO((__u32 *)s.remote, sk, __sk_common.skc_daddr);
	} else {
		BPF_CORE_READ_INTO((struct in6_addr *)s.local, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO((struct in6_addr *)s.remote, sk, __sk_common.skc_v6_daddr);
	}
	bpf_seq_write(ctx->meta->seq, &s, sizeof(s));
	return 0;
}
