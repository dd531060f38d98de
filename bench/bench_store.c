/* SPDX-License-Identifier: BSD-3-Clause
 * The writer against the disk: messages/s made durable with a fixed number of messages outstanding,
 * beside the raw rate of appending the same octets to a file with one fdatasync per group, in turns
 * in one run, because only their ratio means anything on a shared machine.
 *
 *   bench_store DIR [outstanding] [octets] [seconds] [live] [fifo|random] [even|spread]
 *   bench_store raw DIR GROUP OCTETS SECONDS     the disk alone, at a mean group of another run
 *
 * One JSON object on stdout.  With `live` messages in the queue each further one is followed by the
 * result of another, the oldest (fifo, which is how a queue lives) or any: the store is measured in
 * a steady state under churn and not while it only grows.  Until there are so many nothing is
 * measured.  Then the same while a reader
 * reads a body for each message that is taken, and without results, in a store that grows.  Spread:
 * sizes from a quarter to seven quarters of `octets`, so that holes do not fit.  Also printed:
 * quantiles of the time of one commit, the writer's CPU time per message, octets written for each
 * octet of mail, and the files' size beside what lives in them: under churn, and when the store has
 * had some seconds of rest. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/crc32c.h"
#include "dataplane/base/rt/eal.h"
#include "dataplane/base/rt/ids.h"
#include "bench/store_user.h"
#include "store/writer.h"

#define OUTSTANDING_MAX 4096
#define GROUP           1024          /* operations: results are some, too */
#define MAP_BYTES       (32ull << 30) /* valgrind has no room for the usual one */
#define READS_MAX       64
#define FILL_BYTES      (8u << 20)
#define SLICES          6    /* store and raw take turns */
#define CALM_MS         2000 /* room is given back after */
#define REST_US         (CALM_MS * 1000 + 1000000)
#define RESTS_MAX       60
#define RESTS_SAME      3

struct slot {
	struct accept_op accept; /* first: done() gets the op */
	struct results_op result;
	struct rcpt_result row;
	bool delivering;
};

static struct slot slots[OUTSTANDING_MAX];
static struct channel channel;
static struct ids ids;
static unsigned octets = 10240;
static uint8_t *content;
static uint64_t accepted, errors;
static uint64_t *live; /* ids of messages in the queue */
static bool fifo = true;
static uint64_t live_max, live_n, live_at, random_state = 88172645463325252ull;
static bool stopping;
static uint64_t busy_file, rested_file; /* octets of the files after the churn, and after a rest */
static bool spread;
static struct channel reading;
static struct body_read_op reads[READS_MAX];
static unsigned reads_n; /* may be under way; 0: nobody reads */
static uint64_t reads_asked, reads_done;
static bool churn = true; /* else messages only come */

static void submit(struct slot *s);
static void read_one(void);

static void result_done(struct op *op)
{
	struct slot *s = container_of(op, struct slot, result.op);

	if (op->status)
		errors++;
	submit(s);
}

static uint64_t rnd(uint64_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 8) % n;
}

/* The message that goes for the one that came; 0: there are not enough yet. */
static uint64_t exchange(uint64_t id)
{
	if (!churn)
		return 0;
	if (live_max == 0)
		return id;
	if (live_n < live_max) {
		live[live_n++] = id;
		return 0;
	}
	uint64_t i = fifo ? live_at++ % live_n : rnd(live_n), gone = live[i];
	live[i] = id;
	return gone;
}

/* Accepted: that one, or another, is delivered. */
static void accept_done(struct op *op)
{
	struct slot *s = container_of(op, struct slot, accept.op);

	if (op->status == HANDOFF_OK)
		accepted++;
	else
		errors++;
	read_one();
	uint64_t gone = exchange(s->accept.message->id);
	if (gone == 0) {
		message_unref(s->accept.message);
		submit(s);
		return;
	}
	s->row = (struct rcpt_result){.outcome = ATTEMPT_DELIVERED};
	s->result = (struct results_op){
		.op = {.kind = STORE_RESULT, .done = result_done},
		.id = gone,
		.count = 1,
		.results = &s->row
        };
	message_unref(s->accept.message);
	if (channel_submit(&channel, &s->result.op) < 0)
		errors++;
}

static unsigned size_next(void)
{
	return spread ? octets / 4 + (unsigned)rnd(octets / 2 * 3) : octets;
}

static struct message *make_message(void)
{
	struct message *m = message_new();
	unsigned n = size_next();

