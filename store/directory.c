/* SPDX-License-Identifier: BSD-3-Clause
 * Open addressing over 8-octet slots: the upper half of a slot is the upper half of the hash, the
 * lower half names an entry in the arena.  A slot is written once, after its entry. */
#include "store/directory.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "dataplane/base/siphash.h"

#define ARENA_BLOCK  (1u << 20)
#define ARENA_BLOCKS 4096 /* 4 GiB of addresses */
#define ENTRY_ALIGN  8
#define SLOTS_MIN    1024
#define WRITERS_MAX  16 /* STORE_SHARDS_MAX */
#define LOAD_PERCENT 70

struct entry {
	_Atomic uint64_t word; /* account, shard, state: 32, 16, 16 bits from above */
	uint16_t n;
	char address[];
};

struct table {
	struct table *older;
	uint64_t mask;
	_Atomic uint64_t slot[];
};

struct directory_table {
	struct directory base;
	struct siphash_key key;
	_Atomic(struct table *) table;
	_Atomic(uint8_t *) block[ARENA_BLOCKS];
	uint32_t block_count, block_used;
	uint8_t *spare[WRITERS_MAX]; /* blocks for directory_reserve: one per changing thread */
	unsigned writers;
	pthread_mutex_t change;
	uint64_t count, bytes;
	char **domains;
	uint32_t domain_count;
	char extension;
};

size_t directory_fold(struct bytes address, char out[ADDRESS_MAX])
{
	if (address.n > ADDRESS_MAX)
		return 0;
	for (size_t i = 0; i < address.n; i++)
		out[i] = (char)ascii_lower(address.p[i]);
	return address.n;
}

/* Entry references count from 1 in units of ENTRY_ALIGN, so that 0 is an empty slot. */
static struct entry *entry_at(const struct directory_table *d, uint32_t ref)
{
	uint64_t at = (uint64_t)(ref - 1) * ENTRY_ALIGN;
	uint8_t *block = atomic_load_explicit(&d->block[at / ARENA_BLOCK], memory_order_acquire);

	return (struct entry *)(void *)(block + at % ARENA_BLOCK);
}

static uint64_t word_make(uint32_t account, uint16_t shard, enum directory_state state)
{
	return (uint64_t)account << 32 | (uint64_t)shard << 16 | (uint64_t)state;
}

static uint64_t slot_first(uint64_t hash)
{
	return hash & 0xffffffffu;
}

static struct entry *find(const struct directory_table *d, const char *address, size_t n)
{
	const struct table *t = atomic_load_explicit(&d->table, memory_order_acquire);
	uint64_t hash = siphash13(&d->key, address, n);

	for (uint64_t i = slot_first(hash);; i++) {
		uint64_t slot = atomic_load_explicit(&t->slot[i & t->mask], memory_order_acquire);
		if (slot == 0)
			return NULL;
		if (slot >> 32 != hash >> 32)
			continue;
		struct entry *e = entry_at(d, (uint32_t)slot);
		if (e->n == n && memcmp(e->address, address, n) == 0)
			return e;
	}
}

static int domain_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum directory_state state_of(const struct entry *e, struct directory_entry *entry_r)
{
	uint64_t word = e ? atomic_load_explicit(&e->word, memory_order_acquire) : 0;

	entry_r->account = (uint32_t)(word >> 32);
	entry_r->shard = (uint16_t)(word >> 16);
	return (enum directory_state)(word & 0xffff);
}

/* Domains that came later are entries without an '@'. */
static bool domain_is_local(const struct directory_table *d, const char *domain)
{
	struct directory_entry unused;

	if (d->domain_count &&
		bsearch(&domain, d->domains, d->domain_count, sizeof(*d->domains), domain_compare))
		return true;
	return state_of(find(d, domain, strlen(domain)), &unused) == DIRECTORY_STATE_OK;
}

/* "user+anything@domain": the same without the extension.  Returns its octets, 0: it has none. */
static size_t without_extension(
	const struct directory_table *d, const char *address, size_t at, size_t n, char *out)
{
	const char *sign = d->extension ? memchr(address, d->extension, at) : NULL;

	if (!sign || sign == address)
		return 0;
	size_t head = (size_t)(sign - address);
	memcpy(out, address, head);
	memcpy(out + head, address + at, n - at);
	return head + n - at;
}

