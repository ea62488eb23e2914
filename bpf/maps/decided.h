/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* decided: why connect let a socket go that a scope names. Written by connect, taken when the socket sets out; it goes with the
 * socket. What is redirected has an origin instead; what nobody selects has neither. */
#ifndef SALLYPORT_MAP_DECIDED_H
#define SALLYPORT_MAP_DECIDED_H
#include "../include/cover.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct decided);
} decided SEC(".maps");

static __always_inline void decide(struct bpf_sock *sk, __u32 slot, __u32 decision)
{
	struct decided *d = bpf_sk_storage_get(&decided, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!d)
		return; /* it will be counted as direct: what we cannot note, we cannot explain */
	d->slot = slot;
	d->decision = decision;
}

#endif
