/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/store_user.h"
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "store/writer.h"

static void fail(const struct store_user *u, const char *why)
{
	fprintf(stderr, "%s: %s\n", u->name, why);
	exit(1);
}

void store_user_init(struct store_user *u, unsigned chunks, unsigned messages)
{
	if (chunk_pool_init(chunks, -1) < 0 || message_pool_init(messages, -1) < 0 ||
		waker_init(&u->waker) < 0)
		fail(u, "no memory");
}

void store_user_open(struct store_user *u, const char *directory, struct store_conf conf,
	unsigned writer_credits, unsigned reader_credits)
{
	static char path[512];
	char error[512];

	snprintf(path, sizeof(path), "%s/store", directory);
	conf.path = path;
	conf.shards = conf.readers = 1;
	if (store_open(&conf, &u->store, error, sizeof(error)) < 0)
		fail(u, error);
	struct service *w = store_writer(u->store), *r = store_reader(u->store, 0);
	if (channel_init(&u->writer, "uw", writer_credits, &u->waker, &w->waker, -1) < 0 ||
		channel_init(&u->reader, "ur", reader_credits, &u->waker, &r->waker, -1) < 0 ||
		service_add(w, &u->writer) < 0 || service_add(r, &u->reader) < 0 ||
		store_start(u->store) < 0)
		fail(u, "the store does not start");
	u->writer.ctx = u->reader.ctx = u; /* for store_user_settle */
}

void store_user_close(struct store_user *u)
{
	store_stop(u->store);
	store_close(&u->store);
	channel_fini(&u->writer);
	channel_fini(&u->reader);
}

void store_user_settle(struct op *op)
{
	struct store_user *u = op->channel->ctx;

	u->errors += op->status != 0;
	u->pending--;
}

void store_user_submit(
	struct store_user *u, struct channel *c, struct op *op, unsigned kind, op_done_fn done)
{
	op->kind = (uint16_t)kind;
	op->done = done ? done : store_user_settle;
	u->pending++;
	if (channel_submit(c, op) < 0)
		fail(u, "no credit");
}

void store_user_wait(struct store_user *u, struct channel *c, uint32_t n)
{
	while (u->pending >= n) {
		if (channel_poll(c) > 0)
			continue;
		if (u->nap_us)
			usleep(u->nap_us);
		else
			sched_yield();
	}
}

void store_user_run(struct store_user *u, struct channel *c, struct op *op, unsigned kind)
{
	store_user_submit(u, c, op, kind, NULL);
	store_user_wait(u, c, 1);
}

uint64_t store_user_written(void)
{
	char line[128];
	unsigned long long n = 0;
	FILE *f = fopen("/proc/self/io", "r");

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "wchar: %llu", &n) != 1) {
	}
	if (f)
		fclose(f);
	return n;
}

double store_user_cpu_us(struct store *store)
{
	struct timespec ts;
	clockid_t clock;

	if (pthread_getcpuclockid(store->writer->thread, &clock) != 0 ||
		clock_gettime(clock, &ts) != 0)
		return 0;
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}
