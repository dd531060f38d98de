/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/conn.h"
#include <errno.h>
#include "dataplane/base/codec.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/log.h"
#include "delivery/conn_priv.h"
#include "delivery/delivery_priv.h"
#include "smtp/binding.h"

#define HOST_SHOWN 100 /* octets of its name in what is told of a host */

/* How long a host may be silent when a site without any connection waits for one; chosen.  RFC 5321
 * 4.5.3.2 has minutes, which hosts get as long as there are connections. */
#define STUCK_US       (10 * US_PER_SEC)  /* the site has other connections */
#define STUCK_LAST_US  (60 * US_PER_SEC)  /* it is the only one */
#define STUCK_FINAL_US (120 * US_PER_SEC) /* it may have taken the message already */

static void conn_advance(struct conn *c);

/* ---- what went wrong, in words ---- */

static void end_set(struct conn *c, uint16_t code, const uint8_t status[3], const char *text)
{
	c->end_code = code;
	memcpy(c->end_status, status, sizeof(c->end_status));
	snprintf(c->end_text, sizeof(c->end_text), "%.*s", (int)sizeof(c->end_text) - 1, text);
}

void conn_end_set_connect(struct conn *c, const uint8_t status[3], const char *why)
{
	char ip[IP_TEXT_MAX], text[SMTP_REPLY_TEXT_MAX + 1];

	snprintf(text, sizeof(text), "connect to %.130s[%s]:%u: %s", c->host, ip_format(&c->ip, ip),
		c->site->route.port, why);
	end_set(c, 0, status, text);
}

static void end_set_connect(struct conn *c, const char *why)
{
	static const uint8_t status[] = {4, 4, 1}; /* RFC 3463: no answer from host */

	conn_end_set_connect(c, status, why);
}

/* "host mx.example.org[198.18.0.9] said: 450 4.2.0 text" */
/* "450 4.2.0 ", or "450 " where the peer gives no enhanced codes. */
static void put_code(struct buf *out, const struct smtp_reply_info *r)
{
	dec_u64(out, r->code, 1);
	for (unsigned i = 0; i < 3 && r->enhanced[0]; i++) {
		buf_byte(out, i ? '.' : ' ');
		dec_u64(out, r->enhanced[i], 1);
	}
	buf_byte(out, ' ');
}

/* What a peer said, or what we have to say of it, for logs and reports; cap is large enough. */
static void reply_text(const struct conn *c, const struct smtp_reply_info *r, char *out, size_t cap)
{
	char ip[IP_TEXT_MAX];
	struct buf b;

	buf_init(&b, out, cap - 1);
	buf_str(&b, "host ");
	buf_put(&b, bytes_first(bytes_str(c->host), HOST_SHOWN));
	buf_str(&b, "[");
	buf_str(&b, ip_format(&c->ip, ip));
	buf_str(&b, r->code && r != &c->client.local ? "] said: " : "]: ");
	if (r->code)
		put_code(&b, r);
	buf_put(&b, bytes_make(r->text, r->text_n));
	out[b.n] = '\0';
}

static void reply_status(const struct smtp_reply_info *r, uint8_t status[3])
{
	static const uint8_t connection[] = {4, 4, 2}; /* RFC 3463: bad connection */

	memcpy(status, r->code ? r->enhanced : connection, 3);
}

/* ---- upcalls of the engine ---- */

static void on_ready(void *ctx)
{
	struct conn *c = ctx;

	c->state = CONN_READY;
}

/* It takes mail: known only when all that it said by now has been heard, because what it says
 * behind its readiness may be the end. */
static void conn_opened(struct conn *c)
{
	if (c->state != CONN_READY || c->got_ready)
		return;
	c->got_ready = true;
	relay_opened(c);
}

static void on_rcpt(
	void *ctx, uint32_t i, enum smtp_rcpt_result result, const struct smtp_reply_info *reply)
{
	struct conn *c = ctx;
	char text[2 * SMTP_REPLY_TEXT_MAX];
	struct verdict v = {.outcome = result == SMTP_RCPT_DELIVERED ? ATTEMPT_DELIVERED
				       : result == SMTP_RCPT_FAIL    ? ATTEMPT_FAILED
								     : ATTEMPT_DEFERRED,
		.code = reply->code,
		.reason = text,
		.host = c->host,
		.tls = c->tls,
		.final = c->site->route.hop->transport == HOP_LMTP,
		.notifies = smtp_client_offers(&c->client, SMTP_EXT_DSN)};

	reply_text(c, reply, text, sizeof(text));
	reply_status(reply, v.status);
	report_verdict(c->report, i, &v);
	if (reply->code && reply != &c->client.local)
		relay_proved(c);
}

