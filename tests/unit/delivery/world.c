/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/delivery/unit.h"
#include <errno.h>
#include "tests/unit/delivery/world.h"

struct world *world;

/* ---- what the worker calls of rooms that are not here ---- */

int core_add_poller(struct core *c, struct poller p)
{
	c->pollers[c->poller_count++] = p;
	return 0;
}

const char *stream_reason_text(enum stream_reason reason)
{
	return reason == STREAM_REFUSED ? "connection refused" : "connection reset";
}

unsigned store_domain_owner(struct bytes domain, unsigned workers)
{
	return domain.n ? (unsigned)domain.p[0] % workers : 0;
}

/* ---- mail servers ---- */

struct world_host *world_host(const char *ip)
{
	for (size_t i = 0; i < ARRAY_LEN(world->hosts); i++) {
		if (!world->hosts[i].ip)
			world->hosts[i].ip = ip;
		if (strcmp(world->hosts[i].ip, ip) == 0)
			return &world->hosts[i];
	}
	fail_msg("too many hosts");
	return NULL;
}

struct world_host *world_host_of(unsigned n)
{
	char *ip = world->ips[n];

	assert_true(n < WORLD_HOSTS - 2);
	snprintf(ip, sizeof(world->ips[n]), "198.18.%u.%u", 1 + n / 250, 1 + n % 250);
	return world_host(ip);
}

/* Does it do something other than to answer? */
static bool acts_at(struct world_server *v, enum world_step step)
{
	v->hung |= v->host->hangs_at == step;
	v->closing |= v->host->drops_at == step;
	return v->hung || v->closing;
}

static void say(struct world_server *v, const char *text)
{
	if (v->hung)
		return;
	if (v->out_n == 0)
		v->answer_us = world->core.now_us + v->host->delay_ms * US_PER_MS;
	v->out_n += (size_t)snprintf(v->out + v->out_n, sizeof(v->out) - v->out_n, "%s\r\n", text);
	assert_true(v->out_n < sizeof(v->out));
}

/* Says text, or what it says at this step instead.  True: it means the same. */
static bool says_at(struct world_server *v, enum world_step step, const char *text)
{
	bool other = v->host->says_at == step;

	if (acts_at(v, step))
		return false;
	say(v, other ? v->host->says : text);
	v->bye |= other && strncmp(v->host->says, "421", 3) == 0;
	return !other || v->host->says[0] == text[0];
}

static struct world_message *message_of_content(const struct world_server *v)
{
	char head[64] = "";

	memcpy(head, v->content, MIN(v->content_n, sizeof(head) - 1));
	/* The content begins with the field that the world prepended. */
	assert_memory_equal(head, "X-Id: ", 6);
	unsigned long id = strtoul(head + 6, NULL, 16);
	for (uint32_t i = 0; i < world->message_n; i++) {
		if (world->messages[i].id == id)
			return &world->messages[i];
	}
	fail_msg("unknown message");
	return NULL;
}

static void check_content(const struct world_message *m, const struct world_server *v)
{
	static char want[WORLD_BODY + 64];
	size_t n = (size_t)snprintf(want, sizeof(want), "X-Id: %lx\r\n", m->id);

	memcpy(want + n, m->body, m->body_n);
	assert_int_equal(v->content_n, n + m->body_n);
	assert_memory_equal(v->content, want, n + m->body_n);
}

static void took(struct world_server *v)
{
	struct world_message *m = message_of_content(v);

	check_content(m, v);
	v->host->transactions++;
	v->host->in_clear += !v->secured;
	v->host->rcpts += v->rcpt_n;
	for (unsigned i = 0; i < v->rcpt_n; i++) {
		bool found = false;
		for (uint32_t k = 0; k < m->rcpt_count; k++) {
			bool same = strcmp(m->rcpts[k].address, v->rcpts[i]) == 0;
			m->rcpts[k].copies += same;
			found |= same;
		}
		assert_true(found);
		v->taken = m;
		m->delivered++;
	}
}

