/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What became of connections, counted where each of them passes, whichever program saw it before: shared with user space
 * (agent/kernel/cover). */
#ifndef SALLYPORT_COVER_H
#define SALLYPORT_COVER_H
#include <linux/types.h>

/* A workload: the cgroup of the process, and the slot of its scope. Cgroup 0: all that found no room of their own. */
struct cover_key {
	__u64 cgroup;
	__u32 slot;
	__u32 pad;
};

struct cover_row {
	__u64 redirected;  /* set out for the proxy */
	__u64 withdrawn;   /* of these: closed before the proxy took them, or never left */
	__u64 unpublished; /* of these: got no record, and so were closed by the proxy */
	__u64 bypassed;    /* set out for an endpoint, let go by break glass */
	__u64 opened;      /* the same, for there was no agent */
	__u64 off;         /* the same, in mode off */
	__u64 direct;      /* set out for an endpoint, and no program of ours had decided on it */
	__u64 at;          /* the latest of these: CLOCK_BOOTTIME, ns */
	__u8 addr[16];
	__u32 family;
	__u32 port;
	__u32 tgid;
	__u32 uid;
	char comm[16];
};

/* What user space has put on record of a row. */
struct cover_told {
	__u64 bypassed;
	__u64 opened;
	__u64 direct;
};

enum decision {
	DECIDED_BYPASS = 1,
	DECIDED_OPEN,
	DECIDED_OFF,
};

/* What connect leaves with a socket that it lets go. */
struct decided {
	__u32 slot;
	__u32 decision;
};

#define ORIGIN_PUBLISHED 1
#define ORIGIN_DONE 2 /* taken back, or never to be published */

#endif
