/* SPDX-License-Identifier: BSD-3-Clause
 * A long queue beside an empty one: what it costs to fill, to open, to load the schedule of while
 * new mail is taken, to look up in, to change by filter, and to take from, in order of due time and
 * at random.
 *
 *   bench_queue DIR [messages] [recipients of each] [octets]
 *
 * One JSON object on stdout, what is under way on stderr.  Resident memory is the process's own,
 * without the map's pages, which belong to the page cache; it grows by the schedule that a delivery
 * worker would keep. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bench/store_user.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/rt/eal.h"
#include "delivery/schedule.h"

#define OUTSTANDING       256
#define RCPTS_MAX         100
#define LOAD_ROWS         512 /* of a slice, as delivery asks for them */
#define LOAD_ACCEPT_EVERY 500
#define DOMAINS           1000
#define SCHEDULE_SPARE    100000 /* recipients that come while it is loaded */
#define SAMPLE_MAX        20000  /* messages of each figure */

static struct slot {
	struct accept_op accept; /* first: done() gets the op */
	struct results_op results;
	struct rcpt_result rows[RCPTS_MAX];
} slots[OUTSTANDING];

static struct store_user user = {.name = "bench_queue", .nap_us = 20};
static uint64_t messages = 100000, next_id = 1;
static uint64_t taken; /* id of the oldest message */
static uint32_t rcpts = 10, octets = 2048;
static uint8_t *content;

static double seconds_since(uint64_t us)
{
	return (double)(clock_mono_us() - us) / 1e6;
}

/* Anonymous memory of this process, in octets. */
static uint64_t resident(void)
{
	char line[256];
	unsigned long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "RssAnon: %lu", &kib) != 1) {
	}
	if (f)
		fclose(f);
	return (uint64_t)kib << 10;
}

static void accept_done(struct op *op)
{
	message_unref(container_of(op, struct accept_op, op)->message);
	store_user_settle(op);
}

static void accept_one(struct slot *s)
{
	struct message *m = message_new();
	char address[64];
	int err = m ? 0 : -ENOMEM;

	if (!err) {
		m->id = next_id++;
		err = message_set_sender(m, BYTES_LIT("sender@example.org"));
	}
	for (uint32_t i = 0; i < rcpts && !err; i++) {
		snprintf(address, sizeof(address), "r%u@d%u.example.net", i,
			(unsigned)((m->id * 7 + i) % DOMAINS));
		err = message_add_rcpt(m, bytes_str(address), RCPT_REMOTE, 0);
	}
	if (!err)
		err = chain_append(&m->body, bytes_make(content, octets));
	if (err) {
		fprintf(stderr, "bench_queue: no memory\n");
		exit(1);
	}
	s->accept = (struct accept_op){.message = m};
	store_user_submit(&user, &user.writer, &s->accept.op, HANDOFF_ACCEPT, accept_done);
}

/* Messages/s; slots are used in turn, which is right because the writer answers in order. */
static double fill(uint64_t n)
{
	uint64_t start = clock_mono_us();

	for (uint64_t i = 0; i < n; i++) {
		store_user_wait(&user, &user.writer, OUTSTANDING);
		accept_one(&slots[i % OUTSTANDING]);
	}
	store_user_wait(&user, &user.writer, 1);
	return (double)n / seconds_since(start);
}

static double take(uint64_t n, uint64_t (*which)(uint64_t i))
{
	uint64_t start = clock_mono_us();

	for (uint64_t i = 0; i < n; i++) {
		struct slot *s = &slots[i % OUTSTANDING];
		store_user_wait(&user, &user.writer, OUTSTANDING);
		for (uint32_t r = 0; r < rcpts; r++)
			s->rows[r] = (struct rcpt_result){.rcpt = r, .outcome = ATTEMPT_DELIVERED};
		s->results =
			(struct results_op){.id = which(i), .count = rcpts, .results = s->rows};
		store_user_submit(&user, &user.writer, &s->results.op, STORE_RESULT, NULL);
	}
	store_user_wait(&user, &user.writer, 1);
	return (double)n / seconds_since(start);
}

/* What does not depend on what else the machine does. */
struct cost {
	double kb, cpu_us; /* of a message: thousands of octets written, CPU time of the writer */
};

static struct cost cost_now(void)
{
	return (struct cost){(double)store_user_written() / 1e3, store_user_cpu_us(user.store)};
}

static struct cost cost_since(const struct cost *before, uint64_t n)
{
	struct cost now = cost_now();

	return (struct cost){
		(now.kb - before->kb) / (double)n, (now.cpu_us - before->cpu_us) / (double)n};
}

