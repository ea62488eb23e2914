// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//go:build ignore

/* Redirects the connections of selected processes to the proxy and remembers where they wanted to go. */
#include "include/kernel.h"
#include "include/cover.h"
#include "include/destination.h"
#include "include/select.h"
#include "include/udp.h"
#include "maps/asks.h"
#include "maps/bypass.h"
#include "maps/cgroups.h"
#include "maps/configs.h"
#include "maps/conns.h"
#include "maps/cover.h"
#include "maps/decided.h"
#include "maps/errors.h"
#include "maps/exempt.h"
#include "maps/exes.h"
#include "maps/marks.h"
#include "maps/heartbeat.h"
#include "maps/listeners.h"
#include "maps/names.h"
#include "maps/origins.h"
#include "maps/ports.h"
#include "maps/pressure.h"
#include "maps/quarantine.h"
#include "maps/scopes.h"
#include "maps/uids.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Set at load: tells which agent's program redirected a connection. */
volatile const __u32 generation = 0;

/* The verifier takes 4-byte reads of the context only; without volatile, clang joins two. */
#define READ(x) (*(volatile __u32 *)&(x))

#define LISTENER_TAG 0x53414c4c59504f52ull /* "SALLYPOR" */

/* Is our own agent listening, and alive? */
static __always_inline int alive(struct bpf_sock_addr *ctx, struct config *cfg, int v6)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;

	if (v6) {
		if (!cfg->port6)
			goto nobody;
		__builtin_memcpy(tuple.ipv6.daddr, cfg->proxy6, 16);
		tuple.ipv6.dport = bpf_htons(cfg->port6);
		sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		if (!cfg->port4)
			goto nobody;
		__builtin_memcpy(&tuple.ipv4.daddr, cfg->proxy4, 4);
		tuple.ipv4.dport = bpf_htons(cfg->port4);
		sk = bpf_sk_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		goto nobody;
	int listens = sk->state == BPF_TCP_LISTEN;
	__u64 *tag = bpf_sk_storage_get(&listeners, sk, 0, 0);
	int ours = tag && *tag == LISTENER_TAG;
	bpf_sk_release(sk);
	if (!listens)
		goto nobody;
	if (!ours) {
		fail(ERR_FOREIGN_LISTENER);
		return 0;
	}
	__u32 zero = 0;
	struct beat *beat = bpf_map_lookup_elem(&heartbeat, &zero);
	__u64 now = bpf_ktime_get_ns();
	if (!beat || !beat->ns || (now > beat->ns && now - beat->ns > cfg->stale_ns)) {
		fail(ERR_STALE_HEARTBEAT);
		return 0;
	}
	return 1;
nobody:
	fail(ERR_NO_LISTENER);
	__u64 id = bpf_get_current_pid_tgid();
	ask(bpf_get_netns_cookie(ctx), id >> 32, id, ASK_CONNECT);
	return 0;
}

/* Did a record find no room just now? */
static __always_inline int full(void)
{
	__u32 zero = 0;
	__u64 *since = bpf_map_lookup_elem(&pressure, &zero);
	return since && *since && bpf_ktime_get_ns() - *since < STALE_FULL_NS;
}

static __always_inline int refuse_or_open(struct scope_counters *n, int closed, struct bpf_sock *sk, __u32 slot)
{
	if (!closed) {
		if (n)
			__sync_fetch_and_add(&n->opened, 1);
		decide(sk, slot, DECIDED_OPEN);
		return 1;
	}
	if (n)
		__sync_fetch_and_add(&n->refused, 1);
	bpf_set_retval(-ECONNREFUSED);
	return 0;
}

/* In quarantine: whatever the protocol, the port and the destination. */
static __always_inline int cut_off(void)
{
	if (!quarantined())
		return 0;
	bpf_set_retval(-ECONNREFUSED);
	return 1;
}

