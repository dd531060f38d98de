/* SPDX-License-Identifier: BSD-3-Clause
 * Looking over a whole store in slices: what must be true of its rows (docs/store.md), each body's
 * checksums, every count and every reference.  Live, on short read transactions while the writer
 * works; or alone with the store, and then, if asked for, mending what follows from other rows.
 *
 * One thread at a time: a reader (live), or main before anything else runs. */
#pragma once
#include "store/db.h"

struct check;

struct check_problem {
	const char *what; /* a stable word: "body-damaged" */
	char object[64];  /* "queue 0000018c...", "account 3 mailbox 5 uid 17" */
	char detail[160];
	bool repaired;
	bool lost; /* mail or an account cannot be brought back */
};

struct check_conf {
	const struct db *db;
	bool live;   /* others write meanwhile */
	bool repair; /* not with live: slices get write transactions */
	void (*problem)(void *ctx, const struct check_problem *p);
	void *ctx;
};

struct check_totals {
	uint64_t blobs, body_bytes, chunks, queued, recipients, accounts, mailboxes, messages;
	uint64_t problems, repaired, lost;
	uint64_t index_young,
		index_stale; /* rows: not in the queue's index yet; of it, without use */
	uint64_t busy;       /* live: objects that changed whenever they were looked at */
};

#define CHECK_FIXES_MAX 200 /* chosen: repairs in one transaction, each some pages */

/* NULL: no memory (64 MiB for references, touched as they are needed). */
struct check *check_create(const struct check_conf *conf);
void check_destroy(struct check **c);
/* Goes on until deadline_us (monotonic) or CHECK_FIXES_MAX repairs.  Returns 0, or an LMDB code or
 * errno: the transaction must be given up, and the check with it. */
int check_slice(struct check *c, MDB_txn *txn, uint64_t deadline_us, bool *end_r) WARN_UNUSED;
const struct check_totals *check_totals(const struct check *c);
/* "bodies", "queue": what the next slice looks at. */
const char *check_stage(const struct check *c);

/* The whole check with transactions of its own.  Main thread, the environment is ours alone.
 * 0 or -errno. */
int check_run(struct check *c, struct db *db, bool repair) WARN_UNUSED;
