/* SPDX-License-Identifier: BSD-3-Clause
 * smtp/server: sessions on fake streams, a store writer played by the test.  No port, no thread. */
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

static struct fake_stream *fake_of(const struct stream *s)
{
	return s->filter;
}

static size_t fake_send(struct stream *s, struct bytes data)
{
	struct fake_stream *f = fake_of(s);
	size_t n = MIN(data.n, MIN(f->space, sizeof(f->out) - f->out_n));

	assert_false(f->closed || f->aborted);
	memcpy(f->out + f->out_n, data.p, n);
	f->out_n += n;
	f->space -= n;
	return n;
}

static size_t fake_space(const struct stream *s)
{
	return fake_of(s)->space;
}

static size_t fake_unacked(const struct stream *s)
{
	return fake_of(s)->unacked;
}

static void fake_resume(struct stream *s)
{
	fake_of(s)->paused = false;
}

static void fake_close(struct stream *s)
{
	assert_false(fake_of(s)->closed);
	fake_of(s)->closed = true;
}

static void fake_abort(struct stream *s)
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

static enum directory_verdict lookup(
	const struct directory *d, struct bytes address, struct directory_entry *entry_r)
{
	(void)d;
	*entry_r = (struct directory_entry){.account = 7};
	return bytes_eq(address, BYTES_LIT("alice@local.example.org")) ? DIRECTORY_OK
								       : DIRECTORY_REMOTE;
}

static void bed_open(uint32_t credits, struct smtp_server_conf conf)
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
	conf.sessions_max = SESSIONS;
	conf.services[0].port = 25;
	conf.service_count = 1;
	bed.server = smtp_server_create(&bed.core, &bed.writer, &bed.policy, &conf);
	assert_non_null(bed.server);
}

static void poll_core(void)
{
	for (unsigned i = 0; i < bed.core.poller_count; i++)
		bed.core.pollers[i].poll(bed.core.pollers[i].ctx, bed.core.now_us);
}

/* Everything is back where it came from. */
static void bed_close(void)
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
	assert_true(list_empty(&bed.server->memory) && list_empty(&bed.server->credit));
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

static struct stored *stored_of(uint64_t id)
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

static void store_chain(struct stored *st, const struct chain *c)
{
	assert_true(st->body_n + c->bytes <= BODY_MAX);
	assert_int_equal(chain_read(c, 0, st->body + st->body_n, c->bytes), c->bytes);
	st->body_n += c->bytes;
}

static void do_part(struct part_op *p)
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

static void do_accept(struct accept_op *a)
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
static unsigned write_some(unsigned max)
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

static void connect_peer(unsigned i)
{
	struct endpoint peer = {.port = 1000}, local = {.port = 25};
	struct fake_stream *f = &bed.peer[i];

	assert_int_equal(ip_parse(BYTES_LIT("198.18.1.1"), &peer.ip), 0);
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

/* Give what waits in the window, in segments. */
static void pump(unsigned i)
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

static void say(unsigned i, struct bytes data)
{
	struct fake_stream *f = &bed.peer[i];

	f->in = realloc(f->in, f->in_n + data.n);
	memcpy(f->in + f->in_n, data.p, data.n);
	f->in_n += data.n;
	pump(i);
}

/* What the server said since the last time; all of it acknowledged. */
static const char *heard(unsigned i)
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

static void greet(unsigned i)
{
	connect_peer(i);
	assert_memory_equal(heard(i), "220 ", 4);
	say(i, BYTES_LIT("EHLO client.example.net\r\n"));
	assert_memory_equal(heard(i), "250-", 4);
}

static void envelope(unsigned i)
{
	say(i, BYTES_LIT(ENVELOPE));
	const char *said = heard(i);
	assert_non_null(strstr(said, "354 "));
}

/* Lines of 64 octets, the last dot not included. */
static struct bytes big_body(size_t n)
{
	static uint8_t body[BODY_MAX];

	for (size_t i = 0; i < n; i++)
		body[i] = (uint8_t)("0123456789abcdef"[i * 7 / 64 % 16]);
	for (size_t i = 62; i + 1 < n; i += 64)
		memcpy(body + i, "\r\n", 2);
	return bytes_make(body, n / 64 * 64);
}

/* ---- time ---- */

static void advance(uint64_t us)
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
static void settle(unsigned i)
{
	for (unsigned idle = 0; idle < 3; idle++) {
		if (write_some(1))
			idle = 0;
		advance(10000);
		pump(i);
	}
}

/* ---- tests ---- */

static void test_250_comes_after_the_commit(void **state)
{
	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, BYTES_LIT("Subject: x\r\n\r\nbody\r\n.\r\n"));
	assert_string_equal(heard(0), "");
	assert_int_equal(write_some(10), 1);
	const char *said = heard(0);
	assert_memory_equal(said, "250 2.0.0 Ok: queued as ", 24);
	struct stored *st = &bed.store[0];
	char id[17];
	snprintf(id, sizeof(id), "%016llx", (unsigned long long)st->id);
	assert_memory_equal(said + 24, id, 16);
	assert_bytes_equal(
		bytes_make(st->body, st->body_n), BYTES_LIT("Subject: x\r\n\r\nbody\r\n"));
	assert_memory_equal(
		st->prefix, "Return-Path: <a@client.example.net>\r\nReceived: from ", 52);
	assert_non_null(strstr(st->prefix, id));
	assert_non_null(strstr(st->prefix, "for <alice@local.example.org>;"));
	bed_close();
}

