/* SPDX-License-Identifier: BSD-3-Clause
 * Rings and pools without EAL, which would open files of its own and start threads: rte_ring_init
 * on plain memory, and a mempool whose objects come from malloc and go to free().  Linked in the
 * place of what needs EAL by --wrap. */
#include <rte_mempool.h>
#include <rte_ring.h>
#include <stdlib.h>

struct rte_ring *__wrap_rte_ring_create(
	const char *name, unsigned count, int socket, unsigned flags);
void __wrap_rte_ring_free(struct rte_ring *r);
struct rte_mempool *__wrap_pool_create_shared(
	const char *name, uint32_t n, uint32_t octets, int socket);

struct rte_ring *__wrap_rte_ring_create(
	const char *name, unsigned count, int socket, unsigned flags)
{
	ssize_t n = rte_ring_get_memsize(rte_align32pow2(count + 1));
	struct rte_ring *r = n > 0 ? aligned_alloc(RTE_CACHE_LINE_SIZE,
					     RTE_ALIGN_CEIL((size_t)n, RTE_CACHE_LINE_SIZE))
				   : NULL;

	(void)socket;
	if (r && rte_ring_init(r, name, count, flags) < 0) {
		free(r);
		r = NULL;
	}
	return r;
}

void __wrap_rte_ring_free(struct rte_ring *r)
{
	free(r);
}

static int heap_alloc(struct rte_mempool *mp)
{
	(void)mp;
	return 0;
}

static void heap_free(struct rte_mempool *mp)
{
	(void)mp;
}

static int heap_put(struct rte_mempool *mp, void *const *objects, unsigned n)
{
	(void)mp;
	for (unsigned i = 0; i < n; i++)
		free(objects[i]);
	return 0;
}

static int heap_take(struct rte_mempool *mp, void **objects, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		objects[i] = malloc(mp->elt_size);
		if (!objects[i])
			abort();
	}
	return 0;
}

static unsigned heap_count(const struct rte_mempool *mp)
{
	return mp->size;
}

static struct rte_mempool_ops heap_ops = {.name = "heap",
	.alloc = heap_alloc,
	.free = heap_free,
	.enqueue = heap_put,
	.dequeue = heap_take,
	.get_count = heap_count};
RTE_MEMPOOL_REGISTER_OPS(heap_ops)

struct rte_mempool *__wrap_pool_create_shared(
	const char *name, uint32_t n, uint32_t octets, int socket)
{
	struct rte_mempool *mp = aligned_alloc(
		RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(sizeof(*mp), (size_t)RTE_CACHE_LINE_SIZE));

	(void)socket;
	if (!mp)
		return NULL;
	memset(mp, 0, sizeof(*mp));
	snprintf(mp->name, sizeof(mp->name), "%s", name);
	mp->size = n;
	mp->elt_size = octets;
	return rte_mempool_set_ops_byname(mp, "heap", NULL) < 0 ? NULL : mp;
}
