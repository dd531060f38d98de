/* SPDX-License-Identifier: BSD-3-Clause
 * The writer against the disk: messages/s made durable with a fixed number of messages outstanding,
 * beside the raw rate of appending the same octets to a file with one fdatasync per group, in turns
 * in one run, because only their ratio means anything on a shared machine.
 *
 *   bench_store DIR [outstanding] [octets] [seconds]
 *
 * One JSON object on stdout.  The queue is emptied as it fills (results for the oldest), so that
 * the store is measured in a steady state and not while it only grows. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/crc32c.h"
#include "dataplane/base/rt/eal.h"
#include "dataplane/base/rt/ids.h"
#include "store/store.h"

#define OUTSTANDING_MAX 4096
#define SLICES          6 /* store and raw take turns */

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
static bool stopping;

static void submit(struct slot *s);

static void result_done(struct op *op)
{
	struct slot *s = container_of(op, struct slot, result.op);

	if (op->status)
		errors++;
	submit(s);
}

/* Accepted: delivered at once, so that what is stored stays small. */
static void accept_done(struct op *op)
{
	struct slot *s = container_of(op, struct slot, accept.op);

	if (op->status == HANDOFF_OK)
		accepted++;
	else
		errors++;
	s->row = (struct rcpt_result){.outcome = ATTEMPT_DELIVERED};
	s->result = (struct results_op){
		.op = {.kind = STORE_RESULT, .done = result_done},
		.id = s->accept.message->id,
		.count = 1,
		.results = &s->row
        };
	message_unref(s->accept.message);
	if (channel_submit(&channel, &s->result.op) < 0)
		errors++;
}

static struct message *make_message(void)
{
	struct message *m = message_new();

	if (!m)
		return NULL;
	m->id = ids_next(&ids, clock_wall_ms());
	m->received_ms = clock_wall_ms();
	m->header_bytes = octets;
	if (message_set_sender(m, BYTES_LIT("a@example.org")) < 0 ||
		message_add_rcpt(m, BYTES_LIT("b@example.net"), RCPT_REMOTE, 0) < 0 ||
		chain_append(&m->body, bytes_make(content, octets)) < 0) {
		message_unref(m);
		return NULL;
	}
	m->body_crc = crc32c(0, content, octets);
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

/* Messages/s through the store for us microseconds. */
static double run_store(unsigned outstanding, uint64_t us)
{
	uint64_t start = clock_mono_us(), before = accepted;

	stopping = false;
	for (unsigned i = 0; i < outstanding; i++)
		submit(&slots[i]);
	while (clock_mono_us() - start < us) {
		if (channel_poll(&channel) == 0)
			usleep(20);
	}
	double rate = (double)(accepted - before) * 1e6 / (double)(clock_mono_us() - start);
	stopping = true;
	while (channel_in_flight(&channel) > 0) {
		if (channel_poll(&channel) == 0)
			usleep(20);
	}
	return rate;
}

/* Messages/s of appending the same octets, one fdatasync per group. */
static double run_raw(int fd, double group, uint64_t us)
{
	uint64_t start = clock_mono_us(), n = 0;
	unsigned per = group < 1 ? 1 : (unsigned)group;

	while (clock_mono_us() - start < us) {
		for (unsigned i = 0; i < per; i++) {
			if (write(fd, content, octets) != (ssize_t)octets) {
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
	if (ftruncate(fd, 0) < 0)
		perror("ftruncate");
	lseek(fd, 0, SEEK_SET);
	return rate;
}

int main(int argc, char **argv)
{
	unsigned outstanding = argc > 2 ? (unsigned)atoi(argv[2]) : 64;
	double seconds = argc > 4 ? atof(argv[4]) : 12;
	char path[512], raw_path[600], error[512];
	struct store *store;
	struct waker waker;

	if (argc < 2 || outstanding == 0 || outstanding > OUTSTANDING_MAX) {
		fprintf(stderr, "usage: bench_store DIR [outstanding 1..%d] [octets] [seconds]\n",
			OUTSTANDING_MAX);
		return 2;
	}
	if (argc > 3)
		octets = (unsigned)atoi(argv[3]);
	content = malloc(octets + 1);
	if (!content)
		return 1;
	for (unsigned i = 0; i < octets; i++)
		content[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : (uint8_t)('a' + i % 26);
	uint32_t chunks = (octets / CHUNK_DATA + 4) * outstanding * 2 + 4096;
	eal_start_for_tests(chunks / 256 + 64);
	snprintf(path, sizeof(path), "%s/store", argv[1]);
	snprintf(raw_path, sizeof(raw_path), "%s/raw", argv[1]);
	struct store_conf conf = {.path = path, .shards = 1, .readers = 1, .hostname = "bench"};
	if (chunk_pool_init(chunks, -1) < 0 || message_pool_init(outstanding * 2 + 64, -1) < 0 ||
		waker_init(&waker) < 0) {
		fprintf(stderr, "bench_store: not enough memory\n");
		return 1;
	}
	if (store_open(&conf, &store, error, sizeof(error)) < 0) {
		fprintf(stderr, "bench_store: %s\n", error);
		return 1;
	}
	struct service *writer = store_writer(store);
	if (channel_init(&channel, "bench", outstanding, &waker, &writer->waker, -1) < 0 ||
		service_add(writer, &channel) < 0 || store_start(store) < 0)
		return 1;
	ids_init(&ids, 0, store_last_id(store));
	int fd = open(raw_path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	if (fd < 0) {
		perror(raw_path);
		return 1;
	}
	uint64_t slice = (uint64_t)(seconds * 1e6 / (2 * SLICES));
	double store_rate = 0, raw_rate = 0;
	uint64_t commits = counters_sum(CTR_STORE_COMMITS), all = 0;
	for (unsigned i = 0; i < SLICES; i++) {
		uint64_t before = accepted;
		store_rate += run_store(outstanding, slice) / SLICES;
		all += accepted - before;
		uint64_t done = counters_sum(CTR_STORE_COMMITS) - commits;
		raw_rate += run_raw(fd, done ? (double)all / (double)done : 1, slice) / SLICES;
	}
	commits = counters_sum(CTR_STORE_COMMITS) - commits;
	printf("{\"bench\":\"store\",\"outstanding\":%u,\"octets\":%u,\"store_per_s\":%.0f,"
	       "\"raw_per_s\":%.0f,\"share\":%.3f,\"mean_group\":%.1f,\"errors\":%lu}\n",
		outstanding, octets, store_rate, raw_rate, store_rate / raw_rate,
		commits ? (double)all / (double)commits : 0, (unsigned long)errors);
	store_stop(store);
	store_close(&store);
	close(fd);
	unlink(raw_path);
	return errors ? 1 : 0;
}
