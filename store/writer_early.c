/* SPDX-License-Identifier: BSD-3-Clause
 * Answers before the commit: the mode `relaxed`.  An op that has been answered belongs to its
 * requester again; a copy that holds the message takes its place until the commit is through.
 * Writer thread. */
#include <stdlib.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "store/writer.h"

struct op *writer_early_copy(struct accept_op *a)
{
	struct accept_op *copy = malloc(sizeof(*copy));

	if (!copy)
		return NULL;
	*copy = *a;
	copy->op.channel = NULL; /* nobody waits for it */
	message_ref(copy->message);
	return &copy->op;
}

bool writer_early_complete(struct op *op)
{
	if (op->channel)
		return false;
	struct accept_op *a = container_of(op, struct accept_op, op);
	if (op->status != HANDOFF_OK && op->status != HANDOFF_REFUSED) {
		counter_inc(CTR_STORE_RELAXED_LOST);
		log_error("store", "relaxed-lost id=%016llx status=%d",
			(unsigned long long)a->message->id, op->status);
	}
	message_unref(a->message);
	free(a);
	return true;
}

/* The puts are done; what remains is the commit, which follows at once.  Without memory for the
 * copy an op is answered as in the mode `sync`. */
void writer_relaxed_ack(struct writer *w, struct op **ops, unsigned n)
{
	if (!w->store->conf.relaxed)
		return;
	for (unsigned i = 0; i < n; i++) {
		if (ops[i]->kind != HANDOFF_ACCEPT || !ops[i]->channel ||
			ops[i]->status != HANDOFF_OK)
			continue;
		struct op *original = ops[i];
		struct op *copy = writer_early_copy(container_of(original, struct accept_op, op));
		if (!copy)
			continue;
		ops[i] = copy;
		channel_complete(original);
	}
}
