/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Structs of what is learned from DNS, shared with user space (agent/kernel/learn). Padded by hand, as in types.h. */
#ifndef SALLYPORT_LEARN_H
#define SALLYPORT_LEARN_H

#include <linux/types.h>

#define MAX_NAMES 256 /* names of endpoints */
#define NAME_WORDS (MAX_NAMES / 64)
#define NAME_BYTES 256 /* a name in wire format: at most 255 */

/* A name as a question holds it, in lower case, without its last zero and filled up with zeros. */
struct name_key {
	__u64 word[NAME_BYTES / 8];
};

/* An address in one network namespace. netns 0: one that the configuration names, the same in all. */
struct learned_key {
	__u64 netns;
	__u8 addr[16]; /* network order, IPv4 in the first four bytes */
	__u32 family;
	__u32 pad;
};

/* An IPv4 address in the form of an IPv6 one is that IPv4 address. */
static __always_inline void unmap(struct learned_key *k)
{
	const __u8 mapped[12] = {[10] = 0xff, [11] = 0xff};
	if (k->family != AF_INET6 || __builtin_memcmp(k->addr, mapped, 12))
		return;
	k->family = AF_INET;
	__builtin_memcpy(k->addr, k->addr + 12, 4);
	__builtin_memset(k->addr + 4, 0, 12);
}

/* Which names lead to an address. */
struct place {
	__u64 names[NAME_WORDS]; /* a bit for each */
	__u64 until;             /* CLOCK_BOOTTIME, ns */
	__u64 since;
};

/* Which names are endpoints at a port. */
struct target {
	__u64 names[NAME_WORDS];
	__u64 secure[NAME_WORDS]; /* those with TLS: where QUIC would be spoken */
};

/* What the value of a captured port says besides that it is captured. */
#define PORT_CAPTURED 1
#define PORT_NAMED 2   /* some endpoint is a name at this port */
#define PORT_LITERAL 4 /* some endpoint is an address at this port */

#define QUESTIONS 16

/* The latest questions about endpoints that left a socket. */
struct question {
	__u64 ns; /* CLOCK_BOOTTIME; 0 = none, or answered */
	__u32 name;
	__u16 txid;
	__u16 type;
};
struct asked {
	struct question q[QUESTIONS];
	__u32 next;
	__u32 pad;
};

#define COPY_UDP 1     /* an answer to a question that was seen, from its DNS header on */
#define COPY_TCP_IN 2  /* a piece of a connection to port 53, as it came */
#define COPY_TCP_OUT 3 /* and as it left */

#define COPY_BYTES 1472

/* What user space looks at again. */
struct copy {
	__u64 netns;
	__u64 cookie; /* of the socket */
	__u64 at;     /* CLOCK_BOOTTIME, ns */
	__u32 kind;
	__u32 name;    /* COPY_UDP: which was asked for */
	__u32 learned; /* COPY_UDP: how many addresses were learned from it */
	__u32 size;    /* of all; what exceeds COPY_BYTES is cut */
	__u32 seq;     /* COPY_TCP: sequence number of the first byte */
	__u32 pad;
	__u8 data[COPY_BYTES];
};

enum dns_count {
	DNS_ASKED,     /* questions about endpoints seen leaving */
	DNS_ANSWERED,  /* answers to them */
	DNS_LEARNED,   /* addresses learned or renewed */
	DNS_UNASKED,   /* answers about endpoints to questions that were not seen: nothing is learned from them */
	DNS_MALFORMED, /* answers that could not be read to their end */
	DNS_FULL,      /* addresses that found no room */
	DNS_CROWDED,   /* questions that were forgotten unanswered: too many from one socket, or no memory */
	DNS_UNCOPIED,  /* copies for user space that found no room */
	DNS_COUNTS,
};

/* How long a want of room counts, and an unanswered question. */
#define LEARN_FULL_NS 60000000000ull
#define QUESTION_NS 30000000000ull

/* An address is kept a little longer than its TTL: programs do. */
#define TTL_LEAST 60
#define TTL_MOST 3600

#endif
