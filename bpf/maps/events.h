/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* events: marks and cgroups that came or went, for one reader in user space. 1 MiB holds some 1,700; what does not fit is
 * counted, and user space scans again. */
#ifndef SALLYPORT_MAP_EVENTS_H
#define SALLYPORT_MAP_EVENTS_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");
#endif