static uint64_t in_order(uint64_t i)
{
	return taken + i;
}

/* A permutation of the last three quarters. */
static uint64_t at_random(uint64_t i)
{
	uint64_t part = messages - messages / 4;

	return taken + messages / 4 + i * 7919 % part;
}

/* Rows of a slice go into a schedule in memory, as a delivery worker has it. */
static uint64_t slice_take(struct schedule *memory, const struct chain *out)
{
	uint64_t rows = 0;

	for (const struct chunk *c = out->head; c; c = c->next) {
		for (uint32_t at = 0; at < c->n; rows++) {
			struct schedule_row row;
			memcpy(&row, c->data + at, sizeof(row));
			at += (uint32_t)(sizeof(row) + row.domain_n + 7) & ~7u;
			uint32_t i = schedule_add(
				memory, row.id, row.rcpt, (uint32_t)(row.id % DOMAINS), 0);
			if (i == SCHEDULE_NONE)
				user.errors++;
			else
				schedule_wait(memory, i, row.next_ms);
		}
	}
	return rows;
}

struct loaded {
	uint64_t rows;
	double seconds;
	uint64_t accepted;     /* messages taken meanwhile */
	double slowest_accept; /* seconds */
};

static void accept_now(struct loaded *l)
{
	uint64_t start = clock_mono_us();

	accept_one(&slots[0]);
	store_user_wait(&user, &user.writer, 1);
	l->accepted++;
	l->slowest_accept = MAX(l->slowest_accept, seconds_since(start));
}

/* The whole schedule, in slices; between two of them, now and then, a message is taken. */
static void load(struct schedule *memory, struct loaded *l)
{
	struct schedule_read_op op = {.max_rows = LOAD_ROWS};
	uint64_t start = clock_mono_us();

	*l = (struct loaded){0};
	for (uint64_t slices = 0; !op.end; slices++) {
		op.out = (struct chain){0};
		store_user_run(&user, &user.reader, &op.op, STORE_READ_SCHEDULE);
		l->rows += slice_take(memory, &op.out);
		chain_free(&op.out);
		if (slices % LOAD_ACCEPT_EVERY == 0)
			accept_now(l);
	}
	l->seconds = seconds_since(start);
}

/* Until the first messages of an address are there, 16 at most; of an address that has none until
 * that is known. */
static double look_up(const char *recipient)
{
	struct queue_filter f = {0};
	struct queue_list_op op = {.filter = &f, .max_messages = 16};
	uint64_t start = clock_mono_us();

	snprintf(f.recipient, sizeof(f.recipient), "%s", recipient);
	for (uint64_t found = 0; !op.end && found == 0;) {
		store_user_run(&user, &user.reader, &op.op, STORE_READ_QUEUE_LIST);
		found = op.out.bytes;
		chain_free(&op.out);
	}
	return (double)(clock_mono_us() - start);
}

/* Recipients/s of holding a domain. */
static double hold(uint64_t *rows_r)
{
	struct queue_filter f = {.domain = "d10.example.net"};
	struct queue_slice_op op = {.action = QUEUE_HOLD, .filter = &f};
	uint64_t start = clock_mono_us();

	for (*rows_r = 0; !op.end && !user.errors; *rows_r += op.recipients)
		store_user_run(&user, &user.writer, &op.op, STORE_QUEUE_SLICE);
	return (double)*rows_r / seconds_since(start);
}

struct figures {
	double empty_fill, empty_take, fill, fill_last, take_ordered, take_random; /* messages/s */
	double open_s, serve_s, look_up_us, look_up_none_us, hold;
	struct cost empty_fill_cost, empty_take_cost, fill_cost, take_cost, random_cost;
	struct loaded loaded;
	uint64_t resident, held, sample;
};

/* A queue with nothing else in it: what the long one is held against. */
static void empty_queue(struct figures *f)
{
	taken = next_id;
	struct cost cost = cost_now();
	f->empty_fill = fill(f->sample);
	f->empty_fill_cost = cost_since(&cost, f->sample);
	cost = cost_now();
	f->empty_take = take(f->sample, in_order);
	f->empty_take_cost = cost_since(&cost, f->sample);
}

