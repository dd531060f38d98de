/* SPDX-License-Identifier: BSD-3-Clause
 * The slots of a journal: which is written next, what is live in each, and their blocks. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "store/file_hole.h"
#include "store/journal_priv.h"

/* Octets of a slot that get their blocks at once; chosen. */
#define ALLOCATE ((uint32_t)MIN(1ull << 20, JOURNAL_SLOT))
#define BLOCK    4096 /* octets that a file system gives back at least */

int journal_slots_grow(struct journal *j, uint32_t count)
{
	struct journal_slot *slots = realloc(j->slots, count * sizeof(*slots));

	if (!slots)
		return ENOMEM;
	memset(slots + j->slot_count, 0, (count - j->slot_count) * sizeof(*slots));
	j->slots = slots;
	uint32_t *touched = realloc(j->touched, count * sizeof(*touched));
	if (!touched)
		return ENOMEM;
	j->touched = touched;
	j->slot_count = count;
	return 0;
}

int journal_allocate(struct journal *j, uint64_t end)
{
	struct journal_slot *s = &j->slots[journal_slot_of(j->at)];
	uint64_t base = j->at / JOURNAL_SLOT * JOURNAL_SLOT;

	while (base + s->allocated < end) {
		int rc = posix_fallocate(j->fd, (off_t)(base + s->allocated), ALLOCATE);
		if (rc)
			return rc;
		s->allocated += ALLOCATE;
		j->size = MAX(j->size, base + s->allocated);
	}
	return 0;
}

void journal_live_settle(struct journal *j, uint64_t txn)
{
	for (uint32_t i = 0; i < j->touched_n; i++) {
		struct journal_slot *s = &j->slots[j->touched[i]];
		s->live = (uint64_t)((int64_t)s->live + s->delta);
		s->delta = 0;
		s->touched = false;
		s->empty_txn = txn;
	}
	j->touched_n = 0;
}

static bool is_behind(const struct journal *j, const struct journal_slot *s)
{
	return s->last_number < j->head.number && s->empty_txn <= j->head.txn;
}

static bool is_unneeded(const struct journal *j, uint32_t i, uint64_t oldest)
{
	const struct journal_slot *s = &j->slots[i];

	return !s->live && !s->delta &&
	       (j->early_reuse || (is_behind(j, s) && s->empty_txn <= oldest));
}

static bool is_free(const struct journal *j, uint32_t i, uint64_t oldest)
{
	return i != journal_slot_of(j->at) && is_unneeded(j, i, oldest);
}

int journal_next(struct journal *j, uint64_t oldest)
{
	uint32_t i = 1;

	while (i < j->slot_count && !is_free(j, i, oldest))
		i++;
	if (i >= JOURNAL_SLOTS_MAX)
		return ENOSPC;
	int rc = i >= j->slot_count ? journal_slots_grow(j, i + 1) : 0;
	if (rc)
		return rc;
	uint64_t at = j->at;
	j->at = i * JOURNAL_SLOT;
	j->slots[i].stuck = false;
	/* Blocks before a hole say nothing of those in it. */
	j->slots[i].allocated = j->slots[i].hole ? 0 : j->slots[i].allocated;
	j->slots[i].hole = 0;
	j->slots[i].trimmed = false;
	rc = journal_allocate(j, j->at + ALLOCATE);
	if (rc)
		j->at = at;
	return rc;
}

void journal_live(struct journal *j, uint64_t at, int64_t n)
{
	uint32_t i = journal_slot_of(at);

	if (i == 0 || i >= j->slot_count)
		return; /* damage: store check finds it */
	struct journal_slot *s = &j->slots[i];
	s->delta += n;
	if (s->touched)
		return;
	s->touched = true;
	j->touched[j->touched_n++] = i;
}

void journal_usage(const struct journal *j, uint64_t *octets_r, uint64_t *live_r)
{
	*octets_r = *live_r = 0;
	for (uint32_t i = 1; i < j->slot_count; i++) {
		*live_r += j->slots[i].live;
		if (i == journal_slot_of(j->at))
			*octets_r += j->at % JOURNAL_SLOT;
		else if (j->slots[i].live)
			*octets_r += JOURNAL_SLOT;
	}
}

/* Octets with blocks of slots in which nothing is live; `later`: of those that need a checkpoint.
 */
static uint64_t free_octets(const struct journal *j, bool later)
{
	uint64_t n = 0;

	for (uint32_t i = 1; i < j->slot_count; i++) {
		const struct journal_slot *s = &j->slots[i];
		if (s->live == 0 && i != journal_slot_of(j->at) && !(later && is_behind(j, s)))
			n += JOURNAL_SLOT - s->hole;
	}
	return n;
}

uint64_t journal_free(const struct journal *j)
{
	return free_octets(j, false);
}

uint64_t journal_free_later(const struct journal *j)
{
	return free_octets(j, true);
}

/* What is before the record under way and not needed, or what the slot held in an earlier life. */
static int current_give_back(struct journal *j, uint64_t oldest, uint64_t *octets_r)
{
	uint32_t i = journal_slot_of(j->at), in_slot = (uint32_t)(j->at % JOURNAL_SLOT);
	uint64_t base = i * JOURNAL_SLOT;
	struct journal_slot *s = &j->slots[i];

	if (i == 0)
		return 0;
	uint32_t done = in_slot / BLOCK * BLOCK, end = MIN(done + ALLOCATE, (uint32_t)JOURNAL_SLOT);
	if (done > s->hole && is_unneeded(j, i, oldest)) {
		*octets_r = done - s->hole;
		int rc = file_hole(j->fd, base + s->hole, *octets_r);
		s->hole = rc ? s->hole : done;
		return rc;
	}
	if (s->trimmed || end == JOURNAL_SLOT)
		return 0;
	*octets_r = JOURNAL_SLOT - end;
	int rc = file_hole(j->fd, base + end, *octets_r);
	s->trimmed = !rc;
	s->allocated = MIN(s->allocated, end);
	return rc;
}

int journal_give_back(struct journal *j, uint64_t oldest, uint64_t *octets_r)
{
	*octets_r = 0;
	for (uint32_t i = 1; i < j->slot_count; i++) {
		struct journal_slot *s = &j->slots[i];
		if (s->hole == JOURNAL_SLOT || !is_free(j, i, oldest))
			continue;
		*octets_r = JOURNAL_SLOT - s->hole;
		int rc = file_hole(j->fd, i * JOURNAL_SLOT + s->hole, *octets_r);
		s->hole = rc ? s->hole : JOURNAL_SLOT;
		s->allocated = 0;
		return rc;
	}
	return current_give_back(j, oldest, octets_r);
}

static bool has_slack(const struct journal_slack *slack, uint64_t octets, uint64_t live)
{
	return octets > slack->spare + live + live / slack->part;
}

bool journal_is_sparse(const struct journal *j, const struct journal_slack *slack)
{
	uint64_t live = j->slots[journal_slot_of(j->at)].live;

	return live && has_slack(slack, j->at % JOURNAL_SLOT, live);
}

uint32_t journal_victim(const struct journal *j, const struct journal_slack *slack)
{
	uint64_t octets, live;
	uint32_t best = 0;

	journal_usage(j, &octets, &live);
	if (!has_slack(slack, octets, live))
		return 0;
	for (uint32_t i = 1; i < j->slot_count; i++) {
		const struct journal_slot *s = &j->slots[i];
		if (s->live && !s->stuck && i != journal_slot_of(j->at) &&
			(best == 0 || s->live < j->slots[best].live))
			best = i;
	}
	return best;
}