static void on_message_end(void *ctx)
{
	struct conn *c = ctx;

	c->message_over = true;
}

static void on_end(void *ctx, const struct smtp_reply_info *reply)
{
	struct conn *c = ctx;
	char text[2 * SMTP_REPLY_TEXT_MAX];
	uint8_t status[3];

	c->ended = true;
	reply_text(c, reply, text, sizeof(text));
	reply_status(reply, status);
	end_set(c, reply->code, status, text);
}

static struct smtp_client_rcpt get_rcpt(void *ctx, uint32_t i)
{
	struct conn *c = ctx;

	return report_rcpt(c->report, i);
}

static bool convert(void *ctx, enum body_type to, bool utf8)
{
	return conn_convert_begin(ctx, to, utf8);
}

static struct bytes get_content(void *ctx, size_t want, bool *end_r)
{
	struct conn *c = ctx;

	c->content_asked = true;
	return c->conversion ? conn_convert_next(c, want, end_r)
			     : content_next(&c->content, want, end_r);
}

static size_t get_channel(void *ctx, enum scram_channel kind, uint8_t out[SCRAM_CHANNEL_MAX])
{
	const struct conn *c = ctx;

	return binding_of(&c->stream, kind, out);
}

static const struct smtp_client_ops client_ops = {
	.on_ready = on_ready,
	.on_rcpt = on_rcpt,
	.on_message_end = on_message_end,
	.on_end = on_end,
	.rcpt = get_rcpt,
	.content = get_content,
	.convert = convert,
	.channel = get_channel,
};

/* ---- deadline ---- */

static void conn_arm(struct conn *c)
{
	const struct delivery *d = c->d;
	uint64_t us = c->state == CONN_READY ? d->conf.idle_timeout_us
					     : smtp_client_timeout_us(&c->client);
	/* Octets that complete nothing do not move the deadline. */
	uint64_t progress = c->sent + c->client.replied + (uint64_t)c->client.state * 1000003 +
			    (uint64_t)c->messages * 1000000007;

	if (timer_armed(&c->timer) && progress == c->progress)
		return;
	c->progress = progress;
	c->progress_us = d->core->now_us;
	timer_arm(&c->d->core->wheel, &c->timer, d->core->now_us + us);
}

/* The host does not answer. */
static void conn_expire(struct conn *c, const char *why)
{
	c->expired = true;
	if (c->handshaking)
		conn_tls_failed(c, "timed out");
	smtp_client_disconnected(&c->client, why);
	conn_advance(c);
}

static void on_timer(struct timer *t, uint64_t now_us)
{
	struct conn *c = container_of(t, struct conn, timer);

	(void)now_us;
	if (c->state == CONN_READY)
		conn_leave(c);
	else
		conn_expire(c, "timed out waiting for the peer");
}

/* ---- the way of a connection ---- */

/* Over for good or for this address; the relay says which. */
static void conn_over(struct conn *c)
{
	list_remove(&c->link);
	if (timer_armed(&c->timer))
		timer_cancel(&c->d->core->wheel, &c->timer);
	content_end(&c->content);
	conn_convert_end(c);
	if (c->streamed)
		conn_tls_keep_ticket(c);
	if (c->streamed && c->expired)
		stream_abort(&c->stream);
	else if (c->streamed)
		stream_close(&c->stream);
	c->streamed = false;
	if (c->state == CONN_LEAVING)
		c->d->relay.leaving--;
	c->state = CONN_CLOSED;
	relay_closed(c);
}

/* A connection kept for later may have been dead already, or it is we who end it: nothing was
 * handed over. */
static bool worth_another(const struct conn *c, const struct report *r)
{
	if (!c->ended || r->attempt->retried)
		return false;
	if (!c->ours && (c->content_asked || c->messages < 2))
		return false;
	for (uint32_t i = 0; i < r->count; i++) {
		const struct rcpt_result *res = &r->results[i];
		if (res->outcome != ATTEMPT_DEFERRED || (res->code != 0 && res->code != 421))
			return false;
	}
	return true;
}