static void test_verdicts_of_the_writer(void **state)
{
	static const struct {
		int32_t status;
		const char *reply;
	} cases[] = {
		{HANDOFF_FULL,    "452 4.3.1"},
		{HANDOFF_FAILED,  "451 4.3.0"},
		{HANDOFF_ERROR,   "451 4.3.0"},
		{HANDOFF_REFUSED, "550 5.2.0"},
		{-5,              "451 4.3.0"},
		{HANDOFF_OK,      "250 2.0.0"},
	};

	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	greet(0);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		envelope(0);
		bed.status = cases[i].status;
		say(0, BYTES_LIT("x\r\n.\r\n"));
		write_some(10);
		assert_memory_equal(heard(0), cases[i].reply, 9);
	}
	bed_close();
}

/* A ring of capacity 1: sessions park for the credit and are answered in turn. */
static void test_no_credit_parks_the_session(void **state)
{
	(void)state;
	bed_open(1, (struct smtp_server_conf){0});
	for (unsigned i = 0; i < SESSIONS; i++) {
		greet(i);
		envelope(i);
		say(i, BYTES_LIT("x\r\n.\r\nNOOP\r\n"));
		assert_string_equal(heard(i), "");
	}
	for (unsigned i = 0; i < SESSIONS; i++) {
		assert_int_equal(write_some(1), 1);
		pump(i);
		assert_memory_equal(heard(i), "250 2.0.0 Ok: queued", 20);
	}
	assert_int_equal(write_some(1), 0);
	for (unsigned i = 0; i < SESSIONS; i++)
		assert_true(bed.store[i].accepted);
	bed_close();
}

static void test_large_body_streams(void **state)
{
	struct bytes body = big_body(2000000);

	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, body);
	/* The writer sleeps: the window is closed long before the body is in. */
	assert_true(bed.peer[0].in_at < bed.peer[0].in_n);
	settle(0);
	say(0, BYTES_LIT(".\r\n"));
	write_some(10);
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	assert_bytes_equal(bytes_make(bed.store[0].body, bed.store[0].body_n), body);
	assert_true(bed.store[0].chunks > 400);
	/* One run in memory, PARTS_MAX at the writer, the last segment, envelope and spare. */
	assert_true(bed.most_in_memory < (PARTS_MAX + 1) * STREAM_ABOVE + 8 * CHUNK_DATA + 65536);
	assert_false(bed.store[0].dropped);
	bed_close();
}

static void test_aborted_parts_are_dropped(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, big_body(400000));
	write_some(1);
	pump(0);
	bed.peer[0].s->ops->on_close(bed.peer[0].s, STREAM_RESET);
	bed.peer[0].aborted = true;
	while (write_some(1))
		;
	assert_true(bed.store[0].dropped && !bed.store[0].accepted);
	bed_close();
}

