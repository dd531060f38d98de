/* SPDX-License-Identifier: BSD-3-Clause
 * A hostile free list: every other one of many one-page bodies has gone, so that no two free pages
 * lie together, and then large messages come, eight in a commit.
 *
 *   bench_holes DIR [holes] [octets of a large message] [commits] */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/log.h"
#include "dataplane/base/rt/eal.h"
#include "dataplane/base/rt/ids.h"
#include "store/store_priv.h"

#define GROUP       8   /* large messages at a time */
#define OUTSTANDING 512 /* small ones */
#define MAP_BYTES   (32ull << 30)
#define COMMITS_MAX 4096
#define WAIT_US     (120 * US_PER_SEC) /* for the garbage to be freed */

struct slot {
	union {
		struct op op;
		struct accept_op accept;
		struct results_op result;
	} u;
	struct rcpt_result row;
	struct message *message;
};

static struct slot slots[OUTSTANDING];
static struct channel channel;
static struct waker waker;
static struct store *store;
static struct ids ids;
static uint8_t *content;
static unsigned errors;

static void die(const char *what)
{
	fprintf(stderr, "bench_holes: %s\n", what);
	exit(1);
}

static void done(struct op *op)
{
	struct slot *s = container_of(op, struct slot, u.op);

	errors += op->status != 0;
	if (s->message)
		message_unref(s->message);
	s->message = NULL;
}

static void wait_all(void)
{
	while (channel_in_flight(&channel)) {
		if (channel_poll(&channel) == 0)
			usleep(20);
	}
}

static uint64_t accept_one(struct slot *s, unsigned octets)
{
	struct message *m = message_new();

	if (!m || message_set_sender(m, BYTES_LIT("a@example.org")) < 0 ||
		message_add_rcpt(m, BYTES_LIT("b@example.net"), RCPT_REMOTE, 0) < 0 ||
		chain_append(&m->body, bytes_make(content, octets)) < 0)
		die("no memory for messages");
	m->id = ids_next(&ids, clock_wall_ms());
	m->received_ms = clock_wall_ms();
	m->header_bytes = octets;
	s->message = m;
	s->u.accept = (struct accept_op){
		.op = {.kind = HANDOFF_ACCEPT, .done = done},
                  .message = m
        };
	if (channel_submit(&channel, &s->u.op) < 0)
		die("no credit");
	return m->id;
}

static void deliver_one(struct slot *s, uint64_t id)
{
	s->row = (struct rcpt_result){.outcome = ATTEMPT_DELIVERED};
	s->u.result = (struct results_op){
		.op = {.kind = STORE_RESULT, .done = done},
		.id = id,
		.count = 1,
		.results = &s->row
        };
	if (channel_submit(&channel, &s->u.op) < 0)
		die("no credit");
}

/* One page each, then every other one goes. */
static void holes_make(unsigned holes)
{
	uint64_t *id = calloc(2 * (size_t)holes, sizeof(*id)), end = clock_mono_us() + WAIT_US;
	struct db_table gc;

	if (!id)
		die("no memory");
	for (unsigned i = 0; i < 2 * holes; i++) {
		if (i % OUTSTANDING == 0)
			wait_all();
		id[i] = accept_one(&slots[i % OUTSTANDING], CHUNK_DATA);
	}
	wait_all();
	for (unsigned i = 0; i < holes; i++) {
		if (i % OUTSTANDING == 0)
			wait_all();
		deliver_one(&slots[i % OUTSTANDING], id[2 * i]);
	}
	wait_all();
	free(id);
	while (db_table_look(&store->db, DB_GC, &gc) == 0 && gc.rows) {
		if (clock_mono_us() > end)
			die("the garbage does not go");
		usleep(10000);
	}
}

static int later(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void large_come(unsigned octets, unsigned commits)
{
	static uint32_t us[COMMITS_MAX];
	uint64_t before = db_used_bytes(&store->db);

	for (unsigned n = 0; n < commits; n++) {
		uint64_t start = clock_mono_us();
		for (unsigned i = 0; i < GROUP; i++)
			accept_one(&slots[i], octets);
		wait_all();
		us[n] = (uint32_t)(clock_mono_us() - start);
	}
	uint64_t after = db_used_bytes(&store->db);
	qsort(us, commits, sizeof(us[0]), later);
	printf("{\"bench\":\"holes\",\"octets\":%u,\"messages\":%u,\"file\":%llu,\"grown\":%llu,"
	       "\"mail\":%llu,\"us_p50\":%u,\"us_p99\":%u,\"errors\":%u}\n",
		octets, commits * GROUP, (unsigned long long)before,
		(unsigned long long)(after - before), (unsigned long long)octets * commits * GROUP,
		us[commits / 2], us[commits * 99 / 100], errors);
}

static void start(const char *path)
{
	struct store_conf conf = {.path = path,
		.shards = 1,
		.readers = 1,
		.map_bytes = MAP_BYTES,
		.reserve_bytes = 1,
		.queue_lifetime_ms = 86400000};
	char error[512];

	eal_start_for_tests(256);
	if (chunk_pool_init(8192, -1) < 0 || message_pool_init(2 * OUTSTANDING, -1) < 0 ||
		waker_init(&waker) < 0)
		die("not enough memory");
	if (store_open(&conf, &store, error, sizeof(error)) < 0)
		die(error);
	struct service *w = store_writer(store);
	if (channel_init(&channel, "bench", OUTSTANDING, &waker, &w->waker, -1) < 0 ||
		service_add(w, &channel) < 0 || store_start(store) < 0)
		die("no threads");
	ids_init(&ids, 0, store_last_id(store));
}

int main(int argc, char **argv)
{
	unsigned holes = argc > 2 ? (unsigned)atoi(argv[2]) : 50000;
	unsigned octets = argc > 3 ? (unsigned)atoi(argv[3]) : 120000;
	unsigned commits = argc > 4 ? (unsigned)atoi(argv[4]) : 150;

	if (argc < 2 || !holes || octets < CHUNK_DATA || octets > 1u << 20 || !commits ||
		commits > COMMITS_MAX) {
		fprintf(stderr, "usage: bench_holes DIR [holes] [octets] [commits]\n");
		return 2;
	}
	log_set_level(LOG_WARN);
	content = malloc(octets);
	if (!content)
		die("no memory");
	memset(content, 'x', octets);
	start(argv[1]);
	holes_make(holes);
	large_come(octets, commits);
	store_stop(store);
	store_close(&store);
	return errors ? 1 : 0;
}
