/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/server on fake streams, with a store writer played by the test.  No port, no thread. */
#pragma once
#include "tests/unit/smtp/unit.h"
#include "dataplane/base/crc32c.h"
#include "dataplane/base/log.h"
#include "dataplane/base/rt/eal.h"
#include "smtp/server_priv.h"

#define CHUNKS   1024
#define SESSIONS 8
#define STORE    8
#define BODY_MAX (4u << 20)

/* ---- the peer's end of a stream ---- */

struct fake_stream {
	struct stream *s;
	uint8_t *in; /* what the peer sent and was not taken */
	size_t in_n, in_at;
	bool paused; /* on_data took less: nothing until resume */
	bool closed, aborted;
	size_t space; /* of the send buffer */
	size_t unacked;
	uint8_t out[8192];
	size_t out_n;
};

static inline struct fake_stream *fake_of(const struct stream *s)
{
	return s->filter;
}

static inline size_t fake_send(struct stream *s, struct bytes data)
{
	struct fake_stream *f = fake_of(s);
	size_t n = MIN(data.n, MIN(f->space, sizeof(f->out) - f->out_n));

	assert_false(f->closed || f->aborted);
	memcpy(f->out + f->out_n, data.p, n);
	f->out_n += n;
	f->space -= n;
	return n;
}

static inline size_t fake_space(const struct stream *s)
{
	return fake_of(s)->space;
}

static inline size_t fake_unacked(const struct stream *s)
{
	return fake_of(s)->unacked;
}

static inline void fake_resume(struct stream *s)
{
	fake_of(s)->paused = false;
}

static inline void fake_close(struct stream *s)
{
	assert_false(fake_of(s)->closed);
	fake_of(s)->closed = true;
}

static inline void fake_abort(struct stream *s)
{
	fake_of(s)->aborted = true;
}

static const struct stream_transport transport = {
	.send = fake_send,
	.space = fake_space,
	.unacked = fake_unacked,
	.resume = fake_resume,
	.shutdown = fake_close,
	.close = fake_close,
	.abort = fake_abort,
};

/* ---- the bed ---- */

struct stored {
	uint64_t id;
	uint32_t chunks;
	uint8_t *body;
	size_t body_n;
	char prefix[MESSAGE_PREFIX_MAX];
	size_t prefix_n;
	bool accepted, dropped;
	unsigned rcpts;
};

struct bed {
	struct core core;
	struct service service;
	struct channel writer;
	struct smtp_policy policy;
	struct directory directory;
	struct smtp_server *server;
	struct fake_stream peer[SESSIONS];
	struct stored store[STORE];
	unsigned store_n;
	int32_t status; /* of accepts */
	int32_t part_status;
	unsigned ops; /* done by the writer */
	size_t most_in_memory;
};

static struct bed bed;

static inline enum directory_verdict lookup(
	const struct directory *d, struct bytes address, struct directory_entry *entry_r)
{
	(void)d;
	*entry_r = (struct directory_entry){.account = 7};
	return bytes_eq(address, BYTES_LIT("alice@local.example.org")) ? DIRECTORY_OK
								       : DIRECTORY_REMOTE;
}

static inline void bed_open(uint32_t credits, struct smtp_server_conf conf)
{
	memset(&bed, 0, sizeof(bed));
	core_init(&bed.core, 0, 0, CORE_DATAPLANE);
	assert_int_equal(service_init(&bed.service), 0);
	assert_int_equal(
		channel_init(&bed.writer, "test", credits, &bed.core.waker, &bed.service.waker, -1),
		0);
	assert_int_equal(service_add(&bed.service, &bed.writer), 0);
	bed.directory.lookup = lookup;
	bed.policy = (struct smtp_policy){.hostname = "mx.example.org",
		.directory = &bed.directory,
		.message_bytes_max = BODY_MAX,
		.recipients_max = 100,
		.errors_max = 20,
		.received_max = 100,
		.inflight_max = 4,
		.command_timeout_us = 300 * US_PER_SEC,
		.data_timeout_us = 180 * US_PER_SEC};
	struct handoff_lanes lanes = {.writer = {&bed.writer}, .count = 1};
	conf.sessions_max = SESSIONS;
	conf.services[0].port = 25;
	conf.service_count = 1;
	bed.server = smtp_server_create(&bed.core, &lanes, &bed.policy, &conf);
	assert_non_null(bed.server);
}