static void long_queue(struct figures *f, const char *directory)
{
	struct schedule memory;
	uint64_t before, start;

	taken = next_id;
	struct cost cost = cost_now();
	f->fill = fill(messages - f->sample);
	f->fill_cost = cost_since(&cost, messages - f->sample);
	f->fill_last = fill(f->sample);
	fprintf(stderr, "bench_queue: filled, %.0f messages/s\n", f->fill);
	store_user_close(&user);
	if (schedule_init(&memory, (uint32_t)(messages * rcpts + SCHEDULE_SPARE)) < 0)
		exit(1);
	before = resident();
	start = clock_mono_us();
	store_user_open(&user, directory, (struct store_conf){0}, OUTSTANDING, 1);
	f->open_s = seconds_since(start);
	accept_one(&slots[0]);
	store_user_wait(&user, &user.writer, 1);
	f->serve_s = seconds_since(start);
	load(&memory, &f->loaded);
	f->resident = resident() - before;
	fprintf(stderr, "bench_queue: loaded, %.1f s\n", f->loaded.seconds);
	f->look_up_us = look_up("r3@d10.example.net");
	f->look_up_none_us = look_up("nobody@d10.example.net");
	cost = cost_now();
	f->take_ordered = take(f->sample, in_order);
	f->take_cost = cost_since(&cost, f->sample);
	cost = cost_now();
	f->take_random = take(f->sample, at_random);
	f->random_cost = cost_since(&cost, f->sample);
	f->hold = hold(&f->held);
	schedule_fini(&memory);
}

static void print_cost(const char *name, const struct cost *c)
{
	printf("\"%s_kb\":%.1f,\"%s_cpu_us\":%.1f,", name, c->kb, name, c->cpu_us);
}

static void print(const struct figures *f)
{
	struct store_info info;
	const struct loaded *l = &f->loaded;

	store_get_info(user.store, &info);
	printf("{\"bench\":\"queue\",\"messages\":%llu,\"recipients\":%llu,"
	       "\"empty_fill_per_s\":%.0f,\"fill_per_s\":%.0f,\"fill_last_per_s\":%.0f,"
	       "\"fill_share\":%.2f,",
		(unsigned long long)messages, (unsigned long long)l->rows, f->empty_fill, f->fill,
		f->fill_last, f->fill_last / f->empty_fill);
	printf("\"open_s\":%.3f,\"serve_s\":%.3f,\"load_s\":%.2f,\"load_s_per_million\":%.2f,"
	       "\"accepts_meanwhile\":%llu,\"slowest_accept_ms\":%.1f,"
	       "\"resident_bytes_per_recipient\":%.1f,",
		f->open_s, f->serve_s, l->seconds, l->seconds * 1e6 / (double)(l->rows + 1),
		(unsigned long long)l->accepted, l->slowest_accept * 1e3,
		(double)f->resident / (double)(l->rows + 1));
	print_cost("empty_fill", &f->empty_fill_cost);
	print_cost("fill", &f->fill_cost);
	print_cost("empty_take", &f->empty_take_cost);
	print_cost("take_in_order", &f->take_cost);
	print_cost("take_at_random", &f->random_cost);
	printf("\"empty_take_per_s\":%.0f,\"take_in_order_per_s\":%.0f,\"take_share\":%.2f,"
	       "\"take_at_random_per_s\":%.0f,\"look_up_us\":%.0f,\"look_up_none_us\":%.0f,"
	       "\"hold_per_s\":%.0f,"
	       "\"held\":%llu,\"file_bytes\":%llu,\"errors\":%llu}\n",
		f->empty_take, f->take_ordered, f->take_ordered / f->empty_take, f->take_random,
		f->look_up_us, f->look_up_none_us, f->hold, (unsigned long long)f->held,
		(unsigned long long)info.file_bytes, (unsigned long long)user.errors);
}

int main(int argc, char **argv)
{
	struct figures f = {0};

	messages = argc > 2 ? strtoull(argv[2], NULL, 10) : messages;
	rcpts = argc > 3 ? (uint32_t)atoi(argv[3]) : rcpts;
	octets = argc > 4 ? (uint32_t)atoi(argv[4]) : octets;
	if (argc < 2 || messages < 100 || rcpts < 1 || rcpts > RCPTS_MAX ||
		messages * rcpts > UINT32_MAX / 2) {
		fprintf(stderr, "usage: bench_queue DIR [messages] [recipients 1..%d] [octets]\n",
			RCPTS_MAX);
		return 2;
	}
	content = calloc(1, octets + 1u);
	eal_start_for_tests(256);
	if (!content)
		return 1;
	store_user_init(&user, 32768, 2048);
	f.sample = MIN(messages / 4, (uint64_t)SAMPLE_MAX);
	store_user_open(&user, argv[1], (struct store_conf){0}, OUTSTANDING, 1);
	empty_queue(&f);
	long_queue(&f, argv[1]);
	print(&f);
	store_user_close(&user);
	return user.errors ? 1 : 0;
}