static void test_parts_of_a_refused_message_are_dropped(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	/* Refused by us: a bare LF. */
	envelope(0);
	say(0, big_body(400000));
	settle(0);
	say(0, BYTES_LIT("\n\r\n.\r\n"));
	assert_memory_equal(heard(0), "550 5.6.11", 10);
	write_some(10);
	assert_true(bed.store[0].dropped);
	/* Refused by the writer: at the part, at the accept. */
	envelope(0);
	bed.part_status = HANDOFF_FULL;
	say(0, big_body(400000));
	settle(0);
	say(0, BYTES_LIT(".\r\n"));
	assert_memory_equal(heard(0), "452 4.3.1", 9);
	bed.part_status = HANDOFF_OK;
	bed.status = HANDOFF_FAILED;
	envelope(0);
	say(0, big_body(400000));
	settle(0);
	say(0, BYTES_LIT(".\r\n"));
	write_some(10);
	assert_memory_equal(heard(0), "451 4.3.0", 9);
	assert_true(bed.store[1].dropped && bed.store[2].dropped);
	bed_close();
}

/* Case 23: the connection dies between the final dot and the 250. */
static void test_case_23_message_of_a_dead_session_is_kept(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, BYTES_LIT("kept\r\n.\r\n"));
	bed.peer[0].s->ops->on_close(bed.peer[0].s, STREAM_RESET);
	bed.peer[0].aborted = true;
	assert_int_equal(smtp_server_sessions(bed.server), 0);
	/* The session's place may be taken meanwhile: it must not hear the other's reply. */
	greet(1);
	write_some(10);
	assert_true(bed.store[0].accepted);
	assert_string_equal(heard(1), "");
	greet(2);
	envelope(2);
	say(2, BYTES_LIT("lost\r\n"));
	bed.peer[2].s->ops->on_close(bed.peer[2].s, STREAM_RESET);
	bed.peer[2].aborted = true;
	assert_int_equal(write_some(10), 0);
	bed_close();
}

static void test_memory_pressure(void **state)
{
	struct chain taken = {0};

	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	greet(1);
	while (chunk_pool_used_percent() < 75)
		chain_push(&taken, chunk_get());
	advance(2000);
	say(0, BYTES_LIT(ENVELOPE));
	assert_null(strstr(heard(0), "354")); /* DATA waits */
	while (chunk_pool_used_percent() < 95)
		chain_push(&taken, chunk_get());
	advance(20000);
	assert_string_equal(heard(0), "");
	say(1, BYTES_LIT("MAIL FROM:<>\r\n"));
	assert_memory_equal(heard(1), "452 4.3.1", 9);
	chain_free(&taken);
	advance(20000);
	assert_memory_equal(heard(0), "354 ", 4);
	/* No chunk at all in the middle of the content: the window closes, then it goes on. */
	for (struct chunk *k; (k = chunk_get());)
		chain_push(&taken, k);
	say(0, big_body(20000));
	assert_true(bed.peer[0].in_at < bed.peer[0].in_n);
	chain_free(&taken);
	advance(20000);
	pump(0);
	say(0, BYTES_LIT(".\r\n"));
	write_some(10);
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	bed_close();
}

/* One peer with many sessions gets an eighth of the pool, and still all its mail gets through. */
static void test_one_peer_gets_an_eighth(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	for (unsigned i = 0; i < SESSIONS; i++) {
		greet(i);
		envelope(i);
	}
	for (unsigned i = 0; i < SESSIONS; i++)
		say(i, big_body(200000));
	uint32_t envelopes = SESSIONS * 3; /* sender, recipients, text */
	assert_true(CHUNKS - chunk_pool_free_count() <= CHUNKS / 8 + envelopes);
	for (unsigned round = 0; round < 10000; round++) {
		bool all = true;
		write_some(1);
		advance(10000);
		for (unsigned i = 0; i < SESSIONS; i++) {
			pump(i);
			all = all && bed.peer[i].in_at == bed.peer[i].in_n;
		}
		if (all)
			break;
	}
	for (unsigned i = 0; i < SESSIONS; i++) {
		say(i, BYTES_LIT(".\r\n"));
		for (unsigned k = 0; k < 20; k++) {
			write_some(1);
			advance(10000);
			pump(i);
		}
		assert_memory_equal(heard(i), "250 2.0.0 Ok: queued", 20);
	}
	for (unsigned i = 0; i < SESSIONS; i++)
		assert_true(bed.store[i].accepted && bed.store[i].body_n == 200000);
	bed_close();
}