static void message_over(struct conn *c)
{
	static const struct verdict none = {
		.outcome = ATTEMPT_DEFERRED, .reason = "the next hop gave no answer"};
	struct report *r = c->report;

	c->message_over = false;
	content_end(&c->content);
	conn_convert_end(c);
	c->report = NULL;
	if (worth_another(c, r))
		report_cancel(r);
	else
		report_finish(r, &none);
}

static struct attempt_domains domains_of(struct conn *c)
{
	return (struct attempt_domains){.set = c->domains,
		.n = &c->domain_n,
		.max = c->tied ? 1 : MIN(c->client.domain_max, (uint32_t)CONN_DOMAINS_MAX)};
}

/* RFC 9422 4.1, 4.3: as many messages, and domains, as this host takes on one connection. */
static bool conn_is_full(struct conn *c)
{
	struct attempt_domains domains = domains_of(c);
	const struct list *ready = &c->site->ready;

	if (c->client.mail_max && c->messages >= c->client.mail_max)
		return true;
	return !list_empty(ready) &&
	       !attempt_may_begin(c->d, list_entry(ready->next, struct attempt, link), &domains);
}

static void conn_quit(struct conn *c)
{
	list_remove(&c->link);
	c->state = CONN_LEAVING;
	c->d->relay.leaving++;
	smtp_client_quit(&c->client);
}

/* Begin what is ready at the site.  False: nothing is, or it cannot begin now. */
static bool conn_begin(struct conn *c)
{
	struct delivery *d = c->d;

	if (d->draining || conn_is_full(c) || relay_takes_back(c)) {
		conn_quit(c);
		return true; /* to say it */
	}
	if (content_busy(&c->content))
		return false; /* a read for the last message; on_more comes */
	struct attempt *a = report_available(d) ? attempt_take(d, c->site) : NULL;
	if (!a) {
		if (!list_empty(&c->site->ready))
			relay_kick(d, c->site);
		return false;
	}
	const struct message *m = a->job->message;
	list_remove(&c->link);
	c->state = CONN_BUSY;
	c->content_asked = false;
	c->fault = 0;
	if (c->messages++ > 0)
		counter_inc(CTR_DELIVERY_CONN_REUSED);
	struct attempt_domains domains = domains_of(c);
	attempt_trim(d, a, c->client.rcpt_max);
	attempt_trim_domains(d, a, &domains);
	c->report = report_begin(d, a);
	content_begin(&c->content, a->job);
	smtp_client_send(&c->client, &(struct smtp_client_message){
					     .sender = message_sender(m),
					     .rcpt_count = c->report->count,
					     .size = content_size(a->job),
					     .body = m->body_type,
					     .smtputf8 = m->smtputf8,
					     .requiretls = m->requiretls,
					     .priority = m->priority,
					     .ret = m->ret,
					     .envid = message_envid(m),
				     });
	return true;
}

static void conn_flush(struct conn *c)
{
	struct buf b;

	while (c->streamed && c->established) {
		if (c->out_at < c->out_n) {
			size_t n = stream_send(
				&c->stream, bytes_make(c->out + c->out_at, c->out_n - c->out_at));
			c->out_at += (uint32_t)n;
			c->sent += n;
			if (c->out_at < c->out_n)
				return;
		}
		buf_init(&b, c->out, sizeof(c->out));
		smtp_client_output(&c->client, &b);
		c->out_at = 0;
		c->out_n = (uint32_t)b.n;
		if (b.n == 0)
			return;
	}
}

static void conn_advance(struct conn *c)
{
	do {
		conn_flush(c);
		/* Found out while it was asked for content: not to be said from that upcall. */
		if (c->state == CONN_BUSY && c->content.failed && !c->ended)
			smtp_client_content_failed(&c->client);
		if (c->state == CONN_BUSY && c->fault && !c->ended)
			conn_convert_refuse(c);
		if (c->message_over)
			message_over(c);
		if (c->ended) {
			conn_over(c);
			return;
		}
		conn_opened(c);
	} while (c->state == CONN_READY && conn_begin(c));
	if (c->state == CONN_READY) {
		list_remove(&c->link);
		list_push_head(&c->site->idle, &c->link);
	} else if (smtp_client_works(&c->client)) {
		list_remove(&c->link);
		list_push_tail(&c->d->relay.working, &c->link);
	}
	conn_arm(c);
}

