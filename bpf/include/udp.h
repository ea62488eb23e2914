/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* QUIC would carry past the proxy what scopes look into: datagrams to an endpoint's address at its port are refused (EPERM), for
 * scopes that open TLS. A client takes that for a network without UDP and falls back to TCP. */
#ifndef SALLYPORT_UDP_H
#define SALLYPORT_UDP_H
#include "destination.h"
#include "select.h"
#include "../maps/bypass.h"
#include "../maps/exempt.h"
#include "../maps/ports.h"
#include "../maps/quic.h"

static __always_inline void quic_count(__u32 slot, int let)
{
	struct quic_counters *n = bpf_map_lookup_elem(&quic, &slot);
	if (n)
		__sync_fetch_and_add(let ? &n->bypassed : &n->refused, 1);
}

static __always_inline int datagram(struct bpf_sock_addr *ctx, int v6)
{
	__u16 port = bpf_ntohs(ctx->user_port);
	if (!port || port == 53) /* a choice of addresses, which sends nothing; a name server */
		return 1;
	__u8 *flags = bpf_map_lookup_elem(&ports, &port);
	if (!flags || !(*flags & (PORT_NAMED | PORT_LITERAL)))
		return 1;
	struct learned_key k;
	destination_of(ctx, v6, &k);
	int full = 0;
	if (!endpoint_at(&k, port, *flags, 1)) {
		if (!learned_full())
			return 1;
		full = 1;
	}
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
		if (full)
			return 1;
		scope = SCOPE_DEFAULT; /* by destination, as for TCP */
	}
	__u8 mode, closed;
	wanted_of(cfg, scope, &mode, &closed);
	int opens = mode >= MODE_OBSERVE || (scope == SCOPE_PENDING && closed); /* perhaps one that enforces */
	if (!opens || (full && !closed))
		return 1;
	__u32 slot = slot_of(scope);
	__u64 *until = bpf_map_lookup_elem(&bypass, &slot);
	if (until && *until && *until > bpf_ktime_get_boot_ns()) {
		quic_count(slot, 1);
		return 1;
	}
	quic_count(slot, 0);
	return 0;
}

#endif