	if (!m)
		return NULL;
	m->id = ids_next(&ids, clock_wall_ms());
	m->received_ms = clock_wall_ms();
	m->header_bytes = n;
	if (message_set_sender(m, BYTES_LIT("a@example.org")) < 0 ||
		message_add_rcpt(m, BYTES_LIT("b@example.net"), RCPT_REMOTE, 0) < 0 ||
		chain_append(&m->body, bytes_make(content, n)) < 0) {
		message_unref(m);
		return NULL;
	}
	m->body_crc = crc32c(0, content, n);
	return m;
}

static void submit(struct slot *s)
{
	if (stopping)
		return;
	struct message *m = make_message();
	if (!m) {
		errors++;
		return;
	}
	s->accept = (struct accept_op){
		.op = {.kind = HANDOFF_ACCEPT, .done = accept_done},
                  .message = m
        };
	if (channel_submit(&channel, &s->accept.op) < 0) {
		errors++;
		message_unref(m);
	}
}

static void read_done(struct op *op)
{
	chain_free(&container_of(op, struct body_read_op, op)->out);
	reads_done++;
}

/* A message that lives, or has just gone: that is no error. */
static void read_one(void)
{
	struct body_read_op *r = &reads[reads_asked % READS_MAX];

	if (channel_in_flight(&reading) >= reads_n || live_n == 0)
		return;
	*r = (struct body_read_op){
		.op = {.kind = STORE_READ_BODY, .done = read_done},
		.blob = live[rnd(live_n)],
		.max = 2 * octets
        };
	if (channel_submit(&reading, &r->op) < 0)
		errors++;
	reads_asked++;
}

/* Messages/s through the store for us microseconds. */
static double run_store(unsigned outstanding, uint64_t us)
{
	uint64_t start = clock_mono_us(), before = accepted;

	stopping = false;
	for (unsigned i = 0; i < outstanding; i++)
		submit(&slots[i]);
	while (clock_mono_us() - start < us) {
		if (channel_poll(&channel) + channel_poll(&reading) == 0)
			usleep(20);
	}
	double rate = (double)(accepted - before) * 1e6 / (double)(clock_mono_us() - start);
	stopping = true;
	while (channel_in_flight(&channel) + channel_in_flight(&reading) > 0) {
		if (channel_poll(&channel) + channel_poll(&reading) == 0)
			usleep(20);
	}
	return rate;
}

#define PREALLOCATED (256ull << 20)

/* Messages/s of appending the same octets, one fdatasync per group: to a file that grows, or over
 * one whose blocks are there already, where a sync has no metadata to write. */
static double run_raw(int fd, bool grows, double group, uint64_t us)
{
	uint64_t start = clock_mono_us(), n = 0, at = 0;
	unsigned per = group < 1 ? 1 : (unsigned)group;

	while (clock_mono_us() - start < us) {
		for (unsigned i = 0; i < per; i++, at += octets) {
			if (!grows && at + octets > PREALLOCATED)
				at = 0;
			if (pwrite(fd, content, octets, (off_t)at) != (ssize_t)octets) {
				perror("raw write");
				exit(1);
			}
		}
		if (fdatasync(fd) < 0) {
			perror("fdatasync");
			exit(1);
		}
		n += per;
	}
	double rate = (double)n * 1e6 / (double)(clock_mono_us() - start);
	if (grows && ftruncate(fd, 0) < 0)
		perror("ftruncate");
	return rate;
}

static int raw_open(const char *directory, const char *name, bool grows)
{
	static uint8_t zeros[1 << 20];
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	if (fd < 0) {
		perror(path);
		exit(1);
	}
	unlink(path);
	for (uint64_t at = 0; !grows && at < PREALLOCATED; at += sizeof(zeros)) {
		if (pwrite(fd, zeros, sizeof(zeros), (off_t)at) != (ssize_t)sizeof(zeros)) {
			perror("raw write");
			exit(1);
		}
	}
	if (fsync(fd) < 0)
		perror("fsync");
	return fd;
}

/* Outstanding while the live set is made, whatever is measured then. */
static unsigned fill_outstanding(unsigned outstanding)
{
	return MAX(outstanding, MIN((unsigned)FILL_BYTES / octets, 512u));
}

static void fill(unsigned outstanding)
{
	outstanding = fill_outstanding(outstanding);
	while (live_n < live_max && errors == 0)
		run_store(outstanding, 200000);
}

