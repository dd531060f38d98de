/* SPDX-License-Identifier: BSD-3-Clause
 * What the readers of the queue share.  Reader threads. */
#pragma once
#include "store/queue_row.h"
#include "store/reader.h"

/* Calls each for the recipients of one message, in order; stops at its first error. */
int reader_each_recipient(struct reader *r, uint64_t id,
	int (*each)(void *ctx, const struct qr_view *q), void *ctx) WARN_UNUSED;
/* One line of JSON. */
int reader_list_message(
	struct reader *r, uint64_t id, const struct q_view *q, struct chain *out) WARN_UNUSED;
/* The list message by message through the queue itself, from op->at.id on; n lines are in this
 * slice already. */
int reader_list_queue(struct reader *r, struct queue_list_op *op, uint32_t n) WARN_UNUSED;
/* reader_queue_find.c: the list along the index. */
int reader_queue_find(struct reader *r, struct queue_list_op *op) WARN_UNUSED;
