/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/rt/chunk.h"
#include <errno.h>
#include <rte_mempool.h>
#include "dataplane/base/rt/pool.h"

static struct rte_mempool *pool;

int chunk_pool_init(uint32_t chunks, int socket)
{
	pool = pool_create_shared("chunks", chunks, sizeof(struct chunk), socket);
	return pool ? 0 : -ENOMEM;
}

void chunk_pool_fini(void)
{
	rte_mempool_free(pool);
	pool = NULL;
}

uint32_t chunk_pool_size(void)
{
	return pool->size;
}

uint32_t chunk_pool_free_count(void)
{
	return rte_mempool_avail_count(pool);
}

unsigned chunk_pool_used_percent(void)
{
	return 100 - (unsigned)(100ull * chunk_pool_free_count() / chunk_pool_size());
}

struct chunk *chunk_get(void)
{
	void *obj;

	if (rte_mempool_get(pool, &obj) < 0)
		return NULL;
	struct chunk *c = obj;
	c->next = NULL;
	c->n = 0;
	return c;
}

void chunk_put(struct chunk *c)
{
	rte_mempool_put(pool, c);
}

void chain_push(struct chain *c, struct chunk *chunk)
{
	chunk->next = NULL;
	if (c->tail)
		c->tail->next = chunk;
	else
		c->head = chunk;
	c->tail = chunk;
	c->bytes += chunk->n;
}

/* Chunks that data needs beyond the room in the tail. */
static int reserve(struct chain *fresh, size_t n)
{
	for (size_t got = 0; got < n; got += CHUNK_DATA) {
		struct chunk *chunk = chunk_get();
		if (!chunk) {
			chain_free(fresh);
			return -ENOBUFS;
		}
		chain_push(fresh, chunk);
	}
	return 0;
}

int chain_append(struct chain *c, struct bytes data)
{
	struct chain fresh = {0};
	size_t room = c->tail ? CHUNK_DATA - c->tail->n : 0;
	size_t first = MIN(room, data.n);

	if (data.n > room && reserve(&fresh, data.n - room) < 0)
		return -ENOBUFS;
	if (first) {
		memcpy(c->tail->data + c->tail->n, data.p, first);
		c->tail->n += (uint32_t)first;
		c->bytes += first;
		data = bytes_skip(data, first);
	}
	while (data.n) {
		struct chunk *chunk = chain_pop(&fresh);
		size_t n = MIN(data.n, (size_t)CHUNK_DATA);
		memcpy(chunk->data, data.p, n);
		chunk->n = (uint32_t)n;
		chain_push(c, chunk);
		data = bytes_skip(data, n);
	}
	return 0;
}

void chain_join(struct chain *dst, struct chain *src)
{
	if (!src->head)
		return;
	if (dst->tail)
		dst->tail->next = src->head;
	else
		dst->head = src->head;
	dst->tail = src->tail;
	dst->bytes += src->bytes;
	*src = (struct chain){0};
}

struct chunk *chain_pop(struct chain *c)
{
	struct chunk *chunk = c->head;

	if (!chunk)
		return NULL;
	c->head = chunk->next;
	if (!c->head)
		c->tail = NULL;
	c->bytes -= chunk->n;
	chunk->next = NULL;
	return chunk;
}

void chain_free(struct chain *c)
{
	struct chunk *chunk;

	while ((chunk = chain_pop(c)))
		chunk_put(chunk);
	c->bytes = 0;
}

size_t chain_read(const struct chain *c, uint64_t offset, void *out, size_t n)
{
	size_t done = 0;

	for (const struct chunk *k = c->head; k && done < n; k = k->next) {
		if (offset >= k->n) {
			offset -= k->n;
			continue;
		}
		size_t take = MIN(n - done, (size_t)(k->n - offset));
		memcpy((uint8_t *)out + done, k->data + offset, take);
		done += take;
		offset = 0;
	}
	return done;
}
