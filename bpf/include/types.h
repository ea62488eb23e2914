/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Structs that user space shares. Padded by hand: -Wpadded is an error, so that Go and C agree without packing. */
#ifndef SALLYPORT_TYPES_H
#define SALLYPORT_TYPES_H

#define MAX_SCOPES 64
#define SCOPE_DEFAULT 0xfffffffeu
#define SCOPE_PENDING 0xfffffffdu
/* Slots of per-scope maps: one per row, then the two scopes that are no rows. */
#define SLOT_DEFAULT 64
#define SLOT_PENDING 65
#define SLOTS 66

/* Counts up whenever a shared struct changes its meaning but not its size: maps of another layout are not taken over. */
#define LAYOUT 2

#define PATH_TEXT 512 /* with its zero; longer paths are cut */

#define MODE_OFF 0
#define MODE_DISCOVER 1
#define MODE_OBSERVE 2

#define STALE_FULL_NS 1000000000ull /* how long a full map counts as full */

#define FLAG_INTERPRETER 1 /* its executable runs scripts */
#define FLAG_LANGCHAIN 2   /* it opened a LangChain file since its last exec */
#define FLAG_DESCENDANT 4  /* forked from one that carried a mark; survives exec */
#define FLAG_WATCHED 8     /* what it opens is compared with the covered trust stores; survives exec */

/* What is known about a thread group. */
struct marking {
	__u32 flags; /* FLAG_* */
	__u32 pad;
	__u64 start; /* start_boottime of the leader, ns; set with the first mark */
};

/* A trust store that holds roots of ours: a file by device and inode, or a whole file system by its device and inode 0. */
struct store_key {
	__u64 dev; /* major << 20 | minor */
	__u64 ino;
};

struct store {
	__u64 set;  /* names the roots that it holds: a key of sets */
	__u64 fsid; /* if not 0, the random number of the file system (f_fsid): devices without a disk are numbered anew */
};

/* SHA-256 of root certificates, their first eight bytes; 0 ends the list. */
#define SET_ROOTS 64
struct root_set {
	__u64 root[SET_ROOTS];
};

/* One covered store that a process opened. */
struct opened {
	struct store_key file;
	__u64 set;
	__u64 ns; /* since boot */
};

#define OPENED 8
/* The covered stores that a process opened since its last exec, the latest 8 of them. */
struct store_opens {
	__u64 start; /* start_boottime of the leader, ns */
	__u32 n;     /* how many there were; the next goes to n % OPENED */
	__u32 pad;
	struct opened of[OPENED];
};

/* How handshakes with a process ended since its last exec: roots as in root_set. */
#define SHAKES 8
struct shaken {
	__u64 good[SHAKES];
	__u64 bad[SHAKES];
};

/* Where an application wanted to go, and who it was. addr: network order, IPv4 in the first four bytes. */
struct conn {
	__u8 addr[16];
	__u16 port; /* host order */
	__u16 family;
	__u32 tgid;
	__u64 start; /* start_boottime of the thread group leader, ns */
	__u32 uid;
	__u32 loginuid;
	__u64 cgroup;
	__u64 netns;
	__u64 cookie;
	__u32 scope;
	__u32 generation;
	char comm[16];
};

/* One connection to the proxy as both its ends see it. Addresses as in conn, ports in host order. isn is the sequence number
 * of the SYN: addresses and ports come again, and a connection that is dead but not yet accepted must not be given the
 * record of the one that took its port. */
struct flow_key {
	__u64 netns;
	__u8 client[16];
	__u8 proxy[16];
	__u16 client_port;
	__u16 proxy_port;
	__u16 family;
	__u16 pad;
	__u32 isn;
	__u32 pad2;
};

/* What a redirected socket remembers. */
struct origin {
	struct conn conn;
	struct flow_key key;
	__u32 published;
	__u32 pad;
};

struct row {
	__u8 mode;
	__u8 closed;
	__u8 pad[2];
};

/* Everything that decides on a connection. Masks have one bit per row. */
struct config {
	__u8 proxy4[4];
	__u8 proxy6[16];
	__u16 port4; /* host order; 0 = no listener of this family */
	__u16 port6;
	__u64 stale_ns; /* a heartbeat older than this is a dead agent */
	__u64 rows;     /* rows in use */
	__u64 need_cgroup;
	__u64 need_uid;
	__u64 need_exe;
	__u64 need_mark;
	__u8 default_mode;
	__u8 default_closed;
	__u8 pending_closed;
	__u8 layout; /* LAYOUT of who wrote this; 0 = nobody yet */
	__u8 pad[4];
	struct row row[MAX_SCOPES];
};

/* One sign of life. */
struct beat {
	__u64 ns;         /* CLOCK_MONOTONIC; 0 = dead */
	__u32 generation; /* of the agent that beats */
	__u32 pad;
};

/* Zero-terminated unless it fills the array. */
struct scope_name {
	char text[64];
};

struct path_text {
	char text[PATH_TEXT];
	char room[16]; /* a name that begins at the end may be compared without a look at where the text ends */
};

struct cgroup_state {
	__u64 mask;
	__u32 pending;
	__u32 pad;
};

struct exe_key {
	__u64 dev; /* major << 20 | minor */
	__u64 ino;
};

/* One per slot of the scopes. */
struct scope_counters {
	__u64 seen; /* connections to a captured port */
	__u64 redirected;
	__u64 bypassed; /* let go by break glass */
	__u64 refused;  /* no agent, or no room: refused */
	__u64 opened;   /* no agent, or no room: let go */
};

#define EVENT_MARK 1
#define EVENT_CGROUP_MADE 2
#define EVENT_CGROUP_GONE 3
#define EVENT_START 4 /* a program that reads trust stores was executed in a cgroup that a scope names, or watched */

struct event {
	__u32 kind;
	__u32 tgid;
	__u64 start;
	__u32 uid;
	__u32 loginuid;
	__u64 cgroup;
	__u32 flags;
	__u32 pad;
	char comm[16];
	char path[PATH_TEXT];
};

enum error {
	ERR_NO_CONFIG,
	ERR_ORIGIN_FULL, /* no memory for a socket's storage */
	ERR_RECORD_FULL, /* the record map is full */
	ERR_RECORD_CLASH, /* two sockets with one key: neither gets a record */
	ERR_NO_LISTENER, /* nobody listens at the proxy's address */
	ERR_FOREIGN_LISTENER, /* somebody else does */
	ERR_STALE_HEARTBEAT,
	ERR_EVENT_LOST, /* the ring buffer was full, or a cgroup's path too long: user space looks for itself */
	ERR_CGROUP_FULL,
	ERR_MARK_FULL, /* no memory for a mark */
	ERR_FAULT,     /* a path could not be read, neither before an open nor after it */
	ERR_UNKNOWN_CGROUP, /* a cgroup that nobody told us of: treated as pending */
	ERR_ASK_LOST, /* the ring of namespaces that need a listener was full: asked again at the next connect */
	ERRORS,
};

#endif