static void content_free(struct world_server *v)
{
	free(v->content);
	v->content = NULL;
	v->content_n = 0;
}

static void content_append(struct world_server *v, const char *text, size_t n)
{
	if (!v->content)
		v->content = malloc(WORLD_BODY + 4096);
	assert_true(v->content && v->content_n + n <= WORLD_BODY + 4096);
	memcpy(v->content + v->content_n, text, n);
	v->content_n += n;
}

static void on_data_line(struct world_server *v)
{
	if (strcmp(v->line, ".") == 0) {
		v->data = false;
		if (v->host->final)
			say(v, v->host->final);
		else if (says_at(v, AT_FINAL, "250 2.0.0 taken"))
			took(v);
		content_free(v);
		return;
	}
	const char *text = v->line[0] == '.' ? v->line + 1 : v->line;
	content_append(v, text, strlen(text));
	content_append(v, "\r\n", 2);
}

static void on_rcpt_line(struct world_server *v)
{
	if (v->mailing && v->host->rcpt) {
		say(v, v->host->rcpt);
		return;
	}
	if (!v->mailing)
		say(v, "503 5.5.1 MAIL first");
	if (!v->mailing || !says_at(v, AT_RCPT, "250 2.1.5 ok"))
		return;
	char *open = strchr(v->line, '<'), *close = strchr(v->line, '>');
	assert_true(open && close);
	snprintf(v->rcpts[v->rcpt_n++], sizeof(v->rcpts[0]), "%.*s", (int)(close - open - 1),
		open + 1);
}

static void say_ehlo(struct world_server *v)
{
	const char *const lines[] = {"250-mx", v->host->dsn ? "250-DSN" : NULL,
		v->host->starttls && !v->secured ? "250-STARTTLS" : "250-PIPELINING"};
	char limits[64];

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		if (lines[i])
			say(v, lines[i]);
	}
	snprintf(limits, sizeof(limits), "250-%s", v->host->limits ? v->host->limits : "X");
	say(v, limits);
	say(v, v->host->babbles ? "250 SIZE\r\n250 ok" : "250 SIZE");
}

static void on_command(struct world_server *v)
{
	if (strncmp(v->line, "EHLO ", 5) == 0) {
		if (v->host->says_at == AT_EHLO)
			says_at(v, AT_EHLO, "250");
		else if (!acts_at(v, AT_EHLO))
			say_ehlo(v);
	} else if (strcmp(v->line, "STARTTLS") == 0) {
		say(v, "220 2.0.0 go on");
	} else if (strncmp(v->line, "MAIL ", 5) == 0) {
		v->rcpt_n = 0;
		v->taken = NULL;
		v->closing = v->host->drop_second && v->mails++ > 0;
		if (!v->closing)
			v->mailing = says_at(v, AT_MAIL, "250 2.1.0 ok");
	} else if (strncmp(v->line, "RCPT ", 5) == 0) {
		on_rcpt_line(v);
	} else if (strcmp(v->line, "DATA") == 0) {
		v->data = v->rcpt_n > 0 && says_at(v, AT_DATA, "354 go on");
		if (v->rcpt_n == 0)
			say(v, "554 5.5.1 no valid recipients");
	} else if (strcmp(v->line, "QUIT") == 0) {
		says_at(v, AT_QUIT, "221 2.0.0 bye");
	} else {
		say(v, "250 2.0.0 ok");
	}
}

static struct world_server *server_of(const struct stream *s)
{
	for (size_t i = 0; i < WORLD_SERVERS; i++) {
		if (world->servers[i].s == s)
			return &world->servers[i];
	}
	return NULL;
}

