/* SPDX-License-Identifier: BSD-3-Clause
 * The index of the queue by sender, by recipient and by domain.
 *
 * It is made of runs.  A run has the keys of a range of ids, which were written together, sorted:
 * at the end of the table, so that the length of the queue does not matter.  What is not in a run
 * yet is young, and found by walking the queue from `from` on; most mail is gone before it would be
 * written.  Nothing is deleted with its message: who finds a row looks whether what it names is
 * still there (ids are never used again), and the writer sweeps when most rows are stale
 * (writer_index.c).
 *
 * Of a message below `until` the run is a function of its id (queue_index_run): the newest, when it
 * has that id, else the highest at or below it that has rows.  So each recipient has one row at
 * most.
 *
 * Hashes, because a key of fixed size is a third of one with names: who finds a row looks whether
 * it is the one that was meant.  The hash's key is fixed: it is part of the format; whoever makes
 * names collide makes his own look-ups slow.  Writer and reader threads, each with a transaction.
 */
#pragma once
#include "store/db.h"

/* What a row says behind its run. */
struct queue_index_key {
	uint64_t hash, id;
	uint32_t address, rcpt;
};

struct queue_index_key queue_index_sender(struct bytes sender, uint64_t id);
/* domain_at: offset of the domain in the address. */
struct queue_index_key queue_index_recipient(
	struct bytes address, size_t domain_at, uint64_t id, uint32_t rcpt);
struct bytes queue_index_row(struct key *k, uint64_t run, const struct queue_index_key *q);
/* False: this is no key of the index. */
bool queue_index_parse(struct bytes key, uint64_t *run_r, struct queue_index_key *q_r);

/* Zeros when there is none yet. */
int queue_index_get(MDB_txn *txn, const struct db *db, struct queue_index_rec *r) WARN_UNUSED;
int queue_index_put(MDB_txn *txn, const struct db *db, const struct queue_index_rec *r) WARN_UNUSED;
/* The run of an id below r->until. */
int queue_index_run(MDB_txn *txn, const struct db *db, const struct queue_index_rec *r, uint64_t id,
	uint64_t *run_r) WARN_UNUSED;

/* Rows of q and qr of ids from `from` on; of very many no exact number (QI_YOUNG_MAX). */
int queue_index_young(MDB_txn *txn, const struct db *db, uint64_t from, uint64_t *n_r) WARN_UNUSED;
/* Rows of the index that lead nowhere, when `young` rows of the queue are not in it. */
uint64_t queue_index_stale(MDB_txn *txn, const struct db *db, uint64_t young);
/* Both; the second with a transaction of its own. */
int queue_index_figures(
	MDB_txn *txn, const struct db *db, uint64_t *young_r, uint64_t *stale_r) WARN_UNUSED;
int queue_index_figures_look(const struct db *db, uint64_t *young_r, uint64_t *stale_r) WARN_UNUSED;

/* ---- look-ups ---- */
/* Does the index lead to what this filter means? */
bool queue_index_leads(const struct queue_filter *f);
/* The next row for the filter at or behind `at`, which becomes its place; *rcpt_r is QI_SENDER when
 * the filter has a sender only, QI_NONE when nothing was found yet: call again.  MDB_NOTFOUND:
 * there is none; at->id is then the first message to be looked at in the queue itself.  EINVAL: the
 * recipient is no address. */
int queue_index_next(MDB_txn *txn, const struct db *db, const struct queue_filter *f,
	struct queue_at *at, uint32_t *rcpt_r) WARN_UNUSED;
/* Behind that row. */
void queue_index_behind(struct queue_at *at, uint32_t rcpt);