static void test_timeouts(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	greet(1);
	envelope(1);
	/* Case 39: an octet now and then is no progress. */
	for (unsigned i = 0; i < 17; i++) {
		advance(10 * US_PER_SEC);
		say(1, BYTES_LIT("x"));
	}
	assert_string_equal(heard(1), "");
	advance(11 * US_PER_SEC);
	assert_memory_equal(heard(1), "421 4.4.2", 9);
	assert_true(bed.peer[1].closed);
	for (unsigned i = 0; i < 11; i++) {
		advance(10 * US_PER_SEC);
		say(0, BYTES_LIT("N"));
	}
	advance(10 * US_PER_SEC);
	assert_memory_equal(heard(0), "421 4.4.2", 9);
	assert_true(bed.peer[0].closed);
	/* Who waits for us is not timed out, and once we answered he has his time again. */
	greet(2);
	envelope(2);
	say(2, BYTES_LIT("x\r\n.\r\n"));
	advance(1000 * US_PER_SEC);
	assert_string_equal(heard(2), "");
	write_some(10);
	assert_memory_equal(heard(2), "250 2.0.0", 9);
	/* Who does not even read: aborted. */
	greet(3);
	bed.peer[3].space = 0;
	advance(330 * US_PER_SEC);
	assert_true(bed.peer[3].aborted);
	bed_close();
}

static void test_full_send_buffer_keeps_replies_in_order(void **state)
{
	char all[4096] = "";

	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	bed.peer[0].space = 3;
	say(0, BYTES_LIT("NOOP\r\nHELP\r\nVRFY a\r\nMAIL FROM:<>\r\nQUIT\r\n"));
	for (unsigned i = 0; i < 500 && !bed.peer[0].closed; i++) {
		strcat(all, heard(0));
		bed.peer[0].space = i % 5 + 1;
		bed.peer[0].s->ops->on_writable(bed.peer[0].s);
		pump(0);
	}
	strcat(all, heard(0));
	assert_true(bed.peer[0].closed);
	const char *noop = strstr(all, "250 2.0.0 Ok\r\n214 ");
	assert_ptr_equal(noop, all);
	assert_non_null(strstr(all, "\r\n252 2.5.0"));
	assert_non_null(strstr(all, "250 2.1.0 Sender ok\r\n221 2.0.0 Bye\r\n"));
	bed_close();
}

/* Case 12 with the acknowledgements of TCP: the peer cannot have seen what it did not acknowledge.
 */
static void test_case_12_early_talker_by_acknowledgement(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	connect_peer(0);
	bed.peer[0].unacked = 10;
	say(0, BYTES_LIT("EHLO x\r\n"));
	assert_non_null(strstr(heard(0), "554 5.5.0"));
	assert_true(bed.peer[0].closed);
	greet(1);
	envelope(1);
	bed.peer[1].unacked = 1;
	say(1, BYTES_LIT("content before 354\r\n"));
	assert_memory_equal(heard(1), "554 5.5.0", 9);
	greet(2);
	bed.peer[2].unacked = 5; /* pipelined commands need not wait */
	say(2, BYTES_LIT("NOOP\r\n"));
	bed.peer[2].unacked = 0;
	greet(3);
	assert_int_equal(write_some(10), 0);
	bed_close();
}

/* Case 24: far more recipients than the limit cost no memory and end the session. */
static void test_case_24_fifty_thousand_recipients(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\n"));
	unsigned sent = 0;
	uint32_t before = chunk_pool_free_count();
	for (; sent < 50000 && !bed.peer[0].closed; sent++) {
		say(0, BYTES_LIT("RCPT TO:<alice@local.example.org>\r\n"));
		const char *said = heard(0);
		if (sent > 100 && !bed.peer[0].closed)
			assert_memory_equal(said, "452 4.5.3", 9);
		assert_true(before - MIN(before, chunk_pool_free_count()) <= 4);
	}
	assert_int_equal(sent, 100 + SMTP_OVERSHOOT + 1);
	bed_close();
}

/* Case 43: a list of recipients in Received would tell who got a blind copy. */
static void test_case_43_for_clause_names_a_lone_recipient_only(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\n"
			 "RCPT TO:<alice@local.example.org>\r\n"
			 "RCPT TO:<alice@local.example.org>\r\nDATA\r\n"));
	say(0, BYTES_LIT("x\r\n.\r\n"));
	write_some(10);
	assert_int_equal(bed.store[0].rcpts, 2);
	assert_null(strstr(bed.store[0].prefix, "for <"));
	bed_close();
}

