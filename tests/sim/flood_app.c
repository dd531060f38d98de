/* SPDX-License-Identifier: BSD-3-Clause
 * Who talks beside a flood: a server that sends back what it receives, the flow, visitors. */
#include "tests/sim/flood.h"

static uint8_t content(uint64_t i)
{
	return (uint8_t)(i * 31 ^ i >> 8);
}

static void put(struct flood_app *a, uint64_t until)
{
	uint8_t chunk[4096];

	while (a->open && a->sent < until) {
		size_t n = MIN(sizeof(chunk), until - a->sent);
		for (size_t i = 0; i < n; i++)
			chunk[i] = content(a->sent + i);
		size_t took = stream_send(&a->s, bytes_make(chunk, n));
		a->sent += took;
		if (took < n)
			return;
	}
}

static void take(struct flood_app *a, struct bytes data)
{
	for (size_t i = 0; i < data.n; i++) {
		if (data.p[i] != content(a->received + i))
			a->flood->figures.wrong = "a wrong octet arrived";
	}
	a->received += data.n;
}

void flood_app_open(struct flood_app *a, const struct stream_ops *ops)
{
	struct host *client = &a->flood->host[1];
	const struct host *server = &a->flood->host[0];
	struct endpoint to = {a->flood->conf.v6 ? host_ip6(server) : host_ip(server), FLOOD_PORT};

	a->used = true;
	a->s.ops = ops;
	a->began_us = a->flood->now_us;
	if (stream_connect(client->stack, &a->s, &to, 600 * US_PER_SEC) < 0)
		a->flood->figures.wrong = "a connection could not be opened";
}

/* ---- the server ---- */

static size_t echo_on_data(struct stream *s, struct bytes data)
{
	return stream_send(s, data);
}

static void echo_on_writable(struct stream *s)
{
	stream_resume(s);
}

static void echo_on_eof(struct stream *s)
{
	container_of(s, struct flood_app, s)->used = false;
	stream_close(s);
}

static void echo_on_close(struct stream *s, enum stream_reason reason)
{
	(void)reason;
	container_of(s, struct flood_app, s)->used = false;
}

static const struct stream_ops echo_ops = {
	.on_data = echo_on_data,
	.on_writable = echo_on_writable,
	.on_eof = echo_on_eof,
	.on_close = echo_on_close,
};

struct stream *flood_app_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	struct flood *f = l->ctx;

	(void)peer;
	(void)local;
	for (unsigned i = 0; i < ARRAY_LEN(f->echo); i++) {
		struct flood_app *a = &f->echo[i];
		if (a->used)
			continue;
		a->used = true;
		a->s.ops = &echo_ops;
		return &a->s;
	}
	return NULL;
}

/* ---- the flow ---- */

static void flow_put(struct flood *f)
{
	if (f->conf.message_us)
		put(&f->flow, f->due * FLOOD_MESSAGE);
	else if (f->now_us < f->end_us)
		put(&f->flow, UINT64_MAX);
}

void flood_app_message(struct flood *f)
{
	if (f->due == FLOOD_MESSAGES_MAX) {
		f->figures.wrong = "too many messages";
		return;
	}
	f->due_us[f->due++] = f->now_us;
	flow_put(f);
}

static void flow_on_open(struct stream *s)
{
	container_of(s, struct flood_app, s)->open = true;
}

static void flow_on_writable(struct stream *s)
{
	flow_put(container_of(s, struct flood_app, s)->flood);
}

static size_t flow_on_data(struct stream *s, struct bytes data)
{
	struct flood_app *a = container_of(s, struct flood_app, s);
	struct flood *f = a->flood;

	take(a, data);
	if (f->now_us >= f->counted_from_us && f->now_us < f->end_us)
		f->counted += data.n;
	for (; f->done < f->due && a->received >= (f->done + 1) * FLOOD_MESSAGE; f->done++)
		f->round_trip_us[f->done] = (uint32_t)(f->now_us - f->due_us[f->done]);
	return data.n;
}

static void flow_on_close(struct stream *s, enum stream_reason reason)
{
	struct flood_app *a = container_of(s, struct flood_app, s);

	(void)reason;
	a->open = false;
	a->flood->figures.wrong = "the flow was reset or timed out";
}

const struct stream_ops flood_flow_ops = {
	.on_open = flow_on_open,
	.on_data = flow_on_data,
	.on_writable = flow_on_writable,
	.on_close = flow_on_close,
};

/* ---- visitors ---- */

static void visitor_on_open(struct stream *s)
{
	struct flood_app *a = container_of(s, struct flood_app, s);

	a->open = true;
	put(a, FLOOD_MESSAGE);
}

static void visitor_on_writable(struct stream *s)
{
	put(container_of(s, struct flood_app, s), FLOOD_MESSAGE);
}

static size_t visitor_on_data(struct stream *s, struct bytes data)
{
	struct flood_app *a = container_of(s, struct flood_app, s);
	struct flood *f = a->flood;

	take(a, data);
	if (a->received == FLOOD_MESSAGE) {
		a->open = false;
		f->figures.served += f->now_us < f->end_us;
		f->figures.visit_max_us =
			MAX(f->figures.visit_max_us, (uint32_t)(f->now_us - a->began_us));
		stream_close(s);
	}
	return data.n;
}

static void visitor_on_close(struct stream *s, enum stream_reason reason)
{
	(void)reason;
	container_of(s, struct flood_app, s)->open = false; /* and not served */
}

const struct stream_ops flood_visitor_ops = {
	.on_open = visitor_on_open,
	.on_data = visitor_on_data,
	.on_writable = visitor_on_writable,
	.on_close = visitor_on_close,
};