static __always_inline int redirect(struct bpf_sock_addr *ctx, int v6)
{
	if (cut_off())
		return 0;
	if (ctx->protocol == IPPROTO_UDP)
		return datagram(ctx, v6);
	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_MPTCP)
		return 1;
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return 1;
	/* A socket that connects again does not keep the destination of its first try. */
	bpf_sk_storage_delete(&origins, sk);

	__u16 port = bpf_ntohs(ctx->user_port);
	__u8 *flags = bpf_map_lookup_elem(&ports, &port);
	if (!flags)
		return 1;
	__u64 cgroup = bpf_get_current_cgroup_id();
	if (bpf_map_lookup_elem(&exempt, &cgroup))
		return 1;
	struct config *cfg = config();
	if (!cfg) {
		fail(ERR_NO_CONFIG);
		return 1;
	}
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct *leader = task->group_leader;
	if (!leader)
		return 1;
	__s64 scope = select_scope(cfg, task, leader, cgroup);
	if (scope < 0) {
		if (!by_destination(ctx, cfg, v6, port, *flags))
			return 1;
		scope = SCOPE_DEFAULT;
	}
	__u8 mode, closed;
	wanted_of(cfg, scope, &mode, &closed);
	__u32 slot = slot_of(scope);
	struct scope_counters *n = bpf_map_lookup_elem(&scopes, &slot);
	if (n)
		__sync_fetch_and_add(&n->seen, 1);
	if (mode == MODE_OFF) {
		decide(sk, slot, DECIDED_OFF);
		return 1;
	}
	__u64 *until = bpf_map_lookup_elem(&bypass, &slot);
	if (until && *until && *until > bpf_ktime_get_boot_ns()) {
		if (n)
			__sync_fetch_and_add(&n->bypassed, 1);
		decide(sk, slot, DECIDED_BYPASS);
		return 1;
	}

	__u32 a0 = 0, a1 = 0, a2 = 0, a3 = 0;
	int mapped = 0;
	if (v6) {
		a0 = ctx->user_ip6[0];
		a1 = ctx->user_ip6[1];
		a2 = ctx->user_ip6[2];
		a3 = ctx->user_ip6[3];
		mapped = !a0 && !a1 && a2 == bpf_htonl(0xffff);
	}
	if (!alive(ctx, cfg, v6 && !mapped))
		return refuse_or_open(n, closed, sk, slot);
	if (full()) {
		fail(ERR_RECORD_FULL);
		return refuse_or_open(n, closed, sk, slot);
	}

	struct origin *o = bpf_sk_storage_get(&origins, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!o) {
		fail(ERR_ORIGIN_FULL);
		return refuse_or_open(n, closed, sk, slot);
	}
	__builtin_memset(o, 0, sizeof(*o));
	struct conn *c = &o->conn;
	if (!v6) {
		__u32 a = ctx->user_ip4;
		__builtin_memcpy(c->addr, &a, 4);
		c->family = AF_INET;
	} else if (mapped) {
		__builtin_memcpy(c->addr, &a3, 4);
		c->family = AF_INET;
	} else {
		__builtin_memcpy(c->addr, &a0, 4);
		__builtin_memcpy(c->addr + 4, &a1, 4);
		__builtin_memcpy(c->addr + 8, &a2, 4);
		__builtin_memcpy(c->addr + 12, &a3, 4);
		c->family = AF_INET6;
	}
	c->port = port;
	c->tgid = bpf_get_current_pid_tgid() >> 32;
	c->start = BPF_CORE_READ(leader, start_boottime);
	c->uid = bpf_get_current_uid_gid();
	c->loginuid = bpf_core_field_exists(leader->loginuid) ? BPF_CORE_READ(leader, loginuid.val) : ~0u;
	c->cgroup = cgroup;
	c->netns = bpf_get_netns_cookie(ctx);
	c->cookie = bpf_get_socket_cookie(ctx);
	c->scope = scope;
	c->generation = generation;
	bpf_probe_read_kernel(c->comm, sizeof(c->comm), leader->comm);

	if (!v6) {
		__u32 a;
		__builtin_memcpy(&a, cfg->proxy4, 4);
		ctx->user_ip4 = a;
		ctx->user_port = bpf_htons(cfg->port4);
	} else if (mapped) {
		__u32 a;
		__builtin_memcpy(&a, cfg->proxy4, 4);
		ctx->user_ip6[3] = a;
		ctx->user_port = bpf_htons(cfg->port4);
	} else {
		__u32 a[4];
		__builtin_memcpy(a, cfg->proxy6, 16);
		ctx->user_ip6[0] = a[0];
		ctx->user_ip6[1] = a[1];
		ctx->user_ip6[2] = a[2];
		ctx->user_ip6[3] = a[3];
		ctx->user_port = bpf_htons(cfg->port6);
	}
	if (n)
		__sync_fetch_and_add(&n->redirected, 1);
	return 1;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return redirect(ctx, 0);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return redirect(ctx, 1);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	if (cut_off())
		return 0;
	return ctx->protocol == IPPROTO_UDP ? datagram(ctx, 0) : 1;
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	if (cut_off())
		return 0;
	return ctx->protocol == IPPROTO_UDP ? datagram(ctx, 1) : 1;
}