static inline void poll_core(void)
{
	for (unsigned i = 0; i < bed.core.poller_count; i++)
		bed.core.pollers[i].poll(bed.core.pollers[i].ctx, bed.core.now_us);
}

/* Everything is back where it came from. */
static inline void bed_close(void)
{
	for (unsigned i = 0; i < SESSIONS; i++) {
		struct fake_stream *f = &bed.peer[i];
		if (f->s && !f->closed && !f->aborted)
			f->s->ops->on_close(f->s, STREAM_RESET);
		free(f->in);
	}
	poll_core();
	for (struct op *op; service_take(&bed.service, &op, 1);) {
		if (op->kind == HANDOFF_PART)
			chain_free(&((struct part_op *)op)->chunks);
		op->status = 0;
		channel_complete(op);
		channel_poll(&bed.writer);
	}
	assert_int_equal(smtp_server_sessions(bed.server), 0);
	assert_int_equal(bed.server->drops_reserved, 0);
	assert_true(list_empty(&bed.server->memory) && list_empty(&bed.server->lanes[0].waiting));
	for (unsigned i = 0; i < PEER_BUCKETS; i++)
		assert_int_equal(bed.server->peer_chunks[i], 0);
	assert_int_equal(chunk_pool_free_count(), CHUNKS);
	assert_int_equal(bed.writer.credits, bed.writer.credits_max);
	for (unsigned i = 0; i < bed.store_n; i++)
		free(bed.store[i].body);
	smtp_server_destroy(&bed.server);
	channel_fini(&bed.writer);
	service_fini(&bed.service);
	waker_fini(&bed.core.waker);
}

static inline struct stored *stored_of(uint64_t id)
{
	for (unsigned i = 0; i < bed.store_n; i++) {
		if (bed.store[i].id == id)
			return &bed.store[i];
	}
	assert_true(bed.store_n < STORE);
	struct stored *st = &bed.store[bed.store_n++];
	st->id = id;
	st->body = malloc(BODY_MAX);
	return st;
}

static inline void store_chain(struct stored *st, const struct chain *c)
{
	assert_true(st->body_n + c->bytes <= BODY_MAX);
	assert_int_equal(chain_read(c, 0, st->body + st->body_n, c->bytes), c->bytes);
	st->body_n += c->bytes;
}

static inline void do_part(struct part_op *p)
{
	struct stored *st = stored_of(p->blob);

	assert_int_equal(p->first, st->chunks);
	for (struct chunk *k = p->chunks.head; k; k = k->next) {
		assert_int_equal(k->n, CHUNK_DATA);
		st->chunks++;
	}
	store_chain(st, &p->chunks);
	chain_free(&p->chunks);
	p->op.status = bed.part_status;
}

static inline void do_accept(struct accept_op *a)
{
	struct message *m = a->message;
	struct stored *st = stored_of(m->id);

	assert_int_equal(m->streamed_chunks, st->chunks);
	assert_int_equal(m->streamed, st->body_n);
	store_chain(st, &m->body);
	assert_int_equal(m->body_crc, crc32c(0, st->body, st->body_n));
	st->prefix_n = chain_read(&m->prefix, 0, st->prefix, sizeof(st->prefix));
	st->rcpts = m->rcpt_count;
	st->accepted = bed.status == HANDOFF_OK;
	a->op.status = bed.status;
}

/* The writer does up to max ops and answers; the core takes the answers. */
static inline unsigned write_some(unsigned max)
{
	struct op *op;
	unsigned n = 0;

	for (; n < max && service_take(&bed.service, &op, 1); n++) {
		bed.ops++;
		if (op->kind == HANDOFF_PART)
			do_part((struct part_op *)op);
		else if (op->kind == HANDOFF_ACCEPT)
			do_accept((struct accept_op *)op);
		else
			stored_of(((struct drop_op *)op)->blob)->dropped = true;
		channel_complete(op);
		channel_poll(&bed.writer);
	}
	return n;
}

