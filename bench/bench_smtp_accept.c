/* SPDX-License-Identifier: BSD-3-Clause
 * What a message costs the relay's core, without TCP, a port or the store: the server on a stream
 * that costs nothing, from the first octet of MAIL to the hand-over to the writer, replies
 * formatted and given to the stream.  What a writer does, and the 250 that follows, is outside
 * `measure`:
 *
 *     bench_smtp_accept [messages] [octets] [octets a segment]
 *     valgrind --tool=callgrind --toggle-collect=measure bench_smtp_accept 2000
 *
 * divided by the messages is the figure of docs/performance.md.  Every choice is fixed, so that the
 * count is the same each time.
 *
 *     bench_smtp_accept idle SESSIONS
 *
 * opens so many, says EHLO in each, and prints the octets that are then in use: of DPDK's heap, of
 * chunks and of messages.  TCP's part is measured by bench_net. */
#include <rte_cycles.h>
#include <rte_malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include "dataplane/base/log.h"
#include "dataplane/base/rt/eal.h"
#include "smtp/server_priv.h"

#define CHUNKS   1024
#define MESSAGES 1024
#define CREDITS  8
#define NOW_MS   1795910400000 /* 2026-11-29, in UTC */
#define WARM     100           /* messages before: pools and caches are as they stay */
#define EHLO     "EHLO client.example.net\r\n"
#define ENVELOPE                                                                                   \
	"MAIL FROM:<bounces@lists.example.net> SIZE=1024\r\nRCPT "                                 \
	"TO:<first.last@customer.example.org>\r\n"                                                 \
	"DATA\r\n"
#define HEADER                                                                                     \
	"Received: from list.example.net ([198.18.3.4])\r\n\tby out.example.net with ESMTP id "    \
	"0123456789abcdef;\r\n\tSat, 28 Nov 2026 22:00:00 +0000\r\n"                               \
	"From: News <news@lists.example.net>\r\nTo: first.last@customer.example.org\r\n"           \
	"Subject: what a message costs\r\nDate: Sat, 28 Nov 2026 22:00:00 +0000\r\n"               \
	"Message-ID: <20261128220000.1@lists.example.net>\r\nMIME-Version: 1.0\r\n"                \
	"Content-Type: text/plain; charset=utf-8\r\n\r\n"
#define LINE "0123456789 the quick brown fox jumps over the lazy dog, and again it does so.\r\n"

static struct core core;
static struct service writer;
static struct channel channel;
static struct smtp_server *server;
static struct stream *stream;
static uint64_t said; /* octets of replies */

static size_t take_send(struct stream *s, struct bytes data)
{
	(void)s;
	said += data.n;
	return data.n;
}

static size_t much(const struct stream *s)
{
	(void)s;
	return 65536;
}

static size_t nothing(const struct stream *s)
{
	(void)s;
	return 0;
}

static void ignore(struct stream *s)
{
	(void)s;
}

static const struct stream_transport transport = {.send = take_send,
	.space = much,
	.unacked = nothing,
	.notify = ignore,
	.resume = ignore,
	.shutdown = ignore,
	.close = ignore,
	.abort = ignore};

static enum directory_verdict lookup(
	const struct directory *d, struct bytes address, struct directory_entry *entry_r)
{
	(void)d;
	(void)address;
	*entry_r = (struct directory_entry){.account = 7};
	return DIRECTORY_OK;
}

/* A stranger at port 25, with the limits that the sample configuration has. */
static const struct directory directory = {.lookup = lookup};
static const struct smtp_policy policy = {.hostname = "mx.example.org",
	.directory = &directory,
	.message_bytes_max = 50u << 20,
	.recipients_max = 100,
	.errors_max = 20,
	.received_max = 100,
	.inflight_max = 4,
	.peer_message_rate = UINT32_MAX,
	.peer_rcpt_rate = UINT32_MAX,
	.command_timeout_us = 300 * US_PER_SEC,
	.data_timeout_us = 180 * US_PER_SEC};

static void must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "bench_smtp_accept: %s\n", what);
	exit(1);
}

static void feed(struct bytes in)
{
	must(stream->ops->on_data(stream, in) != in.n, "input was not taken");
}

/* A transaction as a peer sends it that pipelines: the envelope, then the content. */
static void transact(struct bytes content, size_t segment)
{
	feed(BYTES_LIT(ENVELOPE));
	for (; content.n; content = bytes_skip(content, segment))
		feed(bytes_first(content, segment));
}

__attribute__((noinline)) static void measure(struct bytes content, size_t segment)
{
	transact(content, segment);
	__asm__ volatile("" ::: "memory"); /* behind the call: it is no jump */
}