static void test_drain(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	greet(1);
	envelope(1);
	smtp_server_drain(bed.server);
	poll_core();
	assert_memory_equal(heard(0), "421 4.3.2", 9);
	assert_true(bed.peer[0].closed && !bed.peer[1].closed);
	say(1, BYTES_LIT("x\r\n.\r\n"));
	write_some(10);
	poll_core();
	const char *said = heard(1);
	assert_memory_equal(said, "250 2.0.0", 9);
	assert_non_null(strstr(said, "421 4.3.2"));
	assert_true(bed.peer[1].closed);
	assert_int_equal(smtp_server_sessions(bed.server), 0);
	struct endpoint e = {0};
	assert_null(bed.server->doors[0].listener.accept(&bed.server->doors[0].listener, &e, &e));
	bed_close();
}

static void test_eof_after_the_last_command(void **state)
{
	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	greet(0);
	envelope(0);
	say(0, BYTES_LIT("x\r\n.\r\n"));
	bed.peer[0].s->ops->on_eof(bed.peer[0].s);
	assert_false(bed.peer[0].closed);
	write_some(10);
	assert_memory_equal(heard(0), "250 2.0.0", 9);
	assert_true(bed.peer[0].closed);
	greet(1);
	bed.peer[1].s->ops->on_eof(bed.peer[1].s);
	assert_true(bed.peer[1].closed);
	bed_close();
}

static void test_pool_of_sessions_is_bounded(void **state)
{
	struct endpoint e = {0};

	(void)state;
	bed_open(2, (struct smtp_server_conf){0});
	for (unsigned i = 0; i < SESSIONS; i++)
		greet(i);
	assert_null(bed.server->doors[0].listener.accept(&bed.server->doors[0].listener, &e, &e));
	say(3, BYTES_LIT("QUIT\r\n"));
	connect_peer(3);
	assert_int_equal(smtp_server_sessions(bed.server), SESSIONS);
	bed_close();
}

static void test_discard_mode_needs_no_writer(void **state)
{
	(void)state;
	bed_open(1, (struct smtp_server_conf){.discard = true});
	greet(0);
	for (unsigned i = 0; i < 3; i++) {
		envelope(0);
		say(0, big_body(1000000));
		say(0, BYTES_LIT(".\r\n"));
		assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	}
	assert_int_equal(write_some(10), 0);
	assert_true(bed.most_in_memory < 2 * STREAM_ABOVE);
	bed_close();
}

/* The mutant that the crash campaign has to catch does what it says. */
static void test_ack_early_answers_before_the_commit(void **state)
{
	(void)state;
	bed_open(1, (struct smtp_server_conf){.ack_early = true});
	greet(0);
	envelope(0);
	say(0, BYTES_LIT("x\r\n.\r\n"));
	assert_memory_equal(heard(0), "250 2.0.0 Ok: queued", 20);
	assert_int_equal(write_some(10), 1);
	bed_close();
}

static int setup(void **state)
{
	(void)state;
	eal_start_for_tests(64);
	log_set_level(LOG_ERROR);
	return chunk_pool_init(CHUNKS, -1) || message_pool_init(64, -1);
}

static struct ip_net proxies[1];

/* ---- limits of a peer ---- */

static void test_case_40_connections_of_a_peer(void **state)
{
	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	bed.policy.peer_connections = 2;
	for (unsigned i = 0; i < 2; i++) {
		connect_peer(i);
		assert_memory_equal(heard(i), "220 ", 4);
	}
	connect_peer(2);
	assert_memory_equal(heard(2), "421 4.7.0", 9);
	assert_true(bed.peer[2].closed);
	/* One goes, another may come; who is listed is not limited. */
	say(0, BYTES_LIT("QUIT\r\n"));
	heard(0);
	poll_core();
	connect_peer(3);
	assert_memory_equal(heard(3), "220 ", 4);
	assert_int_equal(ip_net_parse(BYTES_LIT("198.18.1.0/24"), &proxies[0]), 0);
	bed.policy.relay_from = proxies;
	bed.policy.relay_from_count = 1;
	connect_peer(4);
	assert_memory_equal(heard(4), "220 ", 4);
	bed_close();
}

