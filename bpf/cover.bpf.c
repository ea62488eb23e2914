// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//go:build ignore

/* Counts every connection as it sets out, by a way of its own: a tracepoint of the TCP stack, which knows nothing of cgroup programs
 * and cannot be missed by them. What the other programs say that they did is held against it in user space. */
#include "include/kernel.h"
#include "include/cover.h"
#include "include/select.h"
#include "include/sock.h"
#include "include/destination.h"
#include "maps/configs.h"
#include "maps/counting.h"
#include "maps/cover.h"
#include "maps/decided.h"
#include "maps/exempt.h"
#include "maps/origins.h"
#include "maps/ports.h"
#include "maps/told.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set at load: only processes in this cgroup, at this depth below the root, are looked at; 0 = all. */
volatile const __u64 within = 0;
volatile const __u32 within_level = 0;
volatile const __u32 generation = 0;

/* Keeps the map in the object, for user space. */
void *unused_told __attribute__((unused)) = &told;

#define COUNT(row, what) do { struct cover_row *r_ = (row); if (r_) __sync_fetch_and_add(&r_->what, 1); } while (0)

/* How young an address may be for a process that nobody selects to have missed it: its answer may have come between connect and here. */
#define JUST_LEARNED_NS 1000000000ull

static __always_inline int is_proxy(struct config *cfg, struct learned_key *k, __u16 port)
{
	if (k->family == AF_INET)
		return cfg->port4 && port == cfg->port4 && !__builtin_memcmp(k->addr, cfg->proxy4, 4);
	return cfg->port6 && port == cfg->port6 && !__builtin_memcmp(k->addr, cfg->proxy6, 16);
}

/* Nobody of ours decided on this connection to an endpoint. */
static __always_inline void tell(struct config *cfg, struct learned_key *k, __u16 port, struct place *known, __u64 cgroup)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct *leader = task->group_leader;
	if (!leader)
		return;
	__s64 scope = select_scope(cfg, task, leader, cgroup);
	__u64 now = bpf_ktime_get_boot_ns();
	if (scope < 0) {
		if (known->since + JUST_LEARNED_NS > now)
			return;
		scope = SCOPE_DEFAULT;
	}
	__u8 mode, closed;
	wanted_of(cfg, scope, &mode, &closed);
	struct cover_row *row = cover_of(cgroup, slot_of(scope));
	if (mode == MODE_OFF) {
		COUNT(row, off);
		return;
	}
	if (!row)
		return;
	__sync_fetch_and_add(&row->direct, 1);
	row->at = now;
	__builtin_memcpy(row->addr, k->addr, 16);
	row->family = k->family;
	row->port = port;
	row->tgid = bpf_get_current_pid_tgid() >> 32;
	row->uid = bpf_get_current_uid_gid();
	bpf_probe_read_kernel(row->comm, sizeof(row->comm), leader->comm);
}

/* A socket sets out: the process that connects is the current one. */
static __always_inline void sets_out(struct sock *sk)
{
	struct config *cfg = config();
	if (!cfg)
		return;
	__u16 port = bpf_ntohs(sk->__sk_common.skc_dport);
	__u8 *captured = bpf_map_lookup_elem(&ports, &port);
	__u8 flags = captured ? *captured : 0;
	if (port != cfg->port4 && port != cfg->port6 && !(flags & (PORT_NAMED | PORT_LITERAL)))
		return;
	struct learned_key k = {};
	k.family = sk->__sk_common.skc_family;
	if (k.family == AF_INET) {
		__u32 a = sk->__sk_common.skc_daddr;
		__builtin_memcpy(k.addr, &a, 4);
	} else if (k.family == AF_INET6) {
		struct in6_addr a = sk->__sk_common.skc_v6_daddr;
		__builtin_memcpy(k.addr, &a, 16);
		unmap(&k);
	} else {
		return;
	}
	if (is_proxy(cfg, &k, port)) {
		struct origin *o = bpf_sk_storage_get(&origins, sk, 0, 0);
		if (o)
			COUNT(cover_of(o->conn.cgroup, slot_of(o->conn.scope)), redirected);
		return;
	}
	__u64 cgroup = bpf_get_current_cgroup_id();
	if (bpf_map_lookup_elem(&exempt, &cgroup))
		return;
	if (within && bpf_get_current_ancestor_cgroup_id(within_level) != within)
		return;
	k.netns = sk->__sk_common.skc_net.net->net_cookie;
	struct place *known = endpoint_at(&k, port, flags, 0);
	if (!known)
		return;
	struct decided *d = bpf_sk_storage_get(&decided, sk, 0, 0);
	if (!d) {
		tell(cfg, &k, port, known, cgroup);
		return;
	}
	struct cover_row *row = cover_of(cgroup, d->slot);
	switch (d->decision) {
	case DECIDED_BYPASS:
		COUNT(row, bypassed);
		break;
	case DECIDED_OPEN:
		COUNT(row, opened);
		break;
	default:
		COUNT(row, off);
	}
	bpf_sk_storage_delete(&decided, sk); /* it says nothing about the next try */
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(set_state, struct sock *sk, int before, int after)
{
	if ((before != BPF_TCP_SYN_SENT && after != BPF_TCP_SYN_SENT) || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	__u32 zero = 0;
	__u32 *now = bpf_map_lookup_elem(&counting, &zero);
	if (!now || *now != generation)
		return 0;
	if (after == BPF_TCP_SYN_SENT) {
		sets_out(sk);
	} else if (after == BPF_TCP_CLOSE && before == BPF_TCP_SYN_SENT) {
		struct origin *o = bpf_sk_storage_get(&origins, sk, 0, 0);
		if (o && !o->published) /* there was no port left, perhaps: it never left */
			COUNT(cover_of(o->conn.cgroup, slot_of(o->conn.scope)), withdrawn);
	}
	return 0;
}
