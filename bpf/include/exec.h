/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What exec.bpf.c shares with user space, and the forms that kernels have given to an inode's change time. */
#ifndef SALLYPORT_EXEC_H
#define SALLYPORT_EXEC_H
#include "kernel.h"

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpadded"
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct inode___size {
	long long i_size;
};
struct inode___split { /* since 6.11 */
	long long i_ctime_sec;
	__u32 i_ctime_nsec;
};
struct timespec64 {
	long long tv_sec;
	long tv_nsec;
};
struct inode___whole { /* since 6.6 */
	struct timespec64 __i_ctime;
};
struct inode___plain {
	struct timespec64 i_ctime;
};

#pragma clang attribute pop
#pragma clang diagnostic pop

/* One state of an executable: a file that is changed or replaced is another one. */
struct executable {
	__u64 dev; /* major << 20 | minor, of the super block */
	__u64 ino;
	__u64 size;
	__u64 changed; /* ns; 0 = this kernel does not show it to us, so nothing is remembered */
};

#define VERDICT_NOTHING 1   /* not LangChain, whatever its arguments are: not told any more */
#define VERDICT_LANGCHAIN 2 /* LangChain, whatever its arguments are */

struct exec_event {
	struct executable file;
	__u64 start; /* start_boottime of the thread group leader, ns */
	__u32 tgid;
	__u32 pad;
};

/* Slots of the tally. */
#define TALLY_LOST 0 /* executions that user space was not told of */
#define TALLIES 1

#endif