static void test_case_40_rates_of_a_peer(void **state)
{
	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	bed.policy.peer_connection_rate = 2;
	bed.policy.peer_message_rate = 2;
	bed.policy.peer_rcpt_rate = 3;
	bed.policy.peer_error_rate = 2;
	greet(0);
	for (unsigned i = 0; i < 2; i++) {
		say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\n"));
		assert_memory_equal(heard(0), "250 2.1.0", 9);
		say(0, BYTES_LIT("RCPT TO:<alice@local.example.org>\r\n"));
		assert_memory_equal(heard(0), "250 2.1.5", 9);
		say(0, BYTES_LIT("RSET\r\n"));
		heard(0);
	}
	say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\n"));
	assert_memory_equal(heard(0), "450 4.7.1", 9);
	advance(31 * US_PER_SEC);
	say(0, BYTES_LIT("MAIL FROM:<a@client.example.net>\r\n"));
	assert_memory_equal(heard(0), "250 2.1.0", 9);
	for (unsigned i = 0; i < 2; i++)
		say(0, BYTES_LIT("RCPT TO:<alice@local.example.org>\r\n"));
	assert_memory_equal(heard(0), "250 2.1.5", 9);
	say(0, BYTES_LIT("RCPT TO:<alice@local.example.org>\r\n"));
	assert_memory_equal(heard(0), "450 4.7.1", 9);
	/* Errors of all its connections together. */
	connect_peer(1);
	assert_memory_equal(heard(1), "220 ", 4);
	say(0, BYTES_LIT("WHAT\r\n"));
	assert_memory_equal(heard(0), "500 ", 4);
	say(1, BYTES_LIT("WHAT\r\n"));
	assert_memory_equal(heard(1), "500 ", 4);
	say(1, BYTES_LIT("WHAT\r\n"));
	assert_non_null(strstr(heard(1), "421 4.7.0"));
	connect_peer(2);
	assert_memory_equal(heard(2), "220 ", 4);
	connect_peer(3);
	assert_memory_equal(heard(3), "421 4.7.0", 9);
	bed_close();
}

static void test_case_12_early_talker_by_delay(void **state)
{
	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	bed.policy.greet_delay_us = 2 * US_PER_SEC;
	connect_peer(0);
	advance(US_PER_SEC);
	assert_string_equal(heard(0), "");
	advance(2 * US_PER_SEC);
	assert_memory_equal(heard(0), "220 ", 4);
	say(0, BYTES_LIT("EHLO x\r\n"));
	assert_memory_equal(heard(0), "250-", 4);
	connect_peer(1);
	say(1, BYTES_LIT("EHLO x\r\n"));
	assert_memory_equal(heard(1), "554 5.5.0", 9);
	assert_true(bed.peer[1].closed);
	bed_close();
}

/* ---- PROXY headers ---- */

static void bed_open_behind_proxy(void)
{
	bed_open(4, (struct smtp_server_conf){0});
	assert_int_equal(ip_net_parse(BYTES_LIT("198.18.1.0/24"), &proxies[0]), 0);
	bed.policy.proxies = proxies;
	bed.policy.proxy_count = 1;
}

#define PROXY_V1 "PROXY TCP4 198.18.9.9 198.18.0.1 4000 25\r\n"
#define PROXY_V2                                                                                   \
	"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x12\x09\x09\xc6\x12\x00\x01\x0f\xa0\x00\x19"

static void check_peer_is(const char *address)
{
	struct smtp_conn *c = container_of(bed.peer[0].s, struct smtp_conn, stream);
	char text[IP_TEXT_MAX];

	assert_string_equal(ip_format(&c->session.peer, text), address);
	assert_string_equal(ip_format(&c->peer, text), address);
}

static void test_case_30_proxy_header_in_pieces(void **state)
{
	static const struct bytes headers[] = {BYTES_LIT(PROXY_V1), BYTES_LIT(PROXY_V2)};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(headers); i++) {
		for (size_t cut = 1; cut < headers[i].n; cut++) {
			bed_open_behind_proxy();
			connect_peer(0);
			say(0, bytes_first(headers[i], cut));
			assert_string_equal(heard(0), "");
			say(0, bytes_skip(headers[i], cut));
			assert_memory_equal(heard(0), "220 ", 4);
			check_peer_is("198.18.9.9");
			say(0, BYTES_LIT("EHLO x\r\n"));
			assert_memory_equal(heard(0), "250-", 4);
			bed_close();
		}
	}
}