/* As it is; without its extension; then whoever catches all of the domain. */
static enum directory_state resolve(const struct directory_table *d, const char *address, size_t at,
	size_t n, struct directory_entry *entry_r)
{
	char plain[ADDRESS_MAX];
	enum directory_state state = state_of(find(d, address, n), entry_r);

	if (state != DIRECTORY_STATE_GONE)
		return state;
	size_t plain_n = without_extension(d, address, at, n, plain);
	if (plain_n)
		state = state_of(find(d, plain, plain_n), entry_r);
	return state != DIRECTORY_STATE_GONE ? state
					     : state_of(find(d, address + at, n - at), entry_r);
}

static enum directory_verdict lookup(
	const struct directory *base, struct bytes address, struct directory_entry *entry_r)
{
	const struct directory_table *d = container_of(base, struct directory_table, base);
	char folded[ADDRESS_MAX + 1];
	size_t n = directory_fold(address, folded);
	ptrdiff_t at = bytes_rfind(bytes_make(folded, n), '@');

	*entry_r = (struct directory_entry){0};
	if (at < 0)
		return DIRECTORY_UNKNOWN_USER;
	folded[n] = '\0';
	if (!domain_is_local(d, folded + at + 1))
		return DIRECTORY_REMOTE;
	switch (resolve(d, folded, (size_t)at, n, entry_r)) {
	case DIRECTORY_STATE_OK:
		return DIRECTORY_OK;
	case DIRECTORY_STATE_DISABLED:
		return DIRECTORY_DISABLED;
	case DIRECTORY_STATE_FULL:
		return DIRECTORY_OVER_QUOTA;
	default:
		return DIRECTORY_UNKNOWN_USER;
	}
}

static int domains_copy(
	struct directory_table *d, const char *const *domains, uint32_t domain_count)
{
	d->domains = calloc(domain_count ? domain_count : 1, sizeof(*d->domains));
	if (!d->domains)
		return -ENOMEM;
	for (uint32_t i = 0; i < domain_count; i++) {
		d->domains[i] = strdup(domains[i]);
		if (!d->domains[i])
			return -ENOMEM;
		d->domain_count++;
		for (char *c = d->domains[i]; *c; c++)
			*c = (char)ascii_lower((uint8_t)*c);
	}
	qsort(d->domains, domain_count, sizeof(*d->domains), domain_compare);
	return 0;
}

static struct table *table_create(struct directory_table *d, uint64_t slots, struct table *older)
{
	size_t n = sizeof(struct table) + slots * sizeof(uint64_t);
	struct table *t = calloc(1, n);

	if (t) {
		t->mask = slots - 1;
		t->older = older;
		d->bytes += n;
	}
	return t;
}

struct directory_table *directory_create(
	const char *const *domains, uint32_t domain_count, char extension)
{
	struct directory_table *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->base.lookup = lookup;
	d->extension = extension;
	d->writers = 1;
	pthread_mutex_init(&d->change, NULL);
	d->bytes = sizeof(*d);
	siphash_key_random(&d->key);
	struct table *t = table_create(d, SLOTS_MIN, NULL);
	atomic_init(&d->table, t);
	if (!t || domains_copy(d, domains, domain_count) < 0)
		directory_destroy(&d);
	return d;
}

void directory_destroy(struct directory_table **dp)
{
	struct directory_table *d = *dp;

	if (!d)
		return;
	struct table *t = atomic_load(&d->table);
	while (t) {
		struct table *older = t->older;
		free(t);
		t = older;
	}
	for (uint32_t i = 0; i < d->block_count; i++)
		free(atomic_load(&d->block[i]));
	for (uint32_t i = 0; i < d->domain_count; i++)
		free(d->domains[i]);
	free(d->domains);
	for (unsigned i = 0; i < WRITERS_MAX; i++)
		free(d->spare[i]);
	pthread_mutex_destroy(&d->change);
	free(d);
	*dp = NULL;
}

const struct directory *directory_public(const struct directory_table *d)
{
	return &d->base;
}

uint64_t directory_bytes(const struct directory_table *d)
{
	return d->bytes;
}

static uint8_t *block_take(struct directory_table *d)
{
	uint8_t *block = NULL;

	for (unsigned i = 0; i < WRITERS_MAX && !block; i++) {
		block = d->spare[i];
		d->spare[i] = NULL;
	}
	if (block)
		return block;
	block = malloc(ARENA_BLOCK);
	d->bytes += block ? ARENA_BLOCK : 0;
	return block;
}

