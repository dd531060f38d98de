/* SPDX-License-Identifier: BSD-3-Clause
 * The schedule and the store kept together: loading at start, ready hints, what an operator
 * changed, what was dropped or did not fit.  At most one read that may add recipients is under way,
 * and what finishes meanwhile stays known until it is over, so that an older view of the store
 * never brings a finished recipient back.  OWNER: one core's thread. */
#pragma once
#include "delivery/schedule.h"
#include "store/store.h"

struct delivery;

#define REFRESH_IDS_MAX 512 /* messages an operator changed, to be read; a power of two */

struct refresh {
	struct delivery *d;
	unsigned shard;
	bool reading;  /* one of the two ops is under way */
	bool scanning; /* slices go on from slice.from_* */
	bool loading;  /* the first scan is not over */
	uint64_t scan_until_ms;
	/* What the next scans are for; UINT64_MAX: nothing. */
	uint64_t hole_ms;      /* rows due from here until soon may not be in memory: lost hints */
	uint64_t horizon_ms;   /* rows due from here on, without end, may not be: no room */
	uint64_t full_at_us;   /* a lost hint may have been about a later row: scan all then */
	uint64_t scan_from_us; /* no scan before this */
	uint32_t ids_head, ids_n;
	uint64_t ids[REFRESH_IDS_MAX];
	struct schedule_read_op slice;
	struct queue_read_op one;
};

void refresh_init(struct delivery *d);
/* Returns work done. */
unsigned refresh_poll(struct delivery *d);
