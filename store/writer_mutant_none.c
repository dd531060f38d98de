/* SPDX-License-Identifier: BSD-3-Clause
 * The real writer: see writer_mutant.c for the other one. */
#include "store/writer.h"

void writer_mutant_ack(struct writer *w, struct op **ops, unsigned n)
{
	(void)w;
	(void)ops;
	(void)n;
}

bool writer_mutant_hurries(const struct writer *w)
{
	(void)w;
	return false;
}

bool writer_mutant_counts_early(const struct writer *w)
{
	(void)w;
	return false;
}