static inline void connect_from(unsigned i, const char *ip)
{
	struct endpoint peer = {.port = 1000}, local = {.port = 25};
	struct fake_stream *f = &bed.peer[i];

	assert_int_equal(ip_parse(bytes_str(ip), &peer.ip), 0);
	free(f->in);
	*f = (struct fake_stream){.space = sizeof(f->out)};
	f->s = bed.server->doors[0].listener.accept(&bed.server->doors[0].listener, &peer, &local);
	assert_non_null(f->s);
	f->s->transport = &transport;
	f->s->filter = f;
	f->s->peer = peer;
	f->s->local = local;
	poll_core();
}

static inline void connect_peer(unsigned i)
{
	connect_from(i, "198.18.1.1");
}

/* Give what waits in the window, in segments. */
static inline void pump(unsigned i)
{
	struct fake_stream *f = &bed.peer[i];

	while (f->in_at < f->in_n && !f->paused && !f->closed && !f->aborted) {
		size_t n = MIN(f->in_n - f->in_at, (size_t)1448);
		size_t took = f->s->ops->on_data(f->s, bytes_make(f->in + f->in_at, n));
		assert_true(took <= n);
		f->in_at += took;
		/* What the upcall did not take comes again only after resume, which may have been
		 * called inside. */
		if (took < n && f->in_at < f->in_n) {
			struct smtp_conn *c = container_of(f->s, struct smtp_conn, stream);
			f->paused = c->stalled;
		}
		uint32_t held = CHUNKS - chunk_pool_free_count();
		bed.most_in_memory = MAX(bed.most_in_memory, (size_t)held * CHUNK_DATA);
	}
	poll_core();
}

static inline void say(unsigned i, struct bytes data)
{
	struct fake_stream *f = &bed.peer[i];

	f->in = realloc(f->in, f->in_n + data.n);
	memcpy(f->in + f->in_n, data.p, data.n);
	f->in_n += data.n;
	pump(i);
}

/* What the server said since the last time; all of it acknowledged. */
static inline const char *heard(unsigned i)
{
	struct fake_stream *f = &bed.peer[i];
	static char text[sizeof(f->out) + 1];

	memcpy(text, f->out, f->out_n);
	text[f->out_n] = '\0';
	f->out_n = 0;
	f->space = sizeof(f->out);
	return text;
}

#define ENVELOPE "MAIL FROM:<a@client.example.net>\r\nRCPT TO:<alice@local.example.org>\r\nDATA\r\n"

static inline void greet(unsigned i)
{
	connect_peer(i);
	assert_memory_equal(heard(i), "220 ", 4);
	say(i, BYTES_LIT("EHLO client.example.net\r\n"));
	assert_memory_equal(heard(i), "250-", 4);
}

static inline void envelope(unsigned i)
{
	say(i, BYTES_LIT(ENVELOPE));
	const char *said = heard(i);
	assert_non_null(strstr(said, "354 "));
}

/* Lines of 64 octets, the last dot not included. */
static inline struct bytes big_body(size_t n)
{
	static uint8_t body[BODY_MAX];

	for (size_t i = 0; i < n; i++)
		body[i] = (uint8_t)("0123456789abcdef"[i * 7 / 64 % 16]);
	for (size_t i = 62; i + 1 < n; i += 64)
		memcpy(body + i, "\r\n", 2);
	return bytes_make(body, n / 64 * 64);
}

/* ---- time ---- */

static inline void advance(uint64_t us)
{
	/* In steps, as the core's laps do. */
	for (uint64_t left = us; left;) {
		uint64_t step = MIN(left, 100000ull);
		bed.core.now_us += step;
		bed.core.now_ms += step / 1000;
		left -= step;
		while (timer_run(&bed.core.wheel, bed.core.now_us, 64))
			;
		poll_core();
	}
}

/* Writer, core and peer take turns until nothing is left to do. */
static inline void settle(unsigned i)
{
	for (unsigned idle = 0; idle < 3; idle++) {
		if (write_some(1))
			idle = 0;
		advance(10000);
		pump(i);
	}
}

static inline int setup(void **state)
{
	(void)state;
	eal_start_for_tests(64);
	log_set_level(LOG_ERROR);
	return chunk_pool_init(CHUNKS, -1) || message_pool_init(64, -1);
}
