/* SPDX-License-Identifier: BSD-3-Clause
 * The readers: kernel-scheduled threads that execute one bounded slice per op (at most 5 ms or
 * 256 KiB of answer) on a short read transaction, copy into chunks and complete.  A transaction
 * never outlives its slice: an old reader keeps LMDB from reusing pages, and the file grows. */
#pragma once
#include "dataplane/base/clock.h"
#include "store/body.h"
#include "store/mbox_name.h"
#include "store/store_priv.h"

#define READER_SLICE_US    (5 * US_PER_MS)
#define READER_SLICE_BYTES (256 * 1024)
#define READER_CHANGES_MAX 4096 /* changed rows sorted in one slice; more are found by scanning */

struct reader {
	struct service service;
	struct store *store;
	pthread_t thread;
	pthread_mutex_t
		slice; /* held during a slice; the writer takes it to reopen the environment */
	MDB_txn *txn;  /* reset between slices */
	unsigned number;
	uint64_t deadline_us; /* of the slice under way */
	uint64_t seen;        /* newest transaction of the slices that are not answered yet */
	uint32_t *uids;       /* scratch of reader_mbox.c */
};

struct reader *reader_create(struct store *s, unsigned number);
void reader_destroy(struct reader **r);
int reader_start(struct reader *r) WARN_UNUSED;
void reader_stop(struct reader *r);

/* Is this slice long enough?  bytes: of the answer so far. */
bool reader_slice_over(const struct reader *r, uint64_t bytes);

/* Each returns 0, an LMDB code or an errno; reader.c makes op.status of it. */
int reader_body(struct reader *r, struct op *op);
int reader_schedule(struct reader *r, struct op *op);
int reader_queue(struct reader *r, struct op *op);
int reader_queue_list(struct reader *r, struct op *op);
int reader_mbox_list(struct reader *r, struct op *op);
int reader_mbox_open(struct reader *r, struct op *op);
int reader_mbox_rows(struct reader *r, struct op *op);
int reader_credentials(struct reader *r, struct op *op);
int reader_accounts(struct reader *r, struct op *op);
int reader_check(struct reader *r, struct op *op);
int reader_stat(struct reader *r, struct op *op);
int reader_mbox_gone(struct reader *r, struct op *op);
int reader_aliases(struct reader *r, struct op *op);
int reader_domains(struct reader *r, struct op *op);
int reader_moves(struct reader *r, struct op *op);
int reader_dedup(struct reader *r, struct op *op);
int reader_quota(struct reader *r, struct op *op);
int reader_shape(struct reader *r, struct op *op);

/* Appends a record that must not straddle two chunks.  0 or ENOBUFS. */
int reader_record(struct chain *out, const void *record, size_t n) WARN_UNUSED;

/* To take back what was appended since the mark. */
struct chain_mark {
	struct chunk *tail;
	uint32_t n;
	uint64_t bytes;
};
struct chain_mark chain_mark_get(const struct chain *c);
void chain_rollback(struct chain *c, const struct chain_mark *m);

/* ---- JSON lines: json_line.c ---- */
/* Text that goes to a chain piecewise; err is sticky. */
struct json_line {
	struct chain *out;
	int err; /* 0 or ENOBUFS */
};
void json_raw(struct json_line *j, const char *text);
void json_u64(struct json_line *j, const char *name, uint64_t v);
void json_i64(struct json_line *j, const char *name, int64_t v);
/* The inside of a text. */
void json_escaped(struct json_line *j, struct bytes value);
/* "name":"value" with every octet that needs it escaped; octets that are not UTF-8 become U+FFFD.
 */
void json_text(struct json_line *j, const char *name, struct bytes value);
