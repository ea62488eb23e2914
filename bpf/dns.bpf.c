// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//go:build ignore

/* Learns the addresses of endpoints from the answers of DNS, on their way to the program that asked: so they are known when it
 * connects. A packet is never held up: both programs return 1 whatever they find. */
#include "include/kernel.h"
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include "maps/answers.h"
#include "maps/asked.h"
#include "maps/hosts.h"
#include "maps/learned.h"
#include "maps/learning.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Keeps the type in the BTF, from which the Go struct is made. */
const struct copy *unused_copy __attribute__((unused));

#define PASS 1
#define DNS_PORT 53
#define DNS_HEADER 12
#define CLASS_IN 1
#define TYPE_A 1
#define TYPE_AAAA 28
#define MAX_LABELS 32  /* of a name that we look for, and of one that is skipped */
#define MAX_PIECES 8
#define MAX_RECORDS 64 /* of one answer that are looked at */

/* How many copies a second user space is asked to look at: a flood of DNS must not become a flood of work. */
#define COPIES 2000
volatile __u64 second = 0, copies = 0;

struct message {
	__u32 at;    /* where it begins in the packet */
	__u32 size;  /* of it */
	__u32 tcp;   /* it is a piece of a connection, not a message */
	__u32 seq;
};

/* Is this a packet from (in) or to a name server? A socket that is connected to one counts too: on the way out, the packet's own
 * port may be that of a translated address already. */
static __always_inline int find(struct __sk_buff *skb, int in, struct message *m)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 l4, proto;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data;
		if ((void *)(ip + 1) > end || ip->frag_off & bpf_htons(0x1fff))
			return 0;
		l4 = ip->ihl * 4;
		proto = ip->protocol;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data;
		if ((void *)(ip + 1) > end)
			return 0;
		l4 = sizeof(*ip);
		proto = ip->nexthdr;
	} else {
		return 0;
	}
	if (proto != IPPROTO_UDP && proto != IPPROTO_TCP)
		return 0;
	struct udphdr *udp = data + l4; /* TCP has its ports in the same place */
	if ((void *)(udp + 1) > end)
		return 0;
	if ((in ? udp->source : udp->dest) != bpf_htons(DNS_PORT)) {
		if (proto == IPPROTO_TCP)
			return 0;
		struct bpf_sock *sk = skb->sk;
		sk = sk ? bpf_sk_fullsock(sk) : 0;
		if (!sk || sk->dst_port != bpf_htons(DNS_PORT))
			return 0;
	}
	m->tcp = proto == IPPROTO_TCP;
	if (m->tcp) {
		struct tcphdr *tcp = data + l4;
		if ((void *)(tcp + 1) > end)
			return 0;
		m->seq = bpf_ntohl(tcp->seq);
		m->at = l4 + tcp->doff * 4;
	} else {
		m->at = l4 + sizeof(*udp);
	}
	if (m->at >= skb->len) /* nothing but a header */
		return 0;
	m->size = skb->len - m->at;
	return m->tcp || m->size > DNS_HEADER;
}

#define EACH 0x0101010101010101ull

/* Lower case of eight letters at once. Names compare without case (RFC 4343), and some resolvers mix it on purpose. The
 * length of a label is below any letter. */
static __always_inline __u64 lower(__u64 w)
{
	__u64 low = w & 0x7f * EACH;
	__u64 from_a = low + (0x80 - 'A') * EACH;
	__u64 past_z = low + (0x80 - 'Z' - 1) * EACH;
	return w | ((from_a & ~past_z & ~w & 0x80 * EACH) >> 2);
}

/* What a message asks, if it is about an endpoint: its name's number << 32 | type << 16 | where the answers begin in the
 * message; else -1. A function of its own, so that its room on the stack is free again when answers are read. */
static __noinline __s64 asks(struct __sk_buff *skb, __u32 at)
{
	struct name_key name = {};
	__u32 n = 0;

	at += DNS_HEADER;
	for (int i = 0; i <= MAX_LABELS; i++) {
		__u8 length;
		if (i == MAX_LABELS || bpf_skb_load_bytes(skb, at + n, &length, 1))
			return -1;
		if (!length)
			break;
		n += length + 1;
		if (length > 63 || n > NAME_BYTES - 2)
			return -1;
	}
	if (n < 1 || n > NAME_BYTES - 2)
		return -1;
	if (bpf_skb_load_bytes(skb, at, &name, n))
		return -1;
	for (int i = 0; i < NAME_BYTES / 8; i++)
		name.word[i] = lower(name.word[i]);
	__u32 *number = bpf_map_lookup_elem(&hosts, &name);
	if (!number)
		return -1;
	__u16 tail[2]; /* type, class */
	if (bpf_skb_load_bytes(skb, at + n + 1, tail, sizeof(tail)) || tail[1] != bpf_htons(CLASS_IN))
		return -1;
	return (__s64)*number << 32 | (__s64)bpf_ntohs(tail[0]) << 16 | (DNS_HEADER + n + 1 + sizeof(tail));
}

