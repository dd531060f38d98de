/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/syncer.h"
#include <string.h>

static void *thread_main(void *arg)
{
	struct syncer *s = arg;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!s->asked && !s->stopping)
			pthread_cond_wait(&s->moved, &s->lock);
		if (!s->asked)
			break;
		s->asked = false;
		pthread_mutex_unlock(&s->lock);
		int result = s->work(s->ctx);
		pthread_mutex_lock(&s->lock);
		s->result = result;
		s->done = true;
		pthread_cond_broadcast(&s->moved);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int syncer_start(struct syncer *s, const char *name, int (*work)(void *ctx), void *ctx)
{
	*s = (struct syncer){.work = work, .ctx = ctx};
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->moved, NULL);
	int err = pthread_create(&s->thread, NULL, thread_main, s);
	s->started = err == 0;
	if (s->started)
		pthread_setname_np(s->thread, name);
	return -err;
}

void syncer_stop(struct syncer *s)
{
	if (!s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->moved);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->moved);
	pthread_mutex_destroy(&s->lock);
	s->started = s->pending = false;
}

void syncer_ask(struct syncer *s)
{
	BUG_ON(s->pending);
	pthread_mutex_lock(&s->lock);
	s->asked = s->pending = true;
	s->done = false;
	pthread_cond_broadcast(&s->moved);
	pthread_mutex_unlock(&s->lock);
}

bool syncer_done(struct syncer *s)
{
	pthread_mutex_lock(&s->lock);
	bool done = s->pending && s->done;
	pthread_mutex_unlock(&s->lock);
	return done;
}

int syncer_wait(struct syncer *s)
{
	pthread_mutex_lock(&s->lock);
	while (!s->done)
		pthread_cond_wait(&s->moved, &s->lock);
	int result = s->result;
	s->pending = false;
	pthread_mutex_unlock(&s->lock);
	return result;
}
