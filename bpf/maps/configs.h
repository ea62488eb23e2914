/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* configs, and active beside it, which says which of its two slots is in force: user space writes the other slot, then
 * active, so that a connection sees one whole configuration. Programs read. Never deleted. */
#ifndef SALLYPORT_MAP_CONFIGS_H
#define SALLYPORT_MAP_CONFIGS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct config);
} configs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} active SEC(".maps");

static __always_inline struct config *config(void)
{
	__u32 zero = 0;
	__u32 *slot = bpf_map_lookup_elem(&active, &zero);
	if (!slot)
		return 0;
	__u32 at = *slot & 1;
	return bpf_map_lookup_elem(&configs, &at);
}

#endif
