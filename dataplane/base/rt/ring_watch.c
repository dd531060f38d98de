/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/rt/ring_watch.h"
#include <pthread.h>
#include <rte_ring.h>

static struct ring_watch *watches[RING_WATCHES_MAX];
static unsigned watch_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

const char *ring_kind_text(enum ring_kind kind)
{
	static const char *const text[] = {
		[RING_REQUEST] = "request", [RING_HINT] = "hint", [RING_PACKET] = "packet"};

	return kind < ARRAY_LEN(text) ? text[kind] : "?";
}

void ring_watch_add(struct ring_watch *w, const struct rte_ring *ring, enum ring_kind kind)
{
	w->ring = ring;
	w->kind = kind;
	atomic_init(&w->high, 0);
	atomic_init(&w->drops, 0);
	pthread_mutex_lock(&lock);
	if (watch_count < RING_WATCHES_MAX)
		watches[watch_count++] = w;
	pthread_mutex_unlock(&lock);
}

void ring_watch_remove(struct ring_watch *w)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < watch_count; i++) {
		if (watches[i] == w) {
			watches[i] = watches[--watch_count];
			break;
		}
	}
	pthread_mutex_unlock(&lock);
	w->ring = NULL;
}

bool ring_watch_get(unsigned i, struct ring_info *out)
{
	pthread_mutex_lock(&lock);
	const struct ring_watch *w = i < watch_count ? watches[i] : NULL;
	if (w) {
		*out = (struct ring_info){.kind = w->kind,
			.size = rte_ring_get_capacity(w->ring),
			.depth = rte_ring_count(w->ring),
			.high = atomic_load_explicit(&w->high, memory_order_relaxed),
			.drops = atomic_load_explicit(&w->drops, memory_order_relaxed)};
		snprintf(out->name, sizeof(out->name), "%s", w->ring->name);
	}
	pthread_mutex_unlock(&lock);
	return w != NULL;
}