static size_t fake_send(struct stream *s, struct bytes data)
{
	struct world_server *v = server_of(s);
	size_t n = MIN(data.n, 1 + (size_t)(world->core.now_us * 7919 % 3000));

	if (v->data && v->host->hangs_at == AT_CONTENT)
		return 0;
	if (v->data && v->host->drops_at == AT_CONTENT)
		v->closing = true;
	for (size_t i = 0; i < n && !v->closing && !v->hung && !v->bye; i++) {
		char c = (char)data.p[i];
		if (c == '\n') {
			v->line[v->line_n] = '\0';
			v->line_n = 0;
			if (v->data)
				on_data_line(v);
			else
				on_command(v);
		} else if (c != '\r') {
			assert_true(v->line_n < sizeof(v->line) - 1);
			v->line[v->line_n++] = c;
		}
	}
	return n;
}

/* The connection is gone.  What it took and did not say may be sent again. */
static void server_end(struct world_server *v)
{
	for (unsigned i = 0; v->out_n && v->taken && i < v->rcpt_n; i++) {
		for (uint32_t k = 0; k < v->taken->rcpt_count; k++)
			v->taken->rcpts[k].excused +=
				strcmp(v->taken->rcpts[k].address, v->rcpts[i]) == 0;
	}
	content_free(v);
	memset(v, 0, sizeof(*v));
}

static void fake_end(struct stream *s)
{
	struct world_server *v = server_of(s);

	assert_non_null(v);
	server_end(v);
}

static size_t fake_zero(const struct stream *s)
{
	(void)s;
	return 4096;
}

static const struct stream_transport transport = {.send = fake_send,
	.space = fake_zero,
	.unacked = fake_zero,
	.resume = fake_end,
	.shutdown = fake_end,
	.close = fake_end,
	.abort = fake_end};

int stream_connect(
	struct stack *st, struct stream *s, const struct endpoint *remote, uint64_t timeout_us)
{
	char ip[IP_TEXT_MAX];

	(void)st;
	(void)timeout_us;
	if (world->connect_error) {
		assert_true(++world->connects_failed < 100000);
		return world->connect_error;
	}
	ip_format(&remote->ip, ip);
	assert_null(server_of(s));
	struct world_server *v = server_of(NULL);
	assert_non_null(v);
	*v = (struct world_server){.s = s};
	for (size_t i = 0; i < ARRAY_LEN(world->hosts) && !v->host; i++) {
		if (world->hosts[i].ip && strcmp(world->hosts[i].ip, ip) == 0)
			v->host = &world->hosts[i];
	}
	assert_non_null(v->host);
	s->transport = &transport;
	v->host->connects++;
	v->line_n = SIZE_MAX; /* not open yet */
	return 0;
}

/* ---- TLS, of which only the outcome is real ---- */

int tls_connect(
	struct tls *tls, struct tls_config *config, struct stream *s, const struct tls_peer *peer)
{
	struct world_server *v = server_of(s);

	(void)tls;
	(void)config;
	if (world->tls_error)
		return world->tls_error;
	v->handshake = true;
	v->host->tls_trust = peer->trust;
	v->host->resumed += peer->ticket != NULL;
	snprintf(v->host->tls_name, sizeof(v->host->tls_name), "%s", peer->name ? peer->name : "");
	snprintf(v->host->tls_second_name, sizeof(v->host->tls_second_name), "%s",
		peer->second_name ? peer->second_name : "");
	return 0;
}

bool tls_peer_has_name(const struct stream *s)
{
	return !server_of(s)->host->tls_other_name;
}

/* AUTH binds to nothing here. */
bool tls_is_secure(const struct stream *s)
{
	(void)s;
	return false;
}

int tls_channel_binding(const struct stream *s, uint8_t out[32])
{
	(void)s;
	(void)out;
	return -1;
}

size_t tls_end_point(const struct stream *s, uint8_t out[TLS_BINDING_MAX])
{
	(void)s;
	(void)out;
	return 0;
}

const char *tls_error(const struct tls *tls)
{
	(void)tls;
	return "certificate has expired";
}

