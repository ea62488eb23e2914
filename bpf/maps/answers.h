/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* answers: copies of answers, and of DNS over TCP, for one reader in user space. 1 MiB holds some 700. */
#ifndef SALLYPORT_MAP_ANSWERS_H
#define SALLYPORT_MAP_ANSWERS_H
#include "../include/learn.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} answers SEC(".maps");

#endif
