/* SPDX-License-Identifier: BSD-3-Clause
 * Messages: heads from a pool that every thread may free into, everything of a peer's size in
 * chunks.  Building: the core that owns the message.  Reading: whoever holds a reference. */
#include "smtp/envelope.h"
#include <errno.h>
#include <rte_mempool.h>
#include "dataplane/base/rt/pool.h"

static struct rte_mempool *pool;

int message_pool_init(uint32_t messages, int socket)
{
	pool = pool_create_shared("messages", messages, sizeof(struct message), socket);
	return pool ? 0 : -ENOMEM;
}

void message_pool_fini(void)
{
	rte_mempool_free(pool);
	pool = NULL;
}

struct message *message_new(void)
{
	void *obj;

	if (rte_mempool_get(pool, &obj) < 0)
		return NULL;
	struct message *m = obj;
	memset(m, 0, sizeof(*m));
	atomic_init(&m->refs, 1);
	return m;
}

void message_unref(struct message *m)
{
	if (atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	chain_free(&m->rcpts);
	chain_free(&m->text);
	chain_free(&m->prefix);
	chain_free(&m->body);
	rte_mempool_put(pool, m);
}

/* The chain's tail with room for n octets, a fresh chunk if need be. */
static struct chunk *tail_with_room(struct chain *c, size_t n)
{
	if (c->tail && CHUNK_DATA - c->tail->n >= n)
		return c->tail;
	struct chunk *k = chunk_get();
	if (k)
		chain_push(c, k);
	return k;
}

/* Append to the message's texts; NULL: no memory. */
static const uint8_t *keep_text(struct message *m, struct bytes b)
{
	struct chunk *k = tail_with_room(&m->text, b.n);

	if (!k)
		return NULL;
	uint8_t *at = k->data + k->n;
	memcpy(at, b.p, b.n);
	k->n += (uint32_t)b.n;
	m->text.bytes += b.n;
	return at;
}

int message_set_sender(struct message *m, struct bytes path)
{
	BUG_ON(path.n > ADDRESS_MAX);
	m->sender = path.n ? keep_text(m, path) : NULL;
	m->sender_n = m->sender ? (uint32_t)path.n : 0;
	return path.n && !m->sender ? -ENOBUFS : 0;
}

int message_set_envid(struct message *m, struct bytes envid)
{
	BUG_ON(envid.n > DSN_ENVID_MAX);
	m->envid = envid.n ? keep_text(m, envid) : NULL;
	m->envid_n = m->envid ? (uint16_t)envid.n : 0;
	return envid.n && !m->envid ? -ENOBUFS : 0;
}

/* A text offset counts every chunk before the last as full, so that it names chunk and place even
 * though no address straddles two chunks. */
static uint32_t chunks_before_tail(const struct chain *c)
{
	uint32_t n = 0;

	for (const struct chunk *k = c->head; k != c->tail; k = k->next)
		n++;
	return n;
}

int message_add_rcpt(
	struct message *m, struct bytes address, enum rcpt_route route, uint32_t account)
{
	return message_add_rcpt_dsn(m, address, route, account, &(struct dsn_rcpt){0});
}

static void put_text(struct message *m, struct chunk *text, struct bytes b)
{
	if (b.n)
		memcpy(text->data + text->n, b.p, b.n);
	text->n += (uint32_t)b.n;
	m->text.bytes += b.n;
}

int message_add_rcpt_dsn(struct message *m, struct bytes address, enum rcpt_route route,
	uint32_t account, const struct dsn_rcpt *dsn)
{
	BUG_ON(address.n > ADDRESS_MAX || dsn->orcpt.n > DSN_ORCPT_MAX);
	if (m->rcpt_count == MESSAGE_RCPT_MAX)
		return -ENOSPC;
	struct chunk *text = tail_with_room(&m->text, address.n + dsn->orcpt.n);
	struct chunk *records = tail_with_room(&m->rcpts, sizeof(struct rcpt));
	if (!text || !records)
		return -ENOBUFS;
	const uint8_t *at = memrchr(address.p, '@', address.n);
	struct rcpt r = {
		.text_offset = chunks_before_tail(&m->text) * CHUNK_DATA + text->n,
		.n = (uint16_t)address.n,
		.domain_at = at ? (uint16_t)(at + 1 - address.p) : (uint16_t)address.n,
		.route = (uint8_t)route,
		.notify = dsn->notify,
		.orcpt_n = (uint16_t)dsn->orcpt.n,
		.account = account,
	};
	put_text(m, text, address);
	put_text(m, text, dsn->orcpt);
	memcpy(records->data + records->n, &r, sizeof(r));
	records->n += sizeof(r);
	m->rcpts.bytes += sizeof(r);
	m->rcpt_count++;
	return 0;
}

/* A field that is relayed goes behind those that only mailboxes see. */
static int prepend_at(struct message *m, struct bytes text, uint32_t at)
{
	static_assert(MESSAGE_PREFIX_MAX <= CHUNK_DATA, "the prefix lies in one chunk");
	if (m->prefix.bytes + text.n > MESSAGE_PREFIX_MAX)
		return -ENOBUFS;
	struct chunk *k = tail_with_room(&m->prefix, text.n);
	if (!k)
		return -ENOBUFS;
	if (k->n > at)
		memmove(k->data + at + text.n, k->data + at, k->n - at);
	if (text.n)
		memcpy(k->data + at, text.p, text.n);
	k->n += (uint32_t)text.n;
	m->prefix.bytes += text.n;
	return 0;
}

int message_prepend(struct message *m, struct bytes text, bool local)
{
	int err = prepend_at(m, text, local ? 0 : m->prefix_local);

	if (err == 0 && local)
		m->prefix_local += (uint32_t)text.n;
	return err;
}

int message_prepend_trace(struct message *m, struct bytes text, uint32_t local_n)
{
	BUG_ON(m->prefix_local || local_n > text.n);
	int err = prepend_at(m, text, 0);

	if (err == 0)
		m->prefix_local = local_n;
	return err;
}

struct bytes message_sender(const struct message *m)
{
	return bytes_make(m->sender, m->sender_n);
}

struct bytes message_envid(const struct message *m)
{
	return bytes_make(m->envid, m->envid_n);
}

static const struct chunk *chunk_at(const struct chain *c, uint32_t i)
{
	const struct chunk *k = c->head;

	while (i-- && k)
		k = k->next;
	return k;
}

const struct rcpt *message_rcpt(const struct message *m, uint32_t i)
{
	BUG_ON(i >= m->rcpt_count);
	const struct chunk *k = chunk_at(&m->rcpts, (uint32_t)(i / RCPT_PER_CHUNK));
	return (const struct rcpt *)(const void *)(k->data +
						   i % RCPT_PER_CHUNK * sizeof(struct rcpt));
}

struct bytes message_rcpt_address(const struct message *m, const struct rcpt *r)
{
	const struct chunk *k = chunk_at(&m->text, r->text_offset / CHUNK_DATA);

	return bytes_make(k->data + r->text_offset % CHUNK_DATA, r->n);
}

struct bytes message_rcpt_orcpt(const struct message *m, const struct rcpt *r)
{
	struct bytes address = message_rcpt_address(m, r);

	return bytes_make(address.p + address.n, r->orcpt_n);
}

struct bytes message_rcpt_domain(const struct message *m, const struct rcpt *r)
{
	return bytes_skip(message_rcpt_address(m, r), r->domain_at);
}