void tls_get_info(const struct stream *s, struct tls_info *info_r)
{
	const struct world_server *v = server_of(s);

	*info_r = (struct tls_info){.version = "TLSv1.3",
		.cipher = "TEST",
		.sni = "",
		.peer_verified = v->host->tls_trust != TLS_TRUST_NONE};
}

struct tls_ticket *tls_ticket_take(struct stream *s)
{
	(void)s;
	world->tickets++;
	return malloc(1);
}

void tls_ticket_free(struct tls_ticket **ticket)
{
	if (*ticket)
		world->tickets--;
	free(*ticket);
	*ticket = NULL;
}

static void handshake_step(struct world_server *v)
{
	struct stream *s = v->s;

	v->handshake = false;
	if (v->host->tls_fails) {
		memset(v, 0, sizeof(*v));
		s->ops->on_close(s, STREAM_TLS_FAILED);
		return;
	}
	v->secured = true;
	v->host->tls++;
	s->ops->on_secure(s);
}

static unsigned server_step(struct world_server *v)
{
	struct stream *s = v->s;
	char out[sizeof(v->out)];
	size_t n = v->out_n;

	if (v->line_n == SIZE_MAX) {
		if (v->host->silent || v->host->hangs_at == AT_CONNECT)
			return 0;
		v->line_n = 0;
		if (v->host->refuse) {
			memset(v, 0, sizeof(*v));
			s->ops->on_close(s, STREAM_REFUSED);
			return 1;
		}
		says_at(v, AT_GREETING, v->host->greeting ? v->host->greeting : "220 mx ready");
		s->ops->on_open(s);
		return 1;
	}
	if (v->closing) {
		server_end(v);
		s->ops->on_close(s, STREAM_RESET);
		return 1;
	}
	if (v->handshake) {
		handshake_step(v);
		return 1;
	}
	if (n == 0 && v->bye)
		v->closing = true;
	if (n == 0 || v->answer_us > world->core.now_us) {
		s->ops->on_writable(s);
		return 0;
	}
	memcpy(out, v->out, n);
	v->out_n = 0;
	v->taken = NULL;
	/* One octet at a time now and then. */
	size_t first = world->core.now_us % 3 == 0 ? 1 : n;
	s->ops->on_data(s, bytes_make(out, first));
	if (first < n && v->s == s)
		s->ops->on_data(s, bytes_make(out + first, n - first));
	return 1;
}

/* ---- the store ---- */

static struct world_message *find(uint64_t id)
{
	for (uint32_t i = 0; i < world->message_n; i++) {
		bool queued = false;
		for (uint32_t k = 0; k < world->messages[i].rcpt_count; k++)
			queued |= world->messages[i].rcpts[k].queued;
		if (world->messages[i].id == id && queued)
			return &world->messages[i];
	}
	return NULL;
}

static void bounce_take(struct message *b)
{
	size_t n = chain_read(&b->body, 0, world->bounce_text, sizeof(world->bounce_text) - 1);
	struct bytes to = message_rcpt_address(b, message_rcpt(b, 0));

	world->bounce_text[n] = '\0';
	snprintf(world->bounce_to, sizeof(world->bounce_to), "%.*s", (int)to.n, to.p);
	world->bounces++;
}

/* Who fails without a word is lost. */
static void check_reported(const struct world_message *m, const struct results_op *r)
{
	bool failed = false;

	for (uint32_t i = 0; i < r->count; i++)
		failed |= r->results[i].outcome == ATTEMPT_FAILED;
	if (failed && m->sender[0] && !world->notify && !world->bounces_refused)
		assert_non_null(r->bounce);
}

