/* SPDX-License-Identifier: BSD-3-Clause
 * The writer's life and loop.  Natural batching: while one group is being synced the next one
 * gathers on the rings; nothing ever waits for a timer. */
#include "store/writer.h"
#include <errno.h>
#include <stdlib.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "store/db_journal.h"

#define IDLE_US         1000000
#define GROUP_MESSAGES  512 /* a message is two: it comes, and goes */
#define GROUP_BYTES     (8ull << 20)
#define HALVE_BYTES     (1u << 20) /* chosen: half of it takes a disk as long as the writer */
#define DEBT_HIGH_PAGES 65536 /* chosen: 256 MiB of garbage get commits of their own under load */

static void effects_free(struct writer_effects *e)
{
	if (e)
		free(e->list);
	free(e);
}

static void memory_free(struct writer *w)
{
	effects_free(w->effects);
	effects_free(w->pending.effects);
	free(w->expansion);
	writer_index_fini(w);
	free(w);
}

struct writer *writer_create(struct store *s)
{
	struct writer *w =
		aligned_alloc(CACHE_LINE, (sizeof(*w) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->store = s;
	w->db = &s->db;
	w->group_messages = s->conf.group_messages ? s->conf.group_messages : GROUP_MESSAGES;
	w->group_messages = MIN(w->group_messages, (uint32_t)WRITER_GROUP_MAX);
	w->group_bytes = s->conf.group_bytes ? s->conf.group_bytes : GROUP_BYTES;
	w->last_id = w->last_id_stored = w->sweep_below = s->last_id;
	w->garbage = true; /* unknown: the first step finds out */
	w->expansion = calloc(1, sizeof(*w->expansion));
	int err = writer_index_init(w);
	w->effects = calloc(1, sizeof(*w->effects));
	w->pending.effects = calloc(1, sizeof(*w->pending.effects));
	if (!err && w->expansion && w->effects && w->pending.effects &&
		service_init(&w->service) == 0)
		return w;
	memory_free(w);
	return NULL;
}

void writer_destroy(struct writer **wp)
{
	struct writer *w = *wp;

	if (!w)
		return;
	service_fini(&w->service);
	memory_free(w);
	*wp = NULL;
}

static uint64_t op_bytes(const struct op *op)
{
	const struct writer_op *o = writer_op_of(op);

	return o && o->bytes ? o->bytes(op) : 0;
}

/* How much of what was taken goes into one group: all of it, or half, when it is so much that a
 * sync takes long enough to do the other half beside it. */
static uint64_t group_limit(const struct writer *w, struct op **ops, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += op_bytes(ops[i]);
	return bytes < HALVE_BYTES ? w->group_bytes : MIN(w->group_bytes, bytes / 2);
}

/* Runs what was taken in groups, in order. */
static void run(struct writer *w, struct op **ops, unsigned n)
{
	uint64_t limit = group_limit(w, ops, n);
	unsigned from = 0;

	while (from < n) {
		uint64_t bytes = op_bytes(ops[from]);
		unsigned to = from + 1;
		while (to < n && bytes + op_bytes(ops[to]) <= limit)
			bytes += op_bytes(ops[to++]);
		writer_group(w, ops + from, to - from, n - to);
		from = to;
	}
}

static bool collect_due(struct writer *w)
{
	unsigned health = atomic_load_explicit(&w->store->health, memory_order_relaxed);

	writer_refs_look(w);
	return (w->garbage || (writer_index_due(w) && health != STORE_FULL)) &&
	       clock_mono_us() >= w->garbage_retry_us && health != STORE_FAILED;
}

/* The journal is read anew from the last checkpoint on: it is not to become long, and when nothing
 * is to be done there need be none of it. */
static void checkpoint(struct writer *w, bool is_idle)
{
	uint64_t now = clock_mono_us();
	bool failed = atomic_load_explicit(&w->store->health, memory_order_relaxed) == STORE_FAILED;

	w->quiet_us = !is_idle ? 0 : w->quiet_us ? w->quiet_us : now;
	bool quiet = w->quiet_us && now - w->quiet_us >= IDLE_US && db_checkpoint_wanted(w->db);
	if (!failed && (quiet || db_checkpoint_due(w->db))) {
		writer_settle(w);
		failed = atomic_load_explicit(&w->store->health, memory_order_relaxed) ==
			 STORE_FAILED;
	}
	if (failed)
		return;
	int rc = quiet ? db_checkpoint(w->db) : db_checkpoint_tend(w->db);
	if (rc) {
		writer_settle(w);
		writer_fail(w, rc);
	}
}

/* One turn without requests: garbage, the index, recovery, sleep. */
static void idle(struct writer *w)
{
	uint64_t now = clock_mono_us(), sleep_us = IDLE_US;

	writer_settle(w);
	checkpoint(w, true);
	if (atomic_load_explicit(&w->store->health, memory_order_relaxed) == STORE_FAILED) {
		writer_recover(w);
		if (w->reopen_at_us > now)
			sleep_us = MIN(sleep_us, w->reopen_at_us - now);
	} else if (collect_due(w)) {
		writer_collect(w);
		return;
	} else if (writer_give_back(w, &sleep_us)) {
		return;
	} else if (w->garbage && w->garbage_retry_us > now) {
		sleep_us = MIN(sleep_us, w->garbage_retry_us - now);
	} else if (w->refs_due_us > now) {
		sleep_us = MIN(sleep_us, w->refs_due_us - now);
	}
	service_sleep(&w->service, sleep_us);
}

static void *thread_main(void *arg)
{
	struct writer *w = arg;
	struct op *ops[WRITER_GROUP_MAX];

	char name[16];

	snprintf(name, sizeof(name), "writer%u", w->store->shard);
	log_thread_init(name);
	counters_thread_init(name);
	for (;;) {
		bool stopping = service_stopping(&w->service);
		unsigned n = service_take(&w->service, ops, w->group_messages);
		if (n) {
			writer_recover(w);
			run(w, ops, n);
			checkpoint(w, false);
			if (w->debt_pages > DEBT_HIGH_PAGES && collect_due(w))
				writer_collect(w);
		} else if (stopping) {
			writer_settle(w);
			return NULL;
		} else {
			idle(w);
		}
	}
}

int writer_start(struct writer *w)
{
	int err = db_threads_start(w->db);

	if (!err)
		err = -pthread_create(&w->thread, NULL, thread_main, w);
	if (err)
		db_threads_stop(w->db);
	return err;
}

void writer_stop(struct writer *w)
{
	service_stop(&w->service);
	pthread_join(w->thread, NULL);
	db_threads_stop(w->db);
}
