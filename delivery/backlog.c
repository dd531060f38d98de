/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/backlog.h"

static const uint8_t shares[BAND_N] = {
	[BAND_URGENT] = BAND_URGENT_SHARE,
	[BAND_NORMAL] = BAND_NORMAL_SHARE,
	[BAND_BULK] = BAND_BULK_SHARE,
};

static enum backlog_band band_of(const struct schedule *s, uint32_t node)
{
	int8_t priority = s->nodes[node].priority;

	return priority > 0 ? BAND_URGENT : priority < 0 ? BAND_BULK : BAND_NORMAL;
}

void backlog_push(struct schedule *s, struct backlog *b, uint32_t node)
{
	schedule_list_push(s, &b->bands[band_of(s, node)], node);
	s->nodes[node].backlogged = 1;
	b->count++;
}

void backlog_push_head(struct schedule *s, struct backlog *b, uint32_t node)
{
	enum backlog_band band = band_of(s, node);

	schedule_list_push_head(s, &b->bands[band], node);
	s->nodes[node].backlogged = 1;
	b->count++;
	if (b->shares[band] < shares[band])
		b->shares[band]++; /* it has not gone */
}

/* The most urgent band that has both recipients and a share of this turn; BAND_N: none. */
static enum backlog_band band_next(const struct backlog *b)
{
	unsigned i = 0;

	while (i < BAND_N && (b->bands[i].count == 0 || b->shares[i] == 0))
		i++;
	return (enum backlog_band)i;
}

uint32_t backlog_pop(struct schedule *s, struct backlog *b)
{
	if (b->count == 0)
		return SCHEDULE_NONE;
	enum backlog_band band = band_next(b);
	if (band == BAND_N) {
		memcpy(b->shares, shares, sizeof(shares)); /* the next turn */
		band = band_next(b);
	}
	uint32_t node = schedule_list_pop(s, &b->bands[band]);
	s->nodes[node].backlogged = 0;
	b->shares[band]--;
	b->count--;
	return node;
}

void backlog_remove(struct schedule *s, struct backlog *b, uint32_t node)
{
	schedule_list_remove(s, &b->bands[band_of(s, node)], node);
	s->nodes[node].backlogged = 0;
	b->count--;
}

void backlog_move(struct schedule *s, struct backlog *b, uint32_t node, int8_t priority)
{
	struct schedule_list *from = &b->bands[band_of(s, node)];

	s->nodes[node].priority = priority;
	if (from == &b->bands[band_of(s, node)])
		return;
	schedule_list_remove(s, from, node);
	schedule_list_push(s, &b->bands[band_of(s, node)], node);
}
