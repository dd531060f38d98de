/* SPDX-License-Identifier: BSD-3-Clause
 * Room that the store's files have and do not need.  Under load it is worth more than the disk
 * space: slots of the journal are there to be written, free pages near the others.  So only after
 * a time with little mail, and only while nobody waits: bodies leave slots that hold little else,
 * a checkpoint makes the slots free, and blocks of free slots and pages go back to the file system.
 * In steps of some milliseconds.  Writer thread. */
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "store/body.h"
#include "store/writer.h"

/* Little: the journal has got less than this in the time of give_back_ms.  Chosen: with 10 s some
 * 150 messages of 10 kB a second. */
#define LITTLE        JOURNAL_SLOT
#define LOOK_AGAIN_US (1 * US_PER_SEC) /* when there was nothing to do; chosen */
#define SLOTS_AT_ONCE 4                /* free with a checkpoint: it is made for so many; chosen */

static uint64_t period_us(const struct writer *w)
{
	return w->store->conf.give_back_ms * US_PER_MS;
}

static bool is_calm(struct writer *w, uint64_t now)
{
	uint64_t written = w->db->journal->written;

	if (written - w->room.written >= LITTLE) {
		w->room.calm = false;
	} else if (now - w->room.since_us < period_us(w)) {
		return w->room.calm;
	} else {
		w->room.calm = true;
	}
	w->room.since_us = now;
	w->room.written = written;
	return w->room.calm;
}

/* True: bodies were moved. */
static bool move(struct writer *w)
{
	w->room.giving = true;
	bool moved = body_move_leave(w) && body_move_begin(w) && writer_collect(w);
	w->room.giving = false;
	return moved;
}

/* Slots wait for a checkpoint: the writer's loop makes one. */
static bool checkpoint_ask(struct writer *w)
{
	uint64_t later = journal_free_later(w->db->journal);

	if (later < SLOTS_AT_ONCE * JOURNAL_SLOT || !db_checkpoint_wanted(w->db))
		return false;
	w->db->checkpoint_asked = true;
	return true;
}

/* Else there may be no journal. */
static bool is_ok(const struct writer *w)
{
	return atomic_load_explicit(&w->store->health, memory_order_relaxed) == STORE_OK &&
	       w->db->noting;
}

static bool may_give_back(struct writer *w, uint64_t now)
{
	return w->store->conf.give_back_ms != UINT64_MAX && is_ok(w) && is_calm(w, now);
}

bool writer_give_back(struct writer *w, uint64_t *sleep_us)
{
	uint64_t now = clock_mono_us(), octets;

	if (!may_give_back(w, now))
		return false;
	if (now < w->room.look_us) {
		*sleep_us = MIN(*sleep_us, w->room.look_us - now);
		return false;
	}
	if (now >= w->garbage_retry_us && move(w))
		return true;
	if (!is_ok(w))
		return false;
	if (checkpoint_ask(w))
		return true;
	bool more = db_give_back(w->db, &octets);
	counter_add(CTR_STORE_GIVEN_BACK, octets);
	if (more)
		return true;
	w->room.look_us = now + MIN(period_us(w), (uint64_t)LOOK_AGAIN_US);
	return w->db->checkpoint_asked;
}
