/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* names: what each row is called, written by user space together with the rows and read by it alone: a bypass is asked for
 * by name, and must not move to another scope when the order of the configuration changes. */
#ifndef SALLYPORT_MAP_NAMES_H
#define SALLYPORT_MAP_NAMES_H
#include "../include/types.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct scope_name);
} names SEC(".maps");

#endif
