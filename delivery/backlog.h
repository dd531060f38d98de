/* SPDX-License-Identifier: BSD-3-Clause
 * Recipients of a domain that are due, in bands of priority (RFC 6710).  Within a band first come,
 * first served; between them the urgent go first, but each band gets its share of every turn, so
 * that a flood of one starves no other.  OWNER: one core's thread. */
#pragma once
#include "delivery/schedule.h"

enum backlog_band { BAND_URGENT, BAND_NORMAL, BAND_BULK, BAND_N };

/* How many of each band a turn has, as long as there are some; chosen: bulk mail keeps a thirteenth
 * of a destination whatever else there is for it. */
#define BAND_URGENT_SHARE 8
#define BAND_NORMAL_SHARE 4
#define BAND_BULK_SHARE   1

struct backlog {
	struct schedule_list bands[BAND_N];
	uint32_t count;         /* in all bands */
	uint8_t shares[BAND_N]; /* left of this turn */
};
static inline struct backlog backlog_empty(void)
{
	struct backlog b = {.count = 0};

	for (unsigned i = 0; i < BAND_N; i++)
		b.bands[i] = SCHEDULE_LIST_EMPTY;
	return b;
}

/* A DUE node that is on no list joins the band of its priority, or goes back to its head. */
void backlog_push(struct schedule *s, struct backlog *b, uint32_t node);
void backlog_push_head(struct schedule *s, struct backlog *b, uint32_t node);
/* The next one; SCHEDULE_NONE: there is none. */
uint32_t backlog_pop(struct schedule *s, struct backlog *b);
/* A node that is in the backlog leaves it. */
void backlog_remove(struct schedule *s, struct backlog *b, uint32_t node);
/* A node that is in the backlog changes its priority: it goes behind those that have it. */
void backlog_move(struct schedule *s, struct backlog *b, uint32_t node, int8_t priority);
