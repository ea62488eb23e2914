/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Where a connection or datagram goes: is it an endpoint, as far as DNS and the configuration say? */
#ifndef SALLYPORT_DESTINATION_H
#define SALLYPORT_DESTINATION_H
#include "../maps/configs.h"
#include "../maps/learned.h"
#include "../maps/targets.h"

static __always_inline void destination_of(struct bpf_sock_addr *ctx, int v6, struct learned_key *k)
{
	__u32 a[4] = {};

	if (v6) {
		a[0] = ctx->user_ip6[0];
		a[1] = ctx->user_ip6[1];
		a[2] = ctx->user_ip6[2];
		a[3] = ctx->user_ip6[3];
	} else {
		a[0] = ctx->user_ip4;
	}
	k->netns = bpf_get_netns_cookie(ctx);
	k->pad = 0;
	k->family = v6 ? AF_INET6 : AF_INET;
	__builtin_memcpy(k->addr, a, 16);
	unmap(k);
}

/* Did an address find no room lately? Then one that is not learned may be an endpoint's all the same. */
static __always_inline int learned_full(void)
{
	__u32 zero = 0;
	__u64 *at = bpf_map_lookup_elem(&crowded, &zero);
	return at && *at && bpf_ktime_get_boot_ns() - *at < LEARN_FULL_NS;
}

static __always_inline int meets(struct place *l, __u16 port, int secure)
{
	struct target *t = bpf_map_lookup_elem(&targets, &port);
	if (!t)
		return 0;
	__u64 *wanted = secure ? t->secure : t->names;
	__u64 both = 0;
	for (int i = 0; i < NAME_WORDS; i++)
		both |= l->names[i] & wanted[i];
	return both != 0;
}

/* Does an endpoint, or one with TLS, live at this address and port? flags is what the captured port says. k is changed. Returns what
 * is known of the address. */
static __always_inline struct place *endpoint_at(struct learned_key *k, __u16 port, __u8 flags, int secure)
{
	struct place *l;

	if (flags & PORT_NAMED) {
		l = bpf_map_lookup_elem(&learned, k);
		if (l && l->until > bpf_ktime_get_boot_ns() && meets(l, port, secure))
			return l;
	}
	if (flags & PORT_LITERAL) {
		k->netns = 0;
		l = bpf_map_lookup_elem(&learned, k);
		if (l && meets(l, port, secure))
			return l;
	}
	return 0;
}

/* Is a process that nobody selected captured for where it goes? What could not be learned for want of room is captured if that is
 * how the default mode fails: the proxy sees the name. */
static __always_inline int by_destination(struct bpf_sock_addr *ctx, struct config *cfg, int v6, __u16 port, __u8 flags)
{
	struct learned_key k;

	if (!(flags & (PORT_NAMED | PORT_LITERAL)))
		return 0;
	destination_of(ctx, v6, &k);
	if (endpoint_at(&k, port, flags, 0))
		return 1;
	return cfg->default_closed && learned_full();
}

#endif
