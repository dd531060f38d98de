/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/dns/cache.h"
#include <errno.h>

#define WAYS       4
#define PACKED_MAX 720 /* octets of records: 16 MX names of 40 octets, 10 TLSA of SHA-512 */

struct dns_cache_entry {
	uint64_t until_us; /* 0: empty */
	uint8_t type, status, secure, count;
	uint16_t packed_n;
	char name[DNS_NAME_MAX + 1];
	uint8_t packed[PACKED_MAX];
};

void dns_answer_take(struct dns_answer *a, const struct dns_op *op)
{
	a->status = (enum dns_status)op->op.status;
	a->secure = op->secure;
	a->ttl = op->ttl;
	a->count = MIN(op->count, (uint32_t)DNS_RECORDS_MAX);
	memcpy(a->records, op->records, a->count * sizeof(a->records[0]));
}

int dns_cache_init(struct dns_cache *c, uint32_t entries)
{
	uint32_t sets = 1;

	while (sets * WAYS < entries)
		sets *= 2;
	*c = (struct dns_cache){.sets = sets};
	siphash_key_random(&c->key);
	c->entries = calloc((size_t)sets * WAYS, sizeof(*c->entries));
	return c->entries ? 0 : -ENOMEM;
}

void dns_cache_fini(struct dns_cache *c)
{
	free(c->entries);
	c->entries = NULL;
}

static struct dns_cache_entry *set_of(const struct dns_cache *c, const char *name, size_t n)
{
	return &c->entries[(siphash13(&c->key, name, n) & (c->sets - 1)) * WAYS];
}

static struct dns_cache_entry *entry_find(
	const struct dns_cache *c, const char *name, enum dns_type type)
{
	size_t n = strlen(name);

	if (n > DNS_NAME_MAX)
		return NULL;
	struct dns_cache_entry *set = set_of(c, name, n);
	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].until_us && set[i].type == type && strcmp(set[i].name, name) == 0)
			return &set[i];
	}
	return NULL;
}

static struct dns_cache_entry *entry_choose(
	const struct dns_cache *c, const char *name, enum dns_type type)
{
	struct dns_cache_entry *e = entry_find(c, name, type);

	if (e)
		return e;
	struct dns_cache_entry *set = set_of(c, name, strlen(name));
	e = set;
	for (unsigned i = 1; i < WAYS; i++) {
		if (set[i].until_us < e->until_us)
			e = &set[i];
	}
	return e;
}

static bool is_address(enum dns_type type)
{
	return type == DNS_A || type == DNS_AAAA;
}

/* A record: three numbers, length, octets of the name for MX (preference) and TLSA; sixteen octets
 * for addresses. */
static bool record_pack(struct buf *b, enum dns_type type, const struct dns_record *r)
{
	uint8_t head[4] = {r->usage, r->selector, r->matching, r->name_n};

	if (type == DNS_MX) {
		head[0] = (uint8_t)(r->preference >> 8);
		head[1] = (uint8_t)r->preference;
	}
	if (is_address(type)) {
		buf_put(b, bytes_make(r->ip.octets, sizeof(r->ip.octets)));
		return !b->overflow;
	}
	if (buf_space(b) < sizeof(head) + r->name_n)
		return false;
	buf_put(b, bytes_make(head, sizeof(head)));
	buf_put(b, bytes_make(r->name, r->name_n));
	return true;
}

static size_t record_unpack(const uint8_t *p, enum dns_type type, struct dns_record *r)
{
	*r = (struct dns_record){0};
	if (is_address(type)) {
		memcpy(r->ip.octets, p, sizeof(r->ip.octets));
		return sizeof(r->ip.octets);
	}
	if (type == DNS_MX) {
		r->preference = (uint16_t)(p[0] << 8 | p[1]);
	} else {
		r->usage = p[0];
		r->selector = p[1];
		r->matching = p[2];
	}
	r->name_n = p[3];
	memcpy(r->name, p + 4, r->name_n);
	return 4u + r->name_n;
}

uint32_t dns_cache_ttl(enum dns_status status, uint32_t ttl)
{
	switch (status) {
	case DNS_OK:
		return MAX(DNS_CACHE_TTL_MIN, MIN(ttl, DNS_CACHE_TTL_MAX));
	case DNS_NODATA:
	case DNS_NXDOMAIN:
		return DNS_CACHE_TTL_NEGATIVE;
	case DNS_FAIL:
		break;
	}
	return DNS_CACHE_TTL_FAILURE;
}

void dns_cache_put(struct dns_cache *c, const char *name, enum dns_type type,
	const struct dns_answer *answer, uint64_t now_us)
{
	struct buf b;

	if (strlen(name) > DNS_NAME_MAX)
		return;
	struct dns_cache_entry *e = entry_choose(c, name, type);
	e->type = (uint8_t)type;
	e->status = (uint8_t)answer->status;
	e->secure = answer->secure;
	e->until_us = now_us + dns_cache_ttl(answer->status, answer->ttl) * US_PER_SEC;
	memcpy(e->name, name, strlen(name) + 1);
	buf_init(&b, e->packed, sizeof(e->packed));
	e->count = 0;
	while (e->count < answer->count && record_pack(&b, type, &answer->records[e->count]))
		e->count++;
	e->packed_n = (uint16_t)b.n;
}

bool dns_cache_get(struct dns_cache *c, const char *name, enum dns_type type,
	struct dns_answer *answer_r, uint64_t now_us)
{
	struct dns_cache_entry *e = entry_find(c, name, type);
	size_t at = 0;

	if (!e || e->until_us <= now_us)
		return false;
	answer_r->status = e->status;
	answer_r->secure = e->secure;
	answer_r->ttl = (uint32_t)((e->until_us - now_us) / US_PER_SEC);
	answer_r->count = e->count;
	for (uint32_t i = 0; i < e->count; i++)
		at += record_unpack(e->packed + at, type, &answer_r->records[i]);
	return true;
}

void dns_cache_drop(struct dns_cache *c, const char *name, enum dns_type type)
{
	struct dns_cache_entry *e = entry_find(c, name, type);

	if (e)
		e->until_us = 0;
}