/* The writer: everything is durable. */
static void commit(void)
{
	struct op *op;

	must(service_take(&writer, &op, 1) != 1, "no message was handed over");
	op->status = HANDOFF_OK;
	channel_complete(op);
	channel_poll(&channel);
}

static void open_connection(void)
{
	struct endpoint peer = {.ip = ip_from_v4(0x010112c6), .port = 1000}, local = {.port = 25};
	struct listener *l = &server->doors[0].listener;

	stream = l->accept(l, &peer, &local);
	must(!stream, "no connection");
	stream->transport = &transport;
	stream->peer = peer;
	stream->local = local;
	core.pollers[0].poll(core.pollers[0].ctx, core.now_us);
	feed(BYTES_LIT(EHLO));
}

static size_t heap_octets(void)
{
	struct rte_malloc_socket_stats stats;

	must(rte_malloc_get_socket_stats(0, &stats), "no figures of the heap");
	return stats.heap_allocsz_bytes;
}

static void start(uint32_t sessions, unsigned megabytes)
{
	struct handoff_lanes lanes = {.writer = {&channel}, .count = 1};
	struct smtp_server_conf conf = {
		.sessions_max = sessions, .service_count = 1, .services[0].port = 25};

	eal_start_for_tests(megabytes);
	log_set_level(LOG_WARN);
	must(chunk_pool_init(CHUNKS, -1) || message_pool_init(MESSAGES, -1), "no memory");
	core_init(&core, 0, 0, CORE_DATAPLANE);
	core.now_us = US_PER_SEC;
	core.now_ms = NOW_MS;
	must(service_init(&writer) ||
			channel_init(&channel, "writer", CREDITS, &core.waker, &writer.waker, -1) ||
			service_add(&writer, &channel),
		"no channel");
	server = smtp_server_create(&core, &lanes, &policy, &conf);
	must(!server, "no server");
}

static void idle(uint32_t sessions)
{
	start(1, 64 + sessions / 512);
	uint32_t chunks = chunk_pool_free_count();
	size_t before = heap_octets();
	struct handoff_lanes lanes = {.writer = {&channel}, .count = 1};
	struct smtp_server_conf conf = {
		.sessions_max = sessions, .service_count = 1, .services[0].port = 25};

	core.poller_count = 0;
	server = smtp_server_create(&core, &lanes, &policy, &conf);
	must(!server, "no server");
	for (uint32_t i = 0; i < sessions; i++)
		open_connection();
	printf("{\"sessions\": %u, \"heap\": %zu, \"heap_each\": %.0f, \"session\": %zu, "
	       "\"chunks\": %u}\n",
		smtp_server_sessions(server), heap_octets() - before,
		(double)(heap_octets() - before) / sessions, sizeof(struct smtp_conn),
		chunks - chunk_pool_free_count());
}

static struct bytes make_content(size_t octets)
{
	uint8_t *p = malloc(sizeof(HEADER) + octets + sizeof(LINE) + 3);
	size_t n = sizeof(HEADER) - 1;

	must(!p, "no memory");
	memcpy(p, HEADER, n);
	for (; n < octets; n += sizeof(LINE) - 1)
		memcpy(p + n, LINE, sizeof(LINE) - 1);
	memcpy(p + n, ".\r\n", 3);
	return bytes_make(p, n + 3);
}

static unsigned long argument(int argc, char **argv, int i, unsigned long otherwise)
{
	return argc > i ? strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	if (argc > 2 && strcmp(argv[1], "idle") == 0) {
		idle((uint32_t)argument(argc, argv, 2, 0));
		return 0;
	}
	unsigned long messages = argument(argc, argv, 1, 100000);
	struct bytes content = make_content(argument(argc, argv, 2, 1024));
	size_t segment = argument(argc, argv, 3, 1448);
	uint64_t cycles = 0;

	must(messages == 0 || segment == 0, "no messages");
	start(8, 64);
	open_connection();
	for (unsigned i = 0; i < WARM; i++) {
		transact(content, segment);
		commit();
	}
	for (unsigned long i = 0; i < messages; i++) {
		core.now_us += US_PER_MS / 10;
		core.now_ms = NOW_MS + i / 10;
		uint64_t from = rte_rdtsc();
		measure(content, segment);
		cycles += rte_rdtsc() - from;
		commit();
	}
	printf("{\"messages\": %lu, \"octets\": %zu, \"cycles\": %.0f, \"replies\": %llu}\n",
		messages, content.n, (double)cycles / (double)messages, (unsigned long long)said);
	return 0;
}
