/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A socket as tracing programs see it; see kernel.h. */
#ifndef SALLYPORT_SOCK_H
#define SALLYPORT_SOCK_H

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpadded"
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};
struct net {
	struct ns_common ns;
	__u64 net_cookie;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct in6_addr {
	__u8 bytes[16]; /* not by its kernel name: only its place in sock_common is relocated */
};
struct sock_common {
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};
struct sock {
	struct sock_common __sk_common;
	__u8 sk_shutdown;
	__u16 sk_protocol;
};

#pragma clang attribute pop
#pragma clang diagnostic pop

#endif