static void test_case_30_proxy_header_missing_or_bad(void **state)
{
	static const struct bytes bad[] = {BYTES_LIT("EHLO x\r\n"),
		BYTES_LIT("PROXY TCP4 198.18.9.9 198.18.0.1 4000\r\n"),
		BYTES_LIT("\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"), BYTES_LIT("\x16\x03\x01")};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		bed_open_behind_proxy();
		connect_peer(0);
		say(0, bad[i]);
		assert_string_equal(heard(0), "");
		assert_true(bed.peer[0].aborted);
		bed_close();
	}
}

static void test_case_30_proxy_header_never_comes(void **state)
{
	(void)state;
	bed_open_behind_proxy();
	connect_peer(0);
	say(0, BYTES_LIT("PROXY TCP4"));
	advance(PROXY_US + US_PER_SEC);
	assert_true(bed.peer[0].aborted);
	assert_string_equal(heard(0), "");
	bed_close();
	/* Or the peer leaves in the midst of it. */
	bed_open_behind_proxy();
	connect_peer(0);
	say(0, BYTES_LIT("PROXY TCP4"));
	bed.peer[0].s->ops->on_eof(bed.peer[0].s);
	poll_core();
	assert_true(bed.peer[0].aborted);
	bed_close();
}

/* Who speaks behind the header before the greeting is an early talker as any other. */
static void test_case_30_early_talker_behind_proxy(void **state)
{
	(void)state;
	bed_open_behind_proxy();
	connect_peer(0);
	bed.peer[0].unacked = 40; /* the greeting: it has just gone */
	say(0, BYTES_LIT(PROXY_V1 "EHLO x\r\n"));
	const char *said = heard(0);
	assert_memory_equal(said, "220 ", 4);
	assert_non_null(strstr(said, "554 5.5.0"));
	assert_true(bed.peer[0].closed);
	bed_close();
}

/* From who is not listed the header is what it looks like: no command. */
static void test_case_30_proxy_header_of_others(void **state)
{
	(void)state;
	bed_open(4, (struct smtp_server_conf){0});
	connect_peer(0);
	assert_memory_equal(heard(0), "220 ", 4);
	say(0, BYTES_LIT(PROXY_V1));
	assert_memory_equal(heard(0), "500 ", 4);
	check_peer_is("198.18.1.1");
	bed_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_250_comes_after_the_commit),
		cmocka_unit_test(test_verdicts_of_the_writer),
		cmocka_unit_test(test_no_credit_parks_the_session),
		cmocka_unit_test(test_large_body_streams),
		cmocka_unit_test(test_aborted_parts_are_dropped),
		cmocka_unit_test(test_parts_of_a_refused_message_are_dropped),
		cmocka_unit_test(test_case_23_message_of_a_dead_session_is_kept),
		cmocka_unit_test(test_memory_pressure),
		cmocka_unit_test(test_one_peer_gets_an_eighth),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_full_send_buffer_keeps_replies_in_order),
		cmocka_unit_test(test_case_12_early_talker_by_acknowledgement),
		cmocka_unit_test(test_case_24_fifty_thousand_recipients),
		cmocka_unit_test(test_case_43_for_clause_names_a_lone_recipient_only),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_eof_after_the_last_command),
		cmocka_unit_test(test_pool_of_sessions_is_bounded),
		cmocka_unit_test(test_discard_mode_needs_no_writer),
		cmocka_unit_test(test_ack_early_answers_before_the_commit),
		cmocka_unit_test(test_case_40_connections_of_a_peer),
		cmocka_unit_test(test_case_40_rates_of_a_peer),
		cmocka_unit_test(test_case_12_early_talker_by_delay),
		cmocka_unit_test(test_case_30_proxy_header_in_pieces),
		cmocka_unit_test(test_case_30_proxy_header_missing_or_bad),
		cmocka_unit_test(test_case_30_proxy_header_never_comes),
		cmocka_unit_test(test_case_30_early_talker_behind_proxy),
		cmocka_unit_test(test_case_30_proxy_header_of_others),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
