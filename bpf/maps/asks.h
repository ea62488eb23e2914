/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* asks: network namespaces that need a listener, for one reader in user space; 64 KiB hold some 1,300, and what does not fit is
 * asked again at the next connect. ask_times: which namespaces were asked for just now (CLOCK_MONOTONIC ns), by the low bits of their
 * cookies, so that a program that tries again and again does not fill the ring; two that share an entry are asked for more often. */
#ifndef SALLYPORT_MAP_ASKS_H
#define SALLYPORT_MAP_ASKS_H
#include "../include/netns.h"
#include "errors.h"

#define ASK_AGAIN_NS 10000000ull

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} asks SEC(".maps");

#define ASKED 1024

struct ask_time {
	__u64 netns;
	__u64 ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ASKED);
	__type(key, __u32);
	__type(value, struct ask_time);
} ask_times SEC(".maps");

static __always_inline void ask(__u64 netns, __u32 tgid, __u32 tid, __u32 kind)
{
	__u64 now = bpf_ktime_get_ns();
	if (kind == ASK_CONNECT) {
		__u32 at = netns & (ASKED - 1);
		struct ask_time *last = bpf_map_lookup_elem(&ask_times, &at);
		if (last) {
			if (last->netns == netns && now - last->ns < ASK_AGAIN_NS)
				return;
			last->netns = netns;
			last->ns = now;
		}
	}
	struct ask *a = bpf_ringbuf_reserve(&asks, sizeof(*a), 0);
	if (!a) {
		fail(ERR_ASK_LOST);
		return;
	}
	a->netns = netns;
	a->ns = now;
	a->tgid = tgid;
	a->tid = tid;
	a->kind = kind;
	a->pad = 0;
	bpf_ringbuf_submit(a, 0);
}

#endif
