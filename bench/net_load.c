/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/net_load.h"
#include <errno.h>
#include <stdlib.h>
#include "bench/net_paced.h"

#define EXCHANGE_OCTETS 100 /* of NET_CONNECT, there and back */
#define CONNECT_US      (30 * US_PER_SEC)
#define OPENING_MAX     512 /* of the connections to hold; chosen: as many as 16 bursts */
#define STEP_MAX        64  /* connections opened in a lap */
#define BULK_OCTETS     65536

static const uint8_t filler[BULK_OCTETS] = {NET_DISCARD};

static const char *const mode_names[NET_MODE_N] = {
	[NET_IDLE] = "idle",
	[NET_REQUEST] = "request",
	[NET_BULK] = "bulk",
	[NET_PACED] = "paced",
	[NET_CONNECT] = "connect",
};

int net_mode_parse(const char *name)
{
	for (int i = 0; i < NET_MODE_N; i++) {
		if (strcmp(mode_names[i], name) == 0)
			return i;
	}
	return -1;
}

/* Only the core writes. */
static void add64(_Atomic uint64_t *v, uint64_t n)
{
	atomic_store_explicit(
		v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}

static void add32(_Atomic uint32_t *v, uint32_t n)
{
	atomic_store_explicit(
		v, atomic_load_explicit(v, memory_order_relaxed) + n, memory_order_relaxed);
}

static uint32_t get32(const _Atomic uint32_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

/* ---- sessions ---- */

static int sessions_init(struct net_sessions *s, uint32_t n)
{
	s->all = calloc(n, sizeof(*s->all));
	if (!s->all)
		return -ENOMEM;
	s->n = n;
	for (uint32_t i = 0; i < n; i++)
		s->all[i].next_unused = i + 1;
	s->unused = 0;
	return 0;
}

static struct net_session *session_get(struct net_sessions *s)
{
	if (s->unused == s->n)
		return NULL;
	struct net_session *session = &s->all[s->unused];
	s->unused = session->next_unused;
	session->mode = 0;
	session->due = 0;
	return session;
}

static void session_put(struct net_sessions *s, struct net_session *session)
{
	session->next_unused = s->unused;
	s->unused = (uint32_t)(session - s->all);
}

static struct net_session *session_of(struct stream *s)
{
	return container_of(s, struct net_session, stream);
}

/* ---- server ---- */

/* The one server and the one client of this process: sessions stay small without a pointer. */
static struct net_server *server;
static struct net_client *client;

static size_t server_data(struct stream *s, struct bytes data)
{
	struct net_session *session = session_of(s);

	if (session->mode == 0)
		session->mode = data.p[0];
	size_t n = session->mode == NET_ECHO ? stream_send(s, data) : data.n;
	add64(&server->octets, n);
	return n;
}

static void server_end(struct stream *s)
{
	session_put(&server->sessions, session_of(s));
	add32(&server->open, (uint32_t)-1);
}

static void server_eof(struct stream *s)
{
	stream_close(s);
	server_end(s);
}

static void server_closed(struct stream *s, enum stream_reason reason)
{
	(void)reason;
	server_end(s);
}

static void server_writable(struct stream *s)
{
	stream_resume(s);
}

static const struct stream_ops server_ops = {
	.on_data = server_data,
	.on_eof = server_eof,
	.on_writable = server_writable,
	.on_close = server_closed,
};

static struct stream *server_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	struct net_session *session = session_get(&server->sessions);

	(void)l;
	(void)peer;
	(void)local;
	if (!session)
		return NULL;
	session->stream.ops = &server_ops;
	add32(&server->open, 1);
	return &session->stream;
}

int net_server_init(struct net_server *s, struct stack *st, uint32_t sessions_max)
{
	int rc = sessions_init(&s->sessions, sessions_max);

	server = s;
	s->listener.accept = server_accept;
	for (uint16_t i = 0; i < NET_PORTS && rc == 0; i++)
		rc = stack_listen(st, NET_FIRST_PORT + i, &s->listener);
	return rc;
}

void net_server_fini(struct net_server *s)
{
	free(s->sessions.all);
	s->sessions.all = NULL;
}

/* ---- client ---- */

static void client_end(struct net_session *session)
{
	client->active[session->mode]--;
	if (session->mode == NET_PACED)
		net_paced_end(client->paced, session);
	client->open[session->target]--;
	session_put(&client->sessions, session);
}

static void send_request(struct net_session *session, size_t n)
{
	uint8_t octets[EXCHANGE_OCTETS] = {NET_ECHO};

	session->due = (uint16_t)n;
	if (stream_send(&session->stream, bytes_make(octets, n)) < n)
		add64(&client->failed, 1);
}

/* The buffer takes what has room; on_writable tells when there is more. */
static void send_bulk(struct net_session *session)
{
	size_t n;

	while ((n = stream_send(&session->stream, bytes_make(filler, sizeof(filler)))) > 0)
		add64(&client->octets, n);
}

static void client_open(struct stream *s)
{
	struct net_session *session = session_of(s);

	switch (session->mode) {
	case NET_IDLE:
		client->opening--;
		session->due = 1;
		add32(&client->held, 1);
		break;
	case NET_REQUEST:
		send_request(session, 1);
		break;
	case NET_BULK:
		send_bulk(session);
		break;
	case NET_PACED:
		if (!net_paced_open(client->paced, session))
			add64(&client->failed, 1);
		break;
	default:
		send_request(session, EXCHANGE_OCTETS);
		break;
	}
}

static size_t client_data(struct stream *s, struct bytes data)
{
	struct net_session *session = session_of(s);

	add64(&client->octets, data.n);
	session->due = (uint16_t)(session->due - data.n);
	if (session->due > 0)
		return data.n;
	add64(&client->done, 1);
	if (session->mode == NET_REQUEST && !client->ending) {
		send_request(session, 1);
		return data.n;
	}
	if (session->mode == NET_PACED && !client->ending) {
		net_paced_answer(client->paced, session);
		return data.n;
	}
	stream_close(s);
	client_end(session);
	return data.n;
}

static void client_writable(struct stream *s)
{
	if (session_of(s)->mode == NET_BULK)
		send_bulk(session_of(s));
}

static void client_closed(struct stream *s, enum stream_reason reason)
{
	struct net_session *session = session_of(s);

	(void)reason;
	add64(&client->failed, 1);
	if (session->mode == NET_IDLE && session->due)
		add32(&client->held, (uint32_t)-1);
	else if (session->mode == NET_IDLE)
		client->opening--;
	client_end(session);
}

static const struct stream_ops client_ops = {
	.on_open = client_open,
	.on_data = client_data,
	.on_writable = client_writable,
	.on_close = client_closed,
};

/* The next connection's; false: all have as many as they may have. */
static bool target_next(void)
{
	uint32_t targets = client->server_n * NET_PORTS;

	for (uint32_t i = 0; client->target_used >= NET_BLOCK && i < targets; i++) {
		client->target = (client->target + 1) % targets;
		client->target_used = client->open[client->target];
	}
	return client->target_used++ < NET_BLOCK;
}

/* Returns false: not now. */
static bool client_connect(enum net_mode mode)
{
	if (!target_next())
		return false;
	struct net_session *session = session_get(&client->sessions);
	if (!session)
		return false;
	struct endpoint to = {.ip = client->servers[client->target / NET_PORTS],
		.port = (uint16_t)(NET_FIRST_PORT + client->target % NET_PORTS)};
	session->mode = (uint8_t)mode;
	session->stream = (struct stream){.ops = &client_ops};
	int rc = stream_connect(client->stack, &session->stream, &to, CONNECT_US);
	if (rc < 0) {
		session_put(&client->sessions, session);
		/* our own address is not claimed yet (RFC 5227, RFC 4862 5.4) */
		add64(&client->failed, rc != -ENETUNREACH);
		return false;
	}
	client->active[mode]++;
	session->target = client->target;
	client->open[session->target]++;
	client->opening += mode == NET_IDLE;
	return true;
}

/* Connections that send without end must be told. */
static void end_bulk(void)
{
	for (uint32_t i = 0; client->active[NET_BULK] && i < client->sessions.n; i++) {
		struct net_session *session = &client->sessions.all[i];
		if (session->mode != NET_BULK || !session->stream.id.generation)
			continue;
		stream_abort(&session->stream);
		client_end(session);
		session->mode = NET_IDLE;
	}
}

/* Those that wait for an answer end when it comes. */
static void end_paced(void)
{
	for (struct net_session *s; (s = net_paced_idle(client->paced));) {
		stream_close(&s->stream);
		client_end(s);
	}
}

unsigned net_client_poll(void *ctx, uint64_t now_us)
{
	struct net_client *c = ctx;
	enum net_mode mode = (enum net_mode)get32(&c->mode);
	unsigned n = 0;

	while (n < STEP_MAX && c->active[NET_IDLE] < get32(&c->hold) && c->opening < OPENING_MAX &&
		client_connect(NET_IDLE))
		n++;
	c->ending = mode == NET_IDLE;
	while (!c->ending && n < STEP_MAX && c->active[mode] < get32(&c->width) &&
		client_connect(mode))
		n++;
	if (c->ending && c->active[NET_BULK])
		end_bulk();
	if (c->ending && c->active[NET_PACED])
		end_paced();
	if (c->paced)
		n += net_paced_poll(c->paced, now_us);
	atomic_store_explicit(&c->busy,
		c->active[NET_REQUEST] + c->active[NET_BULK] + c->active[NET_PACED] +
			c->active[NET_CONNECT],
		memory_order_relaxed);
	return n;
}

int net_client_init(struct net_client *c, struct stack *st, uint32_t sessions_max)
{
	client = c;
	c->stack = st;
	return sessions_init(&c->sessions, sessions_max);
}

void net_client_fini(struct net_client *c)
{
	free(c->sessions.all);
	c->sessions.all = NULL;
}
