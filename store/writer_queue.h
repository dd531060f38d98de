/* SPDX-License-Identifier: BSD-3-Clause
 * The queue's rows as the writer changes them.  Writer thread; each returns 0, an LMDB code or an
 * errno. */
#pragma once
#include "store/writer.h"

/* One recipient's row, taken apart. */
struct queue_row {
	uint64_t id;
	uint32_t rcpt;
	struct qr_rec r;
	uint8_t text[ADDRESS_MAX + DSN_ORCPT_MAX]; /* address, ORCPT */
	char reason[STORE_REASON_MAX];
};

int queue_row_parse(struct bytes v, struct queue_row *q) WARN_UNUSED;
int queue_row_get(struct writer *w, uint64_t id, uint32_t rcpt, struct queue_row *q) WARN_UNUSED;
struct bytes queue_row_domain(const struct queue_row *q);
/* Writes a row that is changed; before_ms is where the schedule has it. */
int queue_row_change(struct writer *w, const struct queue_row *q, uint64_t before_ms) WARN_UNUSED;
/* A recipient that was on its way to another shard is so no longer: state QUEUE_SCHEDULED, to be
 * written or deleted by the caller. */
int writer_move_end(struct writer *w, struct queue_row *q) WARN_UNUSED;
int queue_row_del(struct writer *w, const struct queue_row *q) WARN_UNUSED;
int queue_message_get(struct writer *w, uint64_t id, struct bytes *row_r) WARN_UNUSED;
/* `done` recipients are finished; the last one takes message and body with it. */
int queue_message_reduce(
	struct writer *w, uint64_t id, struct bytes row, uint32_t done) WARN_UNUSED;
/* First row of a message at or after recipient `from`. */
int queue_row_next(struct writer *w, uint64_t id, uint32_t from, struct queue_row *q) WARN_UNUSED;

/* ---- writer_queue_admin.c, writer_queue_filter.c: what operators do to a row ---- */
struct queue_change {
	uint8_t action; /* enum queue_action */
	int8_t priority;
};
bool queue_change_valid(const struct queue_change *c);
/* Changes or deletes the row when the action means it; then *changed grows, and the delivery
 * workers that are to be told are added to *owners. */
int queue_row_act(struct writer *w, const struct queue_change *c, struct queue_row *q,
	uint32_t *changed, uint64_t *owners) WARN_UNUSED;
