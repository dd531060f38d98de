/* SPDX-License-Identifier: BSD-3-Clause
 * From root to node.user.  Main thread. */
#pragma once
#include <sys/types.h>
#include "dataplane/base/check.h"

struct privileges {
	bool drop; /* started as root and another user is wanted */
	uid_t uid;
	gid_t gid;
	char user[33];
};

/* Look the user up.  0, or -errno and a message naming node.user. */
int privileges_find(
	struct privileges *p, const char *user, char *error, size_t error_n) WARN_UNUSED;
/* Make path a directory (0700) that the user can write, if it is not there; an empty one that root
 * made is handed over.  key is named in the message. */
int privileges_directory(const struct privileges *p, const char *key, const char *path, mode_t mode,
	char *error, size_t error_n) WARN_UNUSED;
/* Open files as the user for a while: rights are checked as they will be later. */
int privileges_borrow(const struct privileges *p, char *error, size_t error_n) WARN_UNUSED;
void privileges_return(const struct privileges *p);
/* For good: groups, ids and with them all capabilities, in all threads. */
int privileges_drop(const struct privileges *p, char *error, size_t error_n) WARN_UNUSED;
/* No exec gains rights any more; of the calling thread and those it will start. */
void privileges_seal(void);
