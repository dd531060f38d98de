/* SPDX-License-Identifier: BSD-3-Clause
 * Waking a sleeping thread.  The sleeper sets `asleep`, fences, looks at its rings once more and
 * sleeps on the eventfd; a producer enqueues, fences, and writes the eventfd only when `asleep`.
 * So a busy consumer costs a producer one load and no system call. */
#pragma once
#include <stdatomic.h>
#include "dataplane/base/check.h"

struct waker {
	alignas(CACHE_LINE) atomic_bool asleep; /* written by the sleeper, read by producers */
	int fd;                                 /* eventfd, non-blocking */
};

/* Returns 0 or -errno. */
int waker_init(struct waker *w) WARN_UNUSED;
void waker_fini(struct waker *w);

/* Producer, after its enqueue.  Any thread. */
void waker_kick(struct waker *w);

/* Sleeper: announce the sleep.  Then poll every ring once more; with work call waker_end, else
 * waker_wait (or poll w->fd together with other descriptors) and then waker_end. */
void waker_begin(struct waker *w);
/* Sleep until kicked or timeout_us has passed. */
void waker_wait(struct waker *w, uint64_t timeout_us);
/* Awake again: clears `asleep` and the eventfd. */
void waker_end(struct waker *w);