/* The application sees the peer that it asked for. */
SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct origin *o = sk ? bpf_sk_storage_get(&origins, sk, 0, 0) : 0;
	if (!o || o->conn.family != AF_INET)
		return 1;
	__u32 a;
	__builtin_memcpy(&a, o->conn.addr, 4);
	ctx->user_ip4 = a;
	ctx->user_port = bpf_htons(o->conn.port);
	return 1;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct origin *o = sk ? bpf_sk_storage_get(&origins, sk, 0, 0) : 0;
	if (!o)
		return 1;
	__u32 a[4];
	__builtin_memcpy(a, o->conn.addr, 16);
	if (o->conn.family == AF_INET) { /* a mapped address: ::ffff:a.b.c.d */
		ctx->user_ip6[0] = 0;
		ctx->user_ip6[1] = 0;
		ctx->user_ip6[2] = bpf_htonl(0xffff);
		ctx->user_ip6[3] = a[0];
	} else {
		ctx->user_ip6[0] = a[0];
		ctx->user_ip6[1] = a[1];
		ctx->user_ip6[2] = a[2];
		ctx->user_ip6[3] = a[3];
	}
	ctx->user_port = bpf_htons(o->conn.port);
	return 1;
}

static __always_inline void unpublished(struct conn *c)
{
	struct cover_row *row = cover_of(c->cgroup, slot_of(c->scope));
	if (row)
		__sync_fetch_and_add(&row->unpublished, 1);
}

static __always_inline void publish(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct origin *o = bpf_sk_storage_get(&origins, sk, 0, 0);
	if (!o || o->published)
		return;
	struct flow_key *k = &o->key;
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp)
		return;
	k->isn = tcp->write_seq; /* chosen, not yet sent */
	k->netns = bpf_get_netns_cookie(ctx);
	k->client_port = ctx->local_port;
	k->proxy_port = bpf_ntohl(ctx->remote_port);
	if (o->conn.family == AF_INET) {
		__u32 l = ctx->local_ip4, r = ctx->remote_ip4;
		k->family = AF_INET;
		__builtin_memcpy(k->client, &l, 4);
		__builtin_memcpy(k->proxy, &r, 4);
	} else {
		__u32 l[4] = {READ(ctx->local_ip6[0]), READ(ctx->local_ip6[1]), READ(ctx->local_ip6[2]), READ(ctx->local_ip6[3])};
		__u32 r[4] = {READ(ctx->remote_ip6[0]), READ(ctx->remote_ip6[1]), READ(ctx->remote_ip6[2]), READ(ctx->remote_ip6[3])};
		k->family = AF_INET6;
		__builtin_memcpy(k->client, l, 16);
		__builtin_memcpy(k->proxy, r, 16);
	}
	long err = bpf_map_update_elem(&conns, k, &o->conn, BPF_NOEXIST);
	if (err == -EEXIST) {
		/* Two sockets claim one key. Which of them the proxy would accept is not known, so neither gets a record: a
		 * connection without one is closed. */
		fail(ERR_RECORD_CLASH);
		struct conn *other = bpf_map_lookup_elem(&conns, k);
		if (other)
			unpublished(other);
		bpf_map_delete_elem(&conns, k);
		unpublished(&o->conn);
		o->published = ORIGIN_DONE;
		return;
	}
	if (err) {
		/* Too late to refuse: the proxy closes this one, for it has no record; connect refuses or opens the next. */
		fail(ERR_RECORD_FULL);
		__u32 zero = 0;
		__u64 now = bpf_ktime_get_ns();
		bpf_map_update_elem(&pressure, &zero, &now, BPF_ANY);
		unpublished(&o->conn);
		o->published = ORIGIN_DONE;
		return;
	}
	o->published = ORIGIN_PUBLISHED;
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

SEC("sockops")
int sock_ops(struct bpf_sock_ops *ctx)
{
	if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_STATE_CB)
		return 1;
	struct bpf_sock *sk = ctx->sk;
	if (!sk)
		return 1;
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
		publish(ctx, sk);
		return 1;
	}
	if (ctx->args[1] != BPF_TCP_CLOSE)
		return 1;
	struct origin *o = bpf_sk_storage_get(&origins, sk, 0, 0);
	if (!o || o->published != ORIGIN_PUBLISHED)
		return 1;
	struct conn *c = bpf_map_lookup_elem(&conns, &o->key);
	if (c && c->cookie == o->conn.cookie && !bpf_map_delete_elem(&conns, &o->key)) {
		struct cover_row *row = cover_of(o->conn.cgroup, slot_of(o->conn.scope));
		if (row)
			__sync_fetch_and_add(&row->withdrawn, 1);
	}
	o->published = ORIGIN_DONE;
	return 1;
}