static void commit_times(struct histogram_view *v)
{
	*v = (struct histogram_view){0};
	histograms_sum(HIST_STORE_COMMIT, v);
}

struct figures {
	double store, grown, preallocated; /* messages/s */
	double read, alone; /* with a reader beside; without, in the same slices; messages/s */
	double group, cpu_us;
	double amplification; /* octets written for an octet of mail */
	struct histogram_view commits;
};

/* With and without a reader in turns. */
static void measure_reading(unsigned outstanding, double seconds, struct figures *f)
{
	uint64_t slice = (uint64_t)(seconds * 1e6 / (2 * SLICES));

	for (unsigned i = 0; i < SLICES; i++) {
		reads_n = READS_MAX;
		f->read += run_store(outstanding, slice) / SLICES;
		reads_n = 0;
		f->alone += run_store(outstanding, slice) / SLICES;
	}
}

/* Store and raw in turns for some seconds. */
static void measure(struct store *store, const char *directory, unsigned outstanding,
	double seconds, struct figures *f)
{
	int grown = raw_open(directory, "raw", true), fixed = raw_open(directory, "raw2", false);
	uint64_t slice = (uint64_t)(seconds * 1e6 / (3 * SLICES)), all = 0, out = 0;
	struct histogram_view before, after;

	*f = (struct figures){0};
	commit_times(&before);
	uint64_t commits = counters_sum(CTR_STORE_COMMITS);
	double cpu = store_user_cpu_us(store);
	for (unsigned i = 0; i < SLICES; i++) {
		uint64_t then = accepted, out_then = store_user_written();
		f->store += run_store(outstanding, slice) / SLICES;
		all += accepted - then;
		out += store_user_written() - out_then;
		uint64_t done = counters_sum(CTR_STORE_COMMITS) - commits;
		f->group = done ? (double)all / (double)done : 1;
		f->grown += run_raw(grown, true, f->group, slice) / SLICES;
		f->preallocated += run_raw(fixed, false, f->group, slice) / SLICES;
	}
	f->amplification = all ? (double)out / ((double)all * octets) : 0;
	f->cpu_us = all ? (store_user_cpu_us(store) - cpu) / (double)all : 0;
	commit_times(&after);
	histogram_since(&after, &before, &f->commits);
	close(grown);
	close(fixed);
}

static void print_figures(const char *name, const struct figures *f)
{
	printf(",\"%s\":{\"store_per_s\":%.0f,\"raw_per_s\":%.0f,\"raw_preallocated_per_s\":%.0f,"
	       "\"share\":%.3f,\"mean_group\":%.1f,\"commit_us_p50\":%llu,"
	       "\"commit_us_p99\":%llu,\"writer_cpu_us\":%.1f,\"octets_written\":%.2f}",
		name, f->store, f->grown, f->preallocated, f->store / f->grown, f->group,
		(unsigned long long)histogram_quantile(&f->commits, 0.5),
		(unsigned long long)histogram_quantile(&f->commits, 0.99), f->cpu_us,
		f->amplification);
}

static void print(unsigned outstanding, const struct figures *steady, const struct figures *growing)
{
	printf("{\"bench\":\"store\",\"outstanding\":%u,\"octets\":%u,\"live\":%llu,\"order\":\"%"
	       "s\"",
		outstanding, octets, (unsigned long long)live_max, fifo ? "fifo" : "random");
	print_figures("accept_and_delete", steady);
	print_figures("accept", growing);
	printf(",\"reads\":%llu,\"share_with_reader\":%.3f", (unsigned long long)reads_done,
		steady->read / steady->alone);
	double live_bytes = (double)live_max * octets;
	printf(",\"file_bytes\":%llu,\"rested_bytes\":%llu,\"live_bytes\":%.0f,\"growth\":%.2f,"
	       "\"growth_rested\":%.2f,\"errors\":%lu}\n",
		(unsigned long long)busy_file, (unsigned long long)rested_file, live_bytes,
		live_max ? (double)busy_file / live_bytes : 0,
		live_max ? (double)rested_file / live_bytes : 0, (unsigned long)errors);
}

static uint64_t file_bytes(const struct store *store)
{
	struct store_info info;

	store_get_info(store, &info);
	return info.file_bytes;
}

/* Until the files become no smaller. */
static void rest(const struct store *store)
{
	busy_file = rested_file = file_bytes(store);
	for (int i = 0, same = 0; i < RESTS_MAX && same < RESTS_SAME; i++) {
		uint64_t before = rested_file;
		usleep(REST_US);
		rested_file = file_bytes(store);
		same = rested_file == before ? same + 1 : 0;
	}
}

