/* SPDX-License-Identifier: BSD-3-Clause
 * A thread that does one slow thing at a time for another one: a sync of a file.  All functions:
 * the thread that has started it. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include "dataplane/base/check.h"

struct syncer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	int (*work)(void *ctx); /* 0 or an error */
	void *ctx;
	int result;
	bool started, asked, done, stopping; /* asked, done, stopping, result: under the lock */
	bool pending;                        /* asked for, not fetched; the starter's own */
};

/* 0 or -errno. */
int syncer_start(struct syncer *s, const char *name, int (*work)(void *ctx), void *ctx) WARN_UNUSED;
/* What is pending is done first; its result is lost. */
void syncer_stop(struct syncer *s);
/* Nothing is pending. */
void syncer_ask(struct syncer *s);
static inline bool syncer_pending(const struct syncer *s)
{
	return s->pending;
}
/* Is it done? */
bool syncer_done(struct syncer *s);
/* Waits for it; what work returned. */
int syncer_wait(struct syncer *s) WARN_UNUSED;