static void on_more(struct content *content)
{
	struct conn *c = container_of(content, struct conn, content);

	if (c->state == CONN_READY)
		relay_kick(c->d, c->site);
	if (c->state != CONN_BUSY)
		return;
	smtp_client_content_ready(&c->client);
	conn_advance(c);
}

/* ---- upcalls of the stream ---- */

static void on_open(struct stream *s)
{
	struct conn *c = container_of(s, struct conn, stream);
	struct smtp_client_demand demand = {0};

	c->established = true;
	smtp_client_init(&c->client, &client_ops, c, c->d->conf.hostname);
	conn_tls_demand(c, &demand);
	smtp_client_demand(&c->client, &demand);
	if (demand.secured)
		conn_tls_begin(c);
	conn_advance(c);
}

static void on_secure(struct stream *s)
{
	struct conn *c = container_of(s, struct conn, stream);

	if (c->state == CONN_CLOSED)
		return;
	conn_tls_secured(c);
	conn_advance(c);
}

static size_t on_data(struct stream *s, struct bytes data)
{
	struct conn *c = container_of(s, struct conn, stream);

	if (c->state != CONN_CLOSED) {
		smtp_client_input(&c->client, data);
		if (smtp_client_state(&c->client) == SMTP_CLIENT_HANDSHAKE)
			conn_tls_begin(c);
		conn_advance(c);
	}
	return data.n;
}

static void on_eof(struct stream *s)
{
	struct conn *c = container_of(s, struct conn, stream);

	if (c->state == CONN_CLOSED)
		return;
	smtp_client_disconnected(&c->client, "the peer closed the connection");
	conn_advance(c);
}

static void on_writable(struct stream *s)
{
	struct conn *c = container_of(s, struct conn, stream);

	if (c->state != CONN_CLOSED)
		conn_advance(c);
}

/* The host may have the whole message: whether it took it is not known. */
static bool conn_may_have_handed_over(const struct conn *c)
{
	return c->state == CONN_BUSY && smtp_client_state(&c->client) == SMTP_CLIENT_FINAL &&
	       c->out_at == c->out_n;
}

static void on_close(struct stream *s, enum stream_reason reason)
{
	struct conn *c = container_of(s, struct conn, stream);

	if (c->state == CONN_CLOSED)
		return;
	c->streamed = false;
	c->ours = reason == STREAM_NO_MEMORY && !conn_may_have_handed_over(c);
	if (c->established) {
		if (c->handshaking)
			conn_tls_failed(c, reason == STREAM_TLS_FAILED
						   ? tls_error(c->d->conf.tls)
						   : stream_reason_text(reason));
		smtp_client_disconnected(&c->client, stream_reason_text(reason));
		conn_advance(c);
		return;
	}
	end_set_connect(c, stream_reason_text(reason));
	conn_over(c);
}

static void describe(const struct stream *s, char *out, size_t cap)
{
	static const char *const states[] = {
		[CONN_CONNECTING] = "connecting",
		[CONN_READY] = "idle",
		[CONN_BUSY] = "sending",
		[CONN_LEAVING] = "QUIT",
		[CONN_CLOSED] = "closed",
	};
	const struct conn *c = container_of(s, const struct conn, stream);
	struct buf b;

	buf_init(&b, out, cap);
	buf_printf(&b, "delivery to %.48s: %s", c->host,
		c->state < ARRAY_LEN(states) && states[c->state] ? states[c->state] : "?");
	if (c->report)
		buf_printf(&b, " %016lx", c->report->job->id);
	buf_printf(&b, ", %u messages", c->messages);
	out[MIN(b.n, cap - 1)] = '\0';
}

static const struct stream_ops stream_ops = {
	.describe = describe,
	.on_open = on_open,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_writable = on_writable,
	.on_close = on_close,
	.on_secure = on_secure,
};

/* ---- calls ---- */

void conn_init(struct conn *c, struct delivery *d)
{
	*c = (struct conn){.d = d};
	list_init(&c->link);
	timer_init(&c->timer, on_timer);
	content_init(&c->content, d, on_more);
}