static void serve_result(struct op *op)
{
	struct results_op *r = container_of(op, struct results_op, op);
	struct world_message *m = find(r->id);

	op->status = world->result_status ? world->result_status : m ? 0 : -ENOENT;
	world->result_status = 0;
	if (r->bounce && op->status == 0)
		bounce_take(r->bounce);
	if (r->bounce)
		message_unref(r->bounce);
	if (op->status)
		return;
	world->results++;
	check_reported(m, r);
	for (uint32_t i = 0; i < r->count; i++) {
		const struct rcpt_result *res = &r->results[i];
		assert_true(res->rcpt < m->rcpt_count);
		struct world_rcpt *q = &m->rcpts[res->rcpt];
		assert_true(q->queued);
		q->queued = res->outcome == ATTEMPT_DEFERRED;
		q->failed = res->outcome == ATTEMPT_FAILED;
		q->attempts++;
		q->next_ms = res->next_ms;
		q->warned |= res->warned;
		q->code = res->code;
		snprintf(q->reason, sizeof(q->reason), "%.*s", res->reason_n, res->reason);
	}
}

static bool store_failed(void)
{
	return atomic_load(&world->health) == STORE_FAILED;
}

/* With the rows of those that are queued, or with all recipients.  False: no memory. */
static bool envelope_fill(
	struct message *m, const struct world_message *w, bool all, struct chain *rows)
{
	char field[64];

	if (message_set_sender(m, bytes_str(w->sender)) < 0)
		return false;
	for (uint32_t i = 0; i < w->rcpt_count; i++) {
		const struct world_rcpt *q = &w->rcpts[i];
		if (!all && !q->queued)
			continue;
		struct dsn_rcpt dsn = {
			.notify = (uint8_t)(world->notify | (q->warned ? NOTIFY_WARNED : 0)),
			.orcpt = world->orcpt ? bytes_str(world->orcpt) : BYTES_NONE};
		struct queue_rcpt_row row = {.rcpt = i,
			.state = q->held ? QUEUE_HELD : QUEUE_SCHEDULED,
			.attempts = q->attempts,
			.next_ms = q->next_ms};
		if (message_add_rcpt_dsn(m, bytes_str(q->address), RCPT_REMOTE, 0, &dsn) < 0)
			return false;
		if (rows && chain_append(rows, bytes_make(&row, sizeof(row))) < 0)
			return false;
	}
	snprintf(field, sizeof(field), "X-Id: %lx\r\n", w->id);
	return message_prepend(m, bytes_str(field), false) == 0 &&
	       message_prepend(m, BYTES_LIT("Return-Path: <>\r\n"), true) == 0;
}

/* NULL: no memory. */
static struct message *envelope(const struct world_message *w, bool all, struct chain *rows)
{
	struct message *m = message_new();

	if (!m)
		return NULL;
	m->id = w->id;
	m->received_ms = w->id >> 16;
	m->ret = world->ret;
	if (envelope_fill(m, w, all, rows))
		return m;
	message_unref(m);
	if (rows)
		chain_free(rows);
	return NULL;
}

static void serve_queue(struct op *op)
{
	struct queue_read_op *q = container_of(op, struct queue_read_op, op);
	struct world_message *m = find(q->id);

	op->status = m ? 0 : -ENOENT;
	if (world->no_chunks_once) {
		world->no_chunks_once = false;
		op->status = -ENOBUFS;
	}
	if (op->status)
		return;
	q->message = envelope(m, false, &q->rows);
	if (!q->message) {
		op->status = -ENOBUFS;
		return;
	}
	q->message->streamed = m->body_n;
	q->body_bytes = m->body_n;
	q->expire_ms = m->expire_ms;
}

static void serve_body(struct op *op)
{
	static char view[WORLD_BODY + 64];
	struct body_read_op *b = container_of(op, struct body_read_op, op);
	struct world_message *m = find(b->blob);

	world->read_bodies++;
	op->status = m ? 0 : -ENOENT;
	if (!m)
		return;
	assert_true(b->relay);
	size_t n = (size_t)snprintf(view, sizeof(view), "X-Id: %lx\r\n", m->id);
	memcpy(view + n, m->body, m->body_n);
	b->total = n + m->body_n;
	assert_true(b->offset <= b->total);
	struct bytes part =
		bytes_make(view + b->offset, MIN((uint64_t)b->max, b->total - b->offset));
	if (!world->no_chunks_once && chain_append(&b->out, part) == 0)
		return;
	world->no_chunks_once = false;
	chain_free(&b->out);
	op->status = -ENOBUFS;
}

