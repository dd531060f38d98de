/* SPDX-License-Identifier: BSD-3-Clause
 * Queue and blob ids, made on the core that accepts the message, so that an id is known (Received,
 * log, reply) before the store has seen it.  48 bits of milliseconds since 1970, 6 bits of core, 10
 * bits of sequence: ordered by time, unique over cores and restarts (the store gives the floor). */
#pragma once
#include "dataplane/base/clock.h"

#define IDS_CORES_MAX 64

struct ids {
	uint64_t last_ms;
	uint32_t sequence;
	uint32_t core;
};

/* floor: the highest id in the store (0: none). */
static inline void ids_init(struct ids *g, uint32_t core, uint64_t floor)
{
	BUG_ON(core >= IDS_CORES_MAX);
	*g = (struct ids){.last_ms = floor >> 16, .core = core, .sequence = 1023};
}

/* now_ms: wall clock.  A clock that steps back does not repeat an id. */
static inline uint64_t ids_next(struct ids *g, uint64_t now_ms)
{
	if (now_ms > g->last_ms) {
		g->last_ms = now_ms;
		g->sequence = 0;
	} else if (++g->sequence == 1024) {
		g->last_ms++;
		g->sequence = 0;
	}
	return g->last_ms << 16 | (uint64_t)g->core << 10 | g->sequence;
}

/* Which of `lanes` shards an id belongs to.  Stable for ever: rows lie there.  Successive ids
 * spread evenly, whatever the number of lanes. */
static inline unsigned ids_lane(uint64_t id, unsigned lanes)
{
	return lanes <= 1 ? 0 : (unsigned)((id * 0x9e3779b97f4a7c15ull >> 40) % lanes);
}

/* An id of one lane.  A few draws per lane find one (test_ids looks at all). */
static inline uint64_t ids_next_in(struct ids *g, uint64_t now_ms, unsigned lane, unsigned lanes)
{
	uint64_t id = ids_next(g, now_ms);

	while (ids_lane(id, lanes) != lane)
		id = ids_next(g, now_ms);
	return id;
}
