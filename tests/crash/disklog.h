/* SPDX-License-Identifier: BSD-3-Clause
 * The log of a disk: what a process did to the files of one directory (and below it) and, between
 * these, what it promised to others, in one order.  Written by disklog.so (preloaded;
 * BYPOST_DISKLOG names the log, BYPOST_DISKLOG_DIR the directory; or linked), read by image.c. */
#pragma once
#include <stdint.h>

enum disklog_type {
	DISKLOG_OPEN = 1,    /* value: flags of open(2); octets: name within the directory */
	DISKLOG_CREATE,      /* the same, when the name was new */
	DISKLOG_WRITE,       /* begins: offset, octets; value 1: the descriptor is O_DSYNC */
	DISKLOG_WRITE_END,   /* offset: of the write; value: octets written, or -errno */
	DISKLOG_SYNC,        /* fdatasync or fsync begins; offset: number of its thread */
	DISKLOG_SYNC_END,    /* offset: the same; value: 0 or -errno */
	DISKLOG_ALLOCATE,    /* posix_fallocate: value: the file has at least this size */
	DISKLOG_HOLE,        /* fallocate: offset; value: so many octets are zeros from now on */
	DISKLOG_TRUNCATE,    /* value: new size */
	DISKLOG_RENAME,      /* octets: two names, each with its NUL */
	DISKLOG_UNLINK,      /* octets: name */
	DISKLOG_DIRSYNC_END, /* a directory itself; octets: its name, "." the one that is logged */
	DISKLOG_MARK,        /* value: what was promised */
};

struct disklog_record {
	uint32_t type;
	uint32_t file; /* number of the name, from 1 in order of appearance */
	uint64_t offset, n, value;
	/* n octets */
};
_Static_assert(sizeof(struct disklog_record) == 32, "a record of the log");

/* Of a program that is linked with it: a log from here on.  The directory has no file yet, and none
 * of it is open when the log ends.  No other thread. */
void disklog_begin(const char *log, const char *dir);
void disklog_end(void);