static bool row_after(const struct world_message *m, uint32_t k, const struct schedule_read_op *s)
{
	uint64_t ms = m->rcpts[k].next_ms;

	if (ms != s->from_ms)
		return ms > s->from_ms;
	return m->id != s->from_id ? m->id > s->from_id : k >= s->from_rcpt;
}

static bool row_before(
	const struct world_message *a, uint32_t ka, const struct world_message *b, uint32_t kb)
{
	if (a->rcpts[ka].next_ms != b->rcpts[kb].next_ms)
		return a->rcpts[ka].next_ms < b->rcpts[kb].next_ms;
	return a->id != b->id ? a->id < b->id : ka < kb;
}

static bool next_row(const struct schedule_read_op *s, struct world_message **m_r, uint32_t *k_r)
{
	*m_r = NULL;
	for (uint32_t i = 0; i < world->message_n; i++) {
		struct world_message *m = &world->messages[i];
		for (uint32_t k = 0; k < m->rcpt_count; k++) {
			if (m->rcpts[k].queued && row_after(m, k, s) &&
				(!*m_r || row_before(m, k, *m_r, *k_r))) {
				*m_r = m;
				*k_r = k;
			}
		}
	}
	return *m_r != NULL;
}

/* False: no memory. */
static bool add_row(struct schedule_read_op *s, const struct world_message *m, uint32_t k)
{
	const char *domain = strchr(m->rcpts[k].address, '@') + 1;
	union {
		struct schedule_row row;
		uint8_t octets[512];
	} u = {.octets = {0}};

	u.row = (struct schedule_row){.next_ms = m->rcpts[k].next_ms,
		.id = m->id,
		.rcpt = k,
		.state = m->rcpts[k].held ? QUEUE_HELD : QUEUE_SCHEDULED,
		.attempts = (uint16_t)m->rcpts[k].attempts,
		.domain_n = (uint8_t)strlen(domain)};
	strcpy((char *)(&u.row + 1), domain);
	size_t n = (sizeof(u.row) + u.row.domain_n + 7) & ~(size_t)7;
	if (chain_append(&s->out, bytes_make(&u, n)) < 0)
		return false;
	s->from_ms = u.row.next_ms;
	s->from_id = u.row.id;
	s->from_rcpt = k + 1;
	return true;
}

static void serve_schedule(struct op *op)
{
	struct schedule_read_op *s = container_of(op, struct schedule_read_op, op), from = *s;
	struct world_message *m;
	uint32_t k = 0, rows = 0;

	op->status = 0;
	for (; rows < MIN(s->max_rows, 20u) && next_row(s, &m, &k); rows++) {
		if (add_row(s, m, k))
			continue;
		chain_free(&s->out);
		s->from_ms = from.from_ms;
		s->from_id = from.from_id;
		s->from_rcpt = from.from_rcpt;
		op->status = -ENOBUFS;
		return;
	}
	s->end = rows == 0 || !next_row(s, &m, &k);
}

static void serve(struct op *op)
{
	if (store_failed()) {
		if (op->kind == STORE_RESULT && container_of(op, struct results_op, op)->bounce)
			message_unref(container_of(op, struct results_op, op)->bounce);
		op->status = -EIO;
		channel_complete(op);
		return;
	}
	switch (op->kind) {
	case STORE_RESULT:
		serve_result(op);
		break;
	case STORE_READ_QUEUE:
		if (op->channel == &world->reader)
			serve_queue(op);
		break;
	case STORE_READ_BODY:
		serve_body(op);
		break;
	case STORE_READ_SCHEDULE:
		serve_schedule(op);
		break;
	default:
		fail_msg("unknown op %u", op->kind);
	}
	channel_complete(op);
}

