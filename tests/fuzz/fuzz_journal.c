/* SPDX-License-Identifier: BSD-3-Clause
 * A journal as a damaged disk may give it back: the input is a slot.  Headers get their right
 * checksums, so that what is behind them is looked at; every record and row that is found must lie
 * in the file, and the walk must end. */
#include <stdlib.h>
#include "dataplane/base/crc32c.h"
#include "store/body.h"

#define RECORDS_MAX 1000000 /* a walk that is longer goes in circles */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Gives a record that begins at `at` the checksums it should have, when its lengths fit. */
static void mend(uint8_t *slot, size_t at, size_t size)
{
	struct journal_record r;

	if (size - at < sizeof(r))
		return;
	memcpy(&r, slot + at, sizeof(r));
	size_t left = size - at - sizeof(r);
	r.bodies_n %= left + 2;
	r.rows_n %= left + 2;
	if (r.bodies_n + r.rows_n <= left)
		r.rows_crc = crc32c(0, slot + at + sizeof(r) + r.bodies_n, r.rows_n);
	r.crc = crc32c(0, &r, offsetof(struct journal_record, crc));
	memcpy(slot + at, &r, sizeof(r));
}

static void look(const struct journal *j, const struct journal_view *v)
{
	struct bytes rows = v->rows;
	struct journal_row r;
	size_t left = rows.n;

	BUG_ON(rows.p < j->map || rows.p + rows.n > j->map + j->size);
	while (journal_row_next(&rows, &r)) {
		BUG_ON(rows.n >= left);
		left = rows.n;
		BUG_ON(r.key.p + r.key.n != r.value.p ||
			r.value.p + r.value.n > v->rows.p + v->rows.n);
		(void)body_row_is_whole(j, v, DB_BLOB, r.value);
		(void)body_row_is_whole(j, v, DB_EXTENT, r.value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *file = malloc(JOURNAL_SLOT + size);
	struct journal j = {.map = file, .size = JOURNAL_SLOT + size};
	uint64_t at = JOURNAL_SLOT;
	struct journal_view v;

	BUG_ON(!file);
	if (size)
		memcpy(file + JOURNAL_SLOT, data, size);
	for (unsigned i = 0; i < RECORDS_MAX && at - JOURNAL_SLOT <= size; i++) {
		mend(file + JOURNAL_SLOT, at - JOURNAL_SLOT, size);
		if (!journal_view(&j, at, &v))
			break;
		BUG_ON(v.next <= at || i + 1 == RECORDS_MAX);
		look(&j, &v);
		at = v.next;
	}
	free(file);
	return 0;
}
