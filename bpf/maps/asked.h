/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* asked: the questions about endpoints that left a socket. It goes with the socket, so there is no bound to choose but how many
 * questions of one socket may wait for an answer. */
#ifndef SALLYPORT_MAP_ASKED_H
#define SALLYPORT_MAP_ASKED_H
#include "../include/learn.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct asked);
} asked SEC(".maps");

#endif