/* ---- laps ---- */

static unsigned serve_channel(struct channel *c, void (*fn)(struct op *op))
{
	struct op *ops[8];
	unsigned n = channel_take(c, ops, 8);

	for (unsigned i = 0; i < n; i++)
		fn(ops[i]);
	return n;
}

static unsigned lap(void)
{
	struct core *c = &world->core;
	unsigned n = world_dns_held();

	c->now_us += 997;
	c->now_ms = 1795388700000 + c->now_us / 1000;
	n += serve_channel(&world->writer, serve);
	n += serve_channel(&world->reader, serve);
	n += serve_channel(&world->dns, world_dns_serve);
	for (size_t i = 0; i < WORLD_SERVERS; i++) {
		if (world->servers[i].s)
			n += server_step(&world->servers[i]);
	}
	n += channel_poll(&world->writer);
	n += channel_poll(&world->reader);
	n += channel_poll(&world->dns);
	n += c->pollers[0].poll(c->pollers[0].ctx, c->now_us);
	n += timer_run(&c->wheel, c->now_us, 64);
	return n;
}

void world_step(void)
{
	lap();
}

void world_settle(void)
{
	/* Long enough for what is tried again after 100 ms and a second. */
	for (unsigned idle = 0, i = 0; idle < 1500; i++) {
		idle = lap() ? 0 : idle + 1;
		if (i > 300000)
			fail_msg("the worker never comes to rest");
	}
}

void world_advance_ms(uint64_t ms)
{
	for (uint64_t i = 0; i < ms; i += 100) {
		world->core.now_us += 100 * US_PER_MS;
		lap();
	}
}

/* ---- life cycle ---- */

void world_start(uint32_t ring, struct delivery_conf conf)
{
	struct core *c;

	world = calloc(1, sizeof(*world));
	c = &world->core;
	c->now_us = 1000000;
	c->now_ms = 1795388700000;
	ids_init(&c->ids, 5, 0);
	timer_wheel_init(&c->wheel, c->now_us);
	assert_int_equal(waker_init(&c->waker), 0);
	assert_int_equal(waker_init(&world->server_waker), 0);
	assert_int_equal(
		channel_init(&world->writer, "w", ring, &c->waker, &world->server_waker, -1), 0);
	assert_int_equal(
		channel_init(&world->reader, "r", ring, &c->waker, &world->server_waker, -1), 0);
	assert_int_equal(
		channel_init(&world->dns, "d", ring, &c->waker, &world->server_waker, -1), 0);
	assert_int_equal(hints_init(&world->ready, "h", ring, &c->waker, -1), 0);
	world->ch = (struct delivery_channels){.writers = {&world->writer},
		.readers = {{&world->reader}},
		.shard_count = 1,
		.reader_count = 1,
		.dns = &world->dns,
		.ready = {&world->ready},
		.health = {&world->health}};
	snprintf(conf.hostname, sizeof(conf.hostname), "relay.example.org");
	conf.port = 25;
	conf.retry_count = 2;
	conf.retry_ms[0] = 60000;
	conf.retry_ms[1] = 300000;
	conf.connections_max = conf.connections_max ? conf.connections_max : 10;
	conf.site_connections_max = conf.site_connections_max ? conf.site_connections_max : 4;
	conf.recipients_max = conf.recipients_max ? conf.recipients_max : 4096;
	conf.connect_timeout_us = 10 * US_PER_SEC;
	conf.idle_timeout_us = 2 * US_PER_SEC;
	world_host("198.18.0.1");
	world_host("198.18.0.2");
	world->conf = conf;
	world->d = delivery_create(c, &conf, &world->ch, 0, 1);
	assert_non_null(world->d);
}

