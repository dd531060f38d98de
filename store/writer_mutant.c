/* SPDX-License-Identifier: BSD-3-Clause
 * A writer that is wrong on purpose, to prove that the crash tests notice: it answers an accept
 * before the commit, or a group before its meta page is on disk, or its index says that it has what
 * it has not.  Only built with -Dmutants=true. */
#include <time.h>
#include "store/writer.h"

#define LATE_NS 20000000 /* between answer and commit: what a kill must be able to hit */

void writer_mutant_ack(struct writer *w, struct op **ops, unsigned n)
{
	const struct timespec late = {.tv_nsec = LATE_NS};
	bool any = false;

	if (!w->store->conf.mutant_early_ack)
		return;
	for (unsigned i = 0; i < n; i++) {
		if (ops[i]->kind != HANDOFF_ACCEPT)
			continue;
		struct accept_op *a = container_of(ops[i], struct accept_op, op);
		ops[i] = writer_early_copy(a);
		BUG_ON(!ops[i]);
		a->refused = 0;
		a->op.status = HANDOFF_OK;
		channel_complete(&a->op);
		any = true;
	}
	if (any)
		nanosleep(&late, NULL);
}

bool writer_mutant_hurries(const struct writer *w)
{
	return w->store->conf.mutant_unsynced_ack;
}

bool writer_mutant_counts_early(const struct writer *w)
{
	return w->store->conf.mutant_early_index;
}
