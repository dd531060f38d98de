/* SPDX-License-Identifier: BSD-3-Clause
 * bypostd --store: what needs the store for itself, without ports, threads and EAL.  The answers
 * are lines of JSON as on the admin socket: bypostctl reads both alike. */
#pragma once
#include <stdbool.h>

struct offline {
	const char *config_path;
	const char *action;    /* check, repair, stat, compact, backup, restore */
	const char *directory; /* of backup and restore */
	bool yes;              /* restore: the store that is there is put aside */
};

/* An exit status. */
int offline_run(const struct offline *o);