void world_restart(void)
{
	delivery_drain(world->d);
	world_advance_ms(2000);
	/* The core runs no more; the services complete what they have. */
	world->dns_plan = NULL;
	while (serve_channel(&world->writer, serve) + serve_channel(&world->reader, serve) +
		serve_channel(&world->dns, world_dns_serve) + world_dns_fail_held() +
		channel_poll(&world->writer) + channel_poll(&world->reader) +
		channel_poll(&world->dns)) {
	}
	delivery_destroy(&world->d);
	for (size_t i = 0; i < WORLD_SERVERS; i++)
		assert_null(world->servers[i].s);
	/* What had been taken and was not in the store yet. */
	for (uint32_t i = 0; i < world->message_n; i++) {
		struct world_message *m = &world->messages[i];
		for (uint32_t k = 0; k < m->rcpt_count; k++) {
			if (m->rcpts[k].queued)
				m->rcpts[k].excused = m->rcpts[k].copies;
		}
	}
	world->core.poller_count = 0;
	world->d = delivery_create(&world->core, &world->conf, &world->ch, 0, 1);
	assert_non_null(world->d);
}

void world_stop(void)
{
	delivery_drain(world->d);
	world_settle();
	assert_int_equal(delivery_busy(world->d), 0);
	assert_int_equal(channel_in_flight(&world->writer), 0);
	assert_int_equal(channel_in_flight(&world->reader), 0);
	delivery_destroy(&world->d);
	for (size_t i = 0; i < WORLD_SERVERS; i++)
		assert_null(world->servers[i].s);
	channel_fini(&world->writer);
	channel_fini(&world->reader);
	channel_fini(&world->dns);
	hints_fini(&world->ready);
	waker_fini(&world->core.waker);
	waker_fini(&world->server_waker);
	assert_int_equal(chunk_pool_free_count(), chunk_pool_size());
	assert_int_equal(world->tickets, 0);
	free(world);
}

struct world_message *world_message(const char *sender, const char *rcpts)
{
	static const char small[] = "Subject: test\r\n\r\n.leading dot\r\nlast line\r\n";
	struct world_message *m = &world->messages[world->message_n++];
	char text[512], *save = NULL;

	assert_true(world->message_n <= WORLD_MESSAGES);
	*m = (struct world_message){.id = ids_next(&world->core.ids, world->core.now_ms),
		.expire_ms = world->core.now_ms + 3600 * MS_PER_SEC,
		.body = small,
		.body_n = sizeof(small) - 1};
	snprintf(m->sender, sizeof(m->sender), "%s", sender);
	snprintf(text, sizeof(text), "%s", rcpts);
	for (char *t = strtok_r(text, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
		struct world_rcpt *q = &m->rcpts[m->rcpt_count++];
		*q = (struct world_rcpt){.queued = true, .next_ms = world->core.now_ms};
		snprintf(q->address, sizeof(q->address), "%s", t);
	}
	return m;
}

void world_hint(struct world_message *w, bool streamed)
{
	struct message *m = envelope(w, true, NULL);

	if (m && streamed)
		m->streamed = w->body_n;
	if (!m || (!streamed && chain_append(&m->body, bytes_make(w->body, w->body_n)) < 0)) {
		if (m)
			message_unref(m);
		world_hint_id(w->id);
		return;
	}
	const char *end = memmem(w->body, w->body_n, "\r\n\r\n", 4);
	m->header_bytes = (uint32_t)(end + 4 - w->body);
	if (!hints_put(&world->ready, ready_hint_of_message(m), w->id))
		message_unref(m);
}

void world_hint_id(uint64_t id)
{
	hints_put(&world->ready, ready_hint_of_id(id), id);
}

unsigned world_queued(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < world->message_n; i++) {
		for (uint32_t k = 0; k < world->messages[i].rcpt_count; k++)
			n += world->messages[i].rcpts[k].queued;
	}
	return n;
}