/* Copies what is left of a message from an offset on, at most COPY_BYTES. */
static __always_inline void copy_out(struct __sk_buff *skb, struct message *m, __u32 offset, __u32 kind, __u32 name, __u32 learned)
{
	__u64 now = bpf_ktime_get_boot_ns();
	if (now >> 30 != second) { /* about a second; who races here loses some of the count */
		second = now >> 30;
		copies = 0;
	}
	if (copies >= COPIES) {
		dns_count(DNS_UNCOPIED);
		return;
	}
	__sync_fetch_and_add(&copies, 1);
	struct copy *c = bpf_ringbuf_reserve(&answers, sizeof(*c), 0);
	if (!c) {
		dns_count(DNS_UNCOPIED);
		return;
	}
	c->netns = bpf_get_netns_cookie(skb);
	c->cookie = bpf_get_socket_cookie(skb);
	c->at = now;
	c->kind = kind;
	c->name = name;
	c->learned = learned;
	c->size = m->size - offset;
	c->seq = m->seq + offset;
	c->pad = 0;
	__u32 n = c->size;
	if (n > COPY_BYTES)
		n = COPY_BYTES;
	if (n < 1 || bpf_skb_load_bytes(skb, m->at + offset, c->data, n)) {
		bpf_ringbuf_discard(c, 0);
		dns_count(DNS_UNCOPIED);
		return;
	}
	bpf_ringbuf_submit(c, 0);
}

/* A piece of a connection may be as long as many packets: on loopback, or before it is cut. */
static __always_inline void copy_piece(struct __sk_buff *skb, struct message *m, __u32 kind)
{
	for (__u32 i = 0; i < MAX_PIECES && i * COPY_BYTES < m->size; i++)
		copy_out(skb, m, i * COPY_BYTES, kind, 0, 0);
}

static __always_inline void remember(struct __sk_buff *skb, __u32 name, __u16 txid, __u16 type)
{
	struct bpf_sock *sk = skb->sk;
	sk = sk ? bpf_sk_fullsock(sk) : 0;
	if (!sk)
		return;
	struct asked *a = bpf_sk_storage_get(&asked, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!a) {
		dns_count(DNS_CROWDED);
		return;
	}
	__u64 now = bpf_ktime_get_boot_ns();
	struct question *q = &a->q[__sync_fetch_and_add(&a->next, 1) % QUESTIONS];
	if (q->ns && now - q->ns < QUESTION_NS)
		dns_count(DNS_CROWDED);
	q->ns = 0; /* who reads it meanwhile finds none, not half of one */
	q->name = name;
	q->txid = txid;
	q->type = type;
	q->ns = now;
	dns_count(DNS_ASKED);
}

SEC("cgroup_skb/egress")
int dns_egress(struct __sk_buff *skb)
{
	struct message m = {};
	if (!find(skb, 0, &m))
		return PASS;
	if (m.tcp) {
		copy_piece(skb, &m, COPY_TCP_OUT);
		return PASS;
	}
	__u16 head[3]; /* identifier, flags, number of questions */
	if (bpf_skb_load_bytes(skb, m.at, head, sizeof(head)) || head[1] & bpf_htons(0xf800) || head[2] != bpf_htons(1))
		return PASS; /* no plain query */
	__s64 question = asks(skb, m.at);
	if (question >= 0)
		remember(skb, question >> 32, head[0], question >> 16);
	return PASS;
}

/* Takes the question to which this is the answer, once. */
static __always_inline int was_asked(struct __sk_buff *skb, __u32 name, __u16 txid, __u16 type)
{
	struct bpf_sock *sk = skb->sk;
	sk = sk ? bpf_sk_fullsock(sk) : 0;
	if (!sk)
		return 0;
	struct asked *a = bpf_sk_storage_get(&asked, sk, 0, 0);
	if (!a)
		return 0;
	__u64 now = bpf_ktime_get_boot_ns();
	for (int i = 0; i < QUESTIONS; i++) {
		struct question *q = &a->q[i];
		if (!q->ns || now - q->ns > QUESTION_NS || q->txid != txid || q->name != name || q->type != type)
			continue;
		q->ns = 0;
		return 1;
	}
	return 0;
}

struct walk {
	struct __sk_buff *skb;
	__u32 at;
	__u32 name;
	__u32 count; /* of addresses learned */
	__u32 left;  /* records to come */
};