static struct store *start(const char *directory, unsigned outstanding, struct waker *waker)
{
	static char path[512];
	char error[512];
	outstanding = fill_outstanding(outstanding);
	uint32_t chunks = (2 * octets / CHUNK_DATA + 4) * (outstanding * 2 + READS_MAX) + 4096;
	struct store *store;

	eal_start_for_tests(chunks / 256 + 64);
	snprintf(path, sizeof(path), "%s/store", directory);
	struct store_conf conf = {.path = path,
		.shards = 1,
		.readers = 1,
		.map_bytes = MAP_BYTES,
		.group_messages = GROUP,
		.give_back_ms = CALM_MS,
		.hostname = "bench"};
	if (chunk_pool_init(chunks, -1) < 0 || message_pool_init(outstanding * 2 + 64, -1) < 0 ||
		waker_init(waker) < 0) {
		fprintf(stderr, "bench_store: not enough memory\n");
		exit(1);
	}
	if (store_open(&conf, &store, error, sizeof(error)) < 0) {
		fprintf(stderr, "bench_store: %s\n", error);
		exit(1);
	}
	struct service *writer = store_writer(store), *reader = store_reader(store, 0);
	if (channel_init(&channel, "bench", outstanding, waker, &writer->waker, -1) < 0 ||
		service_add(writer, &channel) < 0 ||
		channel_init(&reading, "reads", READS_MAX, waker, &reader->waker, -1) < 0 ||
		service_add(reader, &reading) < 0 || store_start(store) < 0)
		exit(1);
	ids_init(&ids, 0, store_last_id(store));
	return store;
}

static bool content_fill(void)
{
	content = malloc(2ul * octets + 1);
	for (unsigned i = 0; content && i < 2 * octets; i++)
		content[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : (uint8_t)('a' + i % 26);
	return content;
}

/* raw DIR GROUP OCTETS SECONDS */
static int main_raw(char **args)
{
	double group = atof(args[1]), seconds = atof(args[3]), grown = 0, preallocated = 0;

	octets = (unsigned)atoi(args[2]);
	if (group <= 0 || group > OUTSTANDING_MAX || octets == 0 || seconds <= 0 || !content_fill())
		return 2;
	int fds[] = {raw_open(args[0], "raw", true), raw_open(args[0], "raw2", false)};
	uint64_t slice = (uint64_t)(seconds * 1e6 / (2 * SLICES));
	for (unsigned i = 0; i < SLICES; i++) {
		grown += run_raw(fds[0], true, group, slice) / SLICES;
		preallocated += run_raw(fds[1], false, group, slice) / SLICES;
	}
	printf("{\"bench\":\"raw\",\"octets\":%u,\"group\":%.1f,\"raw_per_s\":%.0f,"
	       "\"raw_preallocated_per_s\":%.0f}\n",
		octets, group, grown, preallocated);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned outstanding = argc > 2 ? (unsigned)atoi(argv[2]) : 64;
	double seconds = argc > 4 ? atof(argv[4]) : 12;
	struct figures steady, growing;
	struct waker waker;

	if (argc == 6 && strcmp(argv[1], "raw") == 0)
		return main_raw(argv + 2);
	if (argc < 2 || outstanding == 0 || outstanding > OUTSTANDING_MAX) {
		fprintf(stderr,
			"usage: bench_store DIR [outstanding 1..%d] [octets] [seconds] [live] "
			"[fifo|random] [even|spread]\n",
			OUTSTANDING_MAX);
		return 2;
	}
	octets = argc > 3 ? (unsigned)atoi(argv[3]) : octets;
	live_max = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;
	fifo = argc <= 6 || strcmp(argv[6], "random") != 0;
	spread = argc > 7 && strcmp(argv[7], "spread") == 0;
	live = calloc(live_max + 1, sizeof(*live));
	if (!content_fill() || !live)
		return 1;
	struct store *store = start(argv[1], outstanding, &waker);
	fill(outstanding);
	measure(store, argv[1], outstanding, seconds / 2, &steady);
	measure_reading(outstanding, seconds / 4, &steady);
	rest(store);
	churn = false;
	measure(store, argv[1], outstanding, seconds / 4, &growing);
	print(outstanding, &steady, &growing);
	store_stop(store);
	store_close(&store);
	return errors ? 1 : 0;
}