/* Room for an entry with n octets of address; 0: no memory. */
static uint32_t arena_take(struct directory_table *d, size_t n)
{
	uint32_t need =
		(uint32_t)(sizeof(struct entry) + n + ENTRY_ALIGN - 1) & ~(ENTRY_ALIGN - 1u);

	if (d->block_count == 0 || d->block_used + need > ARENA_BLOCK) {
		if (d->block_count == ARENA_BLOCKS)
			return 0;
		uint8_t *block = block_take(d);
		if (!block)
			return 0;
		atomic_store_explicit(&d->block[d->block_count], block, memory_order_release);
		d->block_count++;
		d->block_used = 0;
	}
	uint64_t at = (uint64_t)(d->block_count - 1) * ARENA_BLOCK + d->block_used;
	d->block_used += need;
	return (uint32_t)(at / ENTRY_ALIGN) + 1;
}

static void slot_put(struct table *t, uint64_t hash, uint32_t ref)
{
	uint64_t i = slot_first(hash);

	while (atomic_load_explicit(&t->slot[i & t->mask], memory_order_relaxed))
		i++;
	atomic_store_explicit(
		&t->slot[i & t->mask], (hash >> 32) << 32 | ref, memory_order_release);
}

static int table_grow(struct directory_table *d)
{
	struct table *old = atomic_load_explicit(&d->table, memory_order_relaxed);
	struct table *t = table_create(d, (old->mask + 1) * 2, old);

	if (!t)
		return -ENOMEM;
	for (uint64_t i = 0; i <= old->mask; i++) {
		uint64_t slot = atomic_load_explicit(&old->slot[i], memory_order_relaxed);
		if (!slot)
			continue;
		const struct entry *e = entry_at(d, (uint32_t)slot);
		slot_put(t, siphash13(&d->key, e->address, e->n), (uint32_t)slot);
	}
	atomic_store_explicit(&d->table, t, memory_order_release);
	return 0;
}

static int slots_reserve(struct directory_table *d, uint32_t count)
{
	const struct table *t = atomic_load_explicit(&d->table, memory_order_relaxed);

	while ((d->count + count) * 100 > (t->mask + 1) * LOAD_PERCENT) {
		if (table_grow(d) < 0)
			return -ENOMEM;
		t = atomic_load_explicit(&d->table, memory_order_relaxed);
	}
	return 0;
}

static_assert(2000 * (sizeof(struct entry) + ADDRESS_MAX + ENTRY_ALIGN) <= ARENA_BLOCK,
	"one spare block holds what may be reserved");

void directory_set_writers(struct directory_table *d, unsigned writers)
{
	BUG_ON(writers > WRITERS_MAX);
	d->writers = writers;
}

/* As many blocks as there are threads that may have been promised one. */
static int blocks_reserve(struct directory_table *d)
{
	for (unsigned i = 0; i < d->writers; i++) {
		if (d->spare[i])
			continue;
		d->spare[i] = malloc(ARENA_BLOCK);
		if (!d->spare[i])
			return -ENOMEM;
		d->bytes += ARENA_BLOCK;
	}
	return d->block_count + d->writers >= ARENA_BLOCKS ? -ENOMEM : 0;
}

int directory_reserve(struct directory_table *d, uint32_t count)
{
	if (count > 2000)
		return -EINVAL;
	pthread_mutex_lock(&d->change);
	int err = blocks_reserve(d);
	if (!err)
		err = slots_reserve(d, count * d->writers);
	pthread_mutex_unlock(&d->change);
	return err;
}

static int entry_add(struct directory_table *d, const char *address, size_t n, uint64_t word)
{
	if (slots_reserve(d, 1) < 0)
		return -ENOMEM;
	struct table *t = atomic_load_explicit(&d->table, memory_order_relaxed);
	uint32_t ref = arena_take(d, n);
	if (!ref)
		return -ENOMEM;
	struct entry *e = entry_at(d, ref);
	atomic_init(&e->word, word);
	e->n = (uint16_t)n;
	memcpy(e->address, address, n);
	slot_put(t, siphash13(&d->key, address, n), ref);
	d->count++;
	return 0;
}

int directory_set(struct directory_table *d, struct bytes address, uint32_t account, uint16_t shard,
	enum directory_state state)
{
	char folded[ADDRESS_MAX];
	size_t n = directory_fold(address, folded);

	if (n == 0)
		return -EINVAL;
	uint64_t word = word_make(account, shard, state);
	int err = 0;
	pthread_mutex_lock(&d->change);
	struct entry *e = find(d, folded, n);
	if (e)
		atomic_store_explicit(&e->word, word, memory_order_release);
	else if (state != DIRECTORY_STATE_GONE)
		err = entry_add(d, folded, n, word);
	pthread_mutex_unlock(&d->change);
	return err;
}

int directory_set_domain(struct directory_table *d, struct bytes domain, bool local)
{
	return directory_set(d, domain, 0, 0, local ? DIRECTORY_STATE_OK : DIRECTORY_STATE_GONE);
}
