/* SPDX-License-Identifier: BSD-3-Clause
 * A program that measures a store: one shard, a channel to its writer and one to its reader.  It
 * ends when something fails that has nothing to do with what is measured.  Main thread. */
#pragma once
#include "store/store.h"

struct store_user {
	const char *name; /* of the program, for what it says */
	struct store *store;
	struct channel writer, reader;
	struct waker waker;
	uint32_t pending; /* requests */
	uint64_t errors;  /* of those that were answered */
	unsigned nap_us;  /* while it waits; 0: it yields */
};

/* Before the first open: chunks for bodies, messages, the waker. */
void store_user_init(struct store_user *u, unsigned chunks, unsigned messages);
/* conf without its path: the store is DIRECTORY/store.  Credits: requests at a time. */
void store_user_open(struct store_user *u, const char *directory, struct store_conf conf,
	unsigned writer_credits, unsigned reader_credits);
void store_user_close(struct store_user *u);

/* done: NULL: its status is counted, and no more. */
void store_user_submit(
	struct store_user *u, struct channel *c, struct op *op, unsigned kind, op_done_fn done);
/* What done calls last. */
void store_user_settle(struct op *op);
/* Until fewer than n requests of all are pending. */
void store_user_wait(struct store_user *u, struct channel *c, uint32_t n);
/* One request, and its answer. */
void store_user_run(struct store_user *u, struct channel *c, struct op *op, unsigned kind);
/* Octets that this process has handed to the file system. */
uint64_t store_user_written(void);
/* CPU time that its writer has used. */
double store_user_cpu_us(struct store *store);