static void conn_reset(struct conn *c, int address)
{
	const struct route *r = &c->site->route;

	c->stream = (struct stream){.ops = &stream_ops};
	c->state = CONN_CONNECTING;
	c->established = c->got_ready = c->message_over = c->ended = c->expired = false;
	c->ours = false;
	c->messages = c->out_n = c->out_at = 0;
	c->sent = c->progress = 0;
	c->address = (uint8_t)address;
	c->tried |= 1u << address;
	c->tries++;
	c->ip = r->addresses[address].ip;
	c->content_asked = false;
	snprintf(c->host, sizeof(c->host), "%s", route_host_name(r, r->addresses[address].host));
	conn_tls_reset(c);
	c->in_clear = false;
}

static const char *connect_error_text(int err)
{
	switch (err) {
	case -EADDRNOTAVAIL:
		return "no local port is free";
	case -ENETUNREACH:
		return stream_reason_text(STREAM_UNREACHABLE);
	default:
		return stream_reason_text(STREAM_NO_MEMORY);
	}
}

static bool conn_open(struct conn *c)
{
	struct delivery *d = c->d;
	struct endpoint remote = {.ip = c->ip, .port = c->site->route.port};

	if (!conn_tls_settle(c))
		return false;
	c->state = CONN_CONNECTING;
	int err = stream_connect(d->core->stack, &c->stream, &remote, d->conf.connect_timeout_us);
	if (err) {
		c->ours = err == -ENOMEM;
		end_set_connect(c, connect_error_text(err));
		return false;
	}
	counter_inc(CTR_DELIVERY_CONNECTIONS);
	c->streamed = true;
	c->progress_us = d->core->now_us;
	return true;
}

/* The address to try: the same one, when only its TLS has failed. */
static int conn_choose(struct conn *c)
{
	const struct route *r = &c->site->route;

	if (c->in_clear && c->address < r->address_count &&
		ip_eq(&r->addresses[c->address].ip, &c->ip))
		return c->address;
	c->in_clear = false;
	if (c->tries >= CONN_TRIES_MAX)
		return -1;
	return dest_site_next_address(c->site, c->tried, c->d->core->now_us);
}

bool conn_connect(struct conn *c)
{
	for (;;) {
		int address = conn_choose(c);
		if (address < 0)
			return false;
		conn_reset(c, address);
		if (conn_tls_wants_records(c) && !dane_begin(c)) {
			c->state = CONN_LOOKING;
			return true;
		}
		if (conn_open(c))
			return true;
		if (c->ours)
			return false;
	}
}

void conn_dane_known(struct conn *c)
{
	if (c->state == CONN_LOOKING && !conn_open(c))
		conn_over(c);
}

void conn_go_on(struct conn *c)
{
	list_remove(&c->link);
	conn_advance(c);
}

void conn_work(struct conn *c)
{
	BUG_ON(c->state != CONN_READY);
	conn_advance(c);
}

void conn_leave(struct conn *c)
{
	if (c->state != CONN_READY)
		return;
	conn_quit(c);
	conn_advance(c);
}

static bool conn_is_stuck(const struct conn *c, uint64_t after_us)
{
	uint64_t quiet_us = c->d->core->now_us - c->progress_us;

	if (c->state != CONN_CONNECTING && c->state != CONN_BUSY)
		return false;
	return quiet_us >= (conn_may_have_handed_over(c) ? STUCK_FINAL_US : after_us);
}

bool conn_give_way(struct conn *c)
{
	static const char why[] = "no answer, and mail of others waits for a connection";

	if (c->state == CONN_READY) {
		conn_leave(c);
		return true;
	}
	bool others = c->site->connections > 1;
	if (!conn_is_stuck(c, others ? STUCK_US : STUCK_LAST_US))
		return false;
	c->ours = others && !conn_may_have_handed_over(c);
	if (c->established) {
		conn_expire(c, why);
		return true;
	}
	c->expired = true;
	end_set_connect(c, why);
	conn_over(c);
	return true;
}

bool conn_give_up(struct conn *c)
{
	if (c->state != CONN_BUSY || !conn_is_stuck(c, STUCK_LAST_US))
		return false;
	conn_expire(c, "no answer, and mail of others waits for memory");
	return true;
}

void conn_abort(struct conn *c)
{
	if (timer_armed(&c->timer))
		timer_cancel(&c->d->core->wheel, &c->timer);
	content_end(&c->content);
	conn_convert_end(c);
	if (c->streamed)
		stream_abort(&c->stream);
	c->streamed = false;
	c->state = CONN_FREE;
}