static __always_inline void learn(struct walk *w, struct learned_key *k, __u32 ttl)
{
	__u64 now = bpf_ktime_get_boot_ns();
	__u64 bit = 1ull << (w->name & 63);
	__u32 word = w->name / 64;
	if (word >= NAME_WORDS)
		return;
	if (ttl < TTL_LEAST)
		ttl = TTL_LEAST;
	if (ttl > TTL_MOST)
		ttl = TTL_MOST;
	__u64 until = now + (__u64)ttl * 1000000000ull;
	struct place *l = bpf_map_lookup_elem(&learned, k);
	if (!l) {
		struct place fresh = {.until = until, .since = now};
		fresh.names[word] = bit;
		long err = bpf_map_update_elem(&learned, k, &fresh, BPF_NOEXIST);
		if (!err)
			goto done;
		if (err == -EEXIST)
			l = bpf_map_lookup_elem(&learned, k);
		if (!l) {
			__u32 zero = 0;
			bpf_map_update_elem(&crowded, &zero, &now, BPF_ANY);
			dns_count(DNS_FULL);
			return;
		}
	}
	__sync_fetch_and_or(&l->names[word], bit);
	if (l->until < now)
		l->since = now;
	if (l->until < until)
		l->until = until;
done:
	w->count++;
	dns_count(DNS_LEARNED);
}

/* Looks at one record of an answer (RFC 1035, section 4.1.3). */
static long record(__u64 i, struct walk *w)
{
	struct __sk_buff *skb = w->skb;
	__u32 at = w->at;
	struct {
		__u16 type, class;
		__u8 ttl[4];
		__u16 length;
	} __attribute__((packed)) head;

	for (int j = 0; j <= MAX_LABELS; j++) {
		__u8 length;
		if (j == MAX_LABELS || bpf_skb_load_bytes(skb, at, &length, 1))
			return 1;
		at += 1;
		if (length >= 0xc0) { /* a pointer ends a name */
			at += 1;
			break;
		}
		if (!length)
			break;
		at += length;
	}
	if (bpf_skb_load_bytes(skb, at, &head, sizeof(head)))
		return 1;
	at += sizeof(head);
	__u32 length = bpf_ntohs(head.length);
	if (head.class == bpf_htons(CLASS_IN)) {
		struct learned_key k = {};
		k.netns = bpf_get_netns_cookie(skb);
		if (head.type == bpf_htons(TYPE_A) && length == 4) {
			k.family = AF_INET;
			if (bpf_skb_load_bytes(skb, at, k.addr, 4))
				return 1;
		} else if (head.type == bpf_htons(TYPE_AAAA) && length == 16) {
			k.family = AF_INET6;
			if (bpf_skb_load_bytes(skb, at, k.addr, 16))
				return 1;
			unmap(&k);
		}
		if (k.family) {
			__u32 ttl = (__u32)head.ttl[0] << 24 | head.ttl[1] << 16 | head.ttl[2] << 8 | head.ttl[3];
			learn(w, &k, ttl >> 31 ? 0 : ttl);
		}
	}
	w->at = at + length;
	w->left--;
	return 0;
}

SEC("cgroup_skb/ingress")
int dns_ingress(struct __sk_buff *skb)
{
	struct message m = {};
	if (!find(skb, 1, &m))
		return PASS;
	if (m.tcp) {
		copy_piece(skb, &m, COPY_TCP_IN);
		return PASS;
	}
	__u16 head[4]; /* identifier, flags, numbers of questions and answers */
	if (bpf_skb_load_bytes(skb, m.at, head, sizeof(head)) || !(head[1] & bpf_htons(0x8000)) || head[2] != bpf_htons(1))
		return PASS;
	__s64 question = asks(skb, m.at);
	if (question < 0)
		return PASS;
	__u32 name = question >> 32;
	if (!was_asked(skb, name, head[0], question >> 16)) {
		dns_count(DNS_UNASKED);
		return PASS;
	}
	dns_count(DNS_ANSWERED);
	struct walk w = {.skb = skb, .at = m.at + (question & 0xffff), .name = name, .left = bpf_ntohs(head[3])};
	if (head[1] & bpf_htons(0x000f)) /* no such name, or no answer */
		w.left = 0;
	if (w.left) {
		bpf_loop(w.left < MAX_RECORDS ? w.left : MAX_RECORDS, record, &w, 0);
		if (w.left && !(head[1] & bpf_htons(0x0200))) /* a truncated one ends early, and is asked again over TCP */
			dns_count(DNS_MALFORMED);
	}
	copy_out(skb, &m, 0, COPY_UDP, name, w.count);
	return PASS;
}
