/* SPDX-License-Identifier: BSD-3-Clause
 * Body memory: content goes from the received octets into chunks, copied once.  What has no room
 * stays in the TCP window. */
#include "smtp/server_priv.h"

#define ROOM_MAX                                                                                   \
	(64u * 1024) /* octets taken at a time, so that a body grows little over its limit */

void body_charge(struct smtp_conn *c, int32_t chunks)
{
	c->charged += (uint32_t)chunks;
	c->server->peer_chunks[c->bucket] += (uint32_t)chunks;
	c->server->held += (uint32_t)chunks;
	if (chunks > 0)
		relief_needed(c->server);
}

void body_free_spare(struct smtp_conn *c)
{
	if (!c->spare_n)
		return;
	chain_free(&c->spare);
	body_charge(c, -(int32_t)c->spare_n);
	c->spare_n = 0;
}

/* Octets for which there are chunks. */
static size_t room_now(const struct smtp_conn *c)
{
	const struct chunk *tail = c->message->body.tail;

	return (tail ? CHUNK_DATA - tail->n : 0) + (size_t)c->spare_n * CHUNK_DATA;
}

static bool take_chunk(struct smtp_conn *c)
{
	if (!body_within_share(c))
		return false;
	struct chunk *k = chunk_get();
	if (!k)
		return false;
	chain_push(&c->spare, k);
	c->spare_n++;
	body_charge(c, 1);
	return true;
}

/* No memory: what can go to the writer goes, so that sessions that all wait cannot wait for each
 * other for ever. */
static size_t out_of_memory(struct smtp_conn *c)
{
	const struct chunk *head = c->message->body.head;

	if (head && head->n == CHUNK_DATA && !handoff_parts(c))
		return 0;
	if (c->wait == WAIT_NONE)
		server_wait(c, WAIT_MEMORY);
	return 0;
}

size_t body_room(void *ctx, size_t want)
{
	struct smtp_conn *c = ctx;

	if (c->part_status != HANDOFF_OK)
		return want; /* refused at its end; body_content drops it */
	if (c->message->body.bytes >= STREAM_ABOVE && !handoff_parts(c))
		return 0;
	want = MIN(want, (size_t)ROOM_MAX);
	/* More than wanted: the decoder and the filter of headers may have held octets back. */
	size_t need = want + SMTP_ROOM_SPARE;
	if (c->conversion)
		need = convert_room(need);
	while (room_now(c) < need && take_chunk(c))
		;
	size_t room = c->conversion ? convert_want(room_now(c)) : room_now(c);
	if (room <= SMTP_ROOM_SPARE)
		return out_of_memory(c);
	return MIN(want, room - SMTP_ROOM_SPARE);
}

/* The chunk to fill; NULL: there is none. */
static struct chunk *fill_chunk(struct smtp_conn *c)
{
	struct chain *body = &c->message->body;

	if (!body->tail || body->tail->n == CHUNK_DATA) {
		if (!c->spare_n)
			return NULL;
		chain_push(body, chain_pop(&c->spare));
		c->spare_n--;
	}
	return body->tail;
}

bool body_append(struct smtp_conn *c, struct bytes run)
{
	while (run.n) {
		struct chunk *k = fill_chunk(c);
		if (!k)
			return false;
		size_t n = MIN(run.n, (size_t)(CHUNK_DATA - k->n));
		memcpy(k->data + k->n, run.p, n);
		k->n += (uint32_t)n;
		c->message->body.bytes += n;
		run = bytes_skip(run, n);
	}
	return true;
}

void body_content(void *ctx, struct bytes run)
{
	struct smtp_conn *c = ctx;

	if (c->part_status != HANDOFF_OK)
		return;
	if (c->conversion)
		convert_content(c, run);
	else
		BUG_ON(!body_append(c, run)); /* body_room has counted */
}

void *body_line_get(void *ctx)
{
	struct chunk *k = chunk_get();

	if (!k)
		server_wait(ctx, WAIT_MEMORY);
	return k ? k->data : NULL;
}

void body_line_put(void *ctx, void *line)
{
	(void)ctx;
	chunk_put(container_of(line, struct chunk, data));
}
