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
/* reader_queue_find.c: the list along an index. */
int reader_queue_find(struct reader *r, struct queue_list_op *op) WARN_UNUSED;
