/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/dane.h"
#include <errno.h>
#include "dataplane/base/counters.h"
#include "dataplane/base/crc32c.h"
#include "delivery/delivery_priv.h"

/* RFC 6698 2.1 */
enum {
	USAGE_TA = 2,
	USAGE_EE = 3,
	SELECTOR_SPKI = 1,
	MATCH_FULL = 0,
	MATCH_256 = 1,
	MATCH_512 = 2
};

/* RFC 7672 3.1: trust anchors and end entities only. */
static bool is_usable(const struct dns_record *r)
{
	if ((r->usage != USAGE_TA && r->usage != USAGE_EE) || r->selector > SELECTOR_SPKI)
		return false;
	switch (r->matching) {
	case MATCH_FULL:
		return r->name_n > 0 && r->name_n <= DANE_DATA_MAX;
	case MATCH_256:
		return r->name_n == 32;
	case MATCH_512:
		return r->name_n == 64;
	default:
		return false;
	}
}

static void take(struct dane *dane, const struct dns_record *r)
{
	uint8_t *data = dane->data[dane->count];

	memcpy(data, r->name, r->name_n);
	dane->tlsa[dane->count++] = (struct tls_tlsa){.usage = r->usage,
		.selector = r->selector,
		.matching = r->matching,
		.data = bytes_make(data, r->name_n)};
	dane->print += crc32c(r->usage << 16 | r->selector << 8 | r->matching, data, r->name_n);
}

void dane_judge(struct dane *dane, const struct dns_answer *a)
{
	dane->outcome = a->status == DNS_FAIL ? DANE_FAILED : DANE_NONE;
	dane->count = 0;
	dane->print = 0;
	if (a->status != DNS_OK || !a->secure)
		return;
	for (uint32_t i = 0; i < a->count && dane->count < DANE_RECORDS_MAX; i++) {
		if (is_usable(&a->records[i]))
			take(dane, &a->records[i]);
	}
	dane->outcome = dane->count ? DANE_VERIFY : DANE_ENCRYPT;
}

/* ---- asking ---- */

int danes_init(struct delivery *d, uint32_t max)
{
	struct danes *t = &d->danes;

	list_init(&t->free);
	list_init(&t->waiting);
	list_init(&t->conns);
	t->queries = calloc(max, sizeof(*t->queries));
	if (!t->queries)
		return -ENOMEM;
	for (uint32_t i = 0; i < max; i++) {
		t->queries[i].d = d;
		list_push_tail(&t->free, &t->queries[i].link);
	}
	return 0;
}

void danes_fini(struct delivery *d)
{
	free(d->danes.queries);
}

/* All that can go on: for one that finds its answer in the cache nobody comes to say so. */
static void next_conns(struct delivery *d)
{
	while (!list_empty(&d->danes.conns) && !list_empty(&d->danes.free)) {
		struct list *l = list_pop_head(&d->danes.conns);
		struct conn *c = list_entry(l, struct conn, link);
		if (dane_begin(c))
			conn_dane_known(c);
	}
}

/* ---- names (RFC 7672 2.2.2) ---- */

static const struct route_host *host_of(const struct conn *c)
{
	const struct route *r = &c->site->route;

	return &r->hosts[r->addresses[c->address].host];
}

/* Records below the name that the host has in its MX record. */
static void records_of_host(struct conn *c)
{
	c->dane.records = true;
	snprintf(c->dane.name, sizeof(c->dane.name), "%s", c->host);
}

/* One more name of a chain of aliases, or its end.  True: there will be no records. */
static bool follow(struct conn *c, const struct dns_answer *a)
{
	struct dane *dane = &c->dane;

	if (a->status == DNS_FAIL || dane->aliases == DANE_ALIASES_MAX) {
		dane->outcome = DANE_FAILED;
		return true;
	}
	bool alias = a->status == DNS_OK && a->count;
	bool first = dane->aliases == 0;
	/* An alias that is not validated, or a host whose addresses are not. */
	if (first && (alias ? !a->secure : !host_of(c)->secure))
		return true;
	if (alias && a->secure) {
		memcpy(dane->name, a->records[0].name, a->records[0].name_n + 1u);
		dane->aliases++;
		return false;
	}
	dane->records = true;
	/* What is not validated as a whole tells nothing; the alias itself does. */
	if (alias || !host_of(c)->secure)
		records_of_host(c);
	return false;
}

/* True: the outcome is known. */
static bool feed(struct conn *c, const struct dns_answer *a)
{
	struct dane *dane = &c->dane;

	if (!dane->records)
		return follow(c, a);
	dane_judge(dane, a);
	if (dane->outcome != DANE_NONE || strcmp(dane->name, c->host) == 0)
		return true;
	records_of_host(c);
	return false;
}

/* What to ask for next.  False: there can be no such name. */
static bool wanted(const struct conn *c, char name[DNS_NAME_MAX + 1], enum dns_type *type_r)
{
	int n;

	*type_r = c->dane.records ? DNS_TLSA : DNS_CNAME;
	if (c->dane.records)
		n = snprintf(
			name, DNS_NAME_MAX + 1, "_%u._tcp.%s", c->site->route.port, c->dane.name);
	else
		n = snprintf(name, DNS_NAME_MAX + 1, "%s", c->dane.name);
	return n <= DNS_NAME_MAX;
}

static void ask(struct dane_query *q)
{
	if (channel_submit(q->d->ch.dns, &q->op.op) < 0)
		list_push_tail(&q->d->danes.waiting, &q->link);
}

static void on_answer(struct op *op);

/* As far as the cache goes.  True: the outcome is known; else q, when there is one, has asked. */
static bool run(struct conn *c, struct dane_query *q)
{
	struct delivery *d = c->d;
	char name[DNS_NAME_MAX + 1];
	enum dns_type type;
	struct dns_answer a;

	for (;;) {
		if (!wanted(c, name, &type)) {
			c->dane.outcome = DANE_NONE;
			return true;
		}
		if (!dns_cache_get(&d->cache, name, type, &a, d->core->now_us))
			break;
		counter_inc(CTR_DNS_CACHE_HITS);
		if (feed(c, &a))
			return true;
	}
	if (!q)
		return false;
	q->op.op = (struct op){.done = on_answer};
	q->op.type = (uint8_t)type;
	memcpy(q->op.name, name, sizeof(name));
	ask(q);
	return false;
}

static void on_answer(struct op *op)
{
	struct dane_query *q = container_of(op, struct dane_query, op.op);
	struct delivery *d = q->d;
	struct conn *c = q->conn;
	struct dns_answer a;

	dns_answer_take(&a, &q->op);
	dns_cache_put(&d->cache, q->op.name, (enum dns_type)q->op.type, &a, d->core->now_us);
	if (!feed(c, &a) && !run(c, q))
		return;
	list_push_tail(&d->danes.free, &q->link);
	conn_dane_known(c);
	next_conns(d);
}

bool dane_begin(struct conn *c)
{
	struct delivery *d = c->d;

	c->dane.outcome = DANE_NONE;
	c->dane.aliases = 0;
	c->dane.records = false;
	snprintf(c->dane.name, sizeof(c->dane.name), "%s", c->host);
	if (run(c, NULL))
		return true;
	struct list *free = list_pop_head(&d->danes.free);
	if (!free) {
		list_push_tail(&d->danes.conns, &c->link);
		return false;
	}
	struct dane_query *q = list_entry(free, struct dane_query, link);
	q->conn = c;
	return run(c, q);
}

void dane_on_credit(struct delivery *d)
{
	struct list waiting;

	list_init(&waiting);
	while (!list_empty(&d->danes.waiting))
		list_push_tail(&waiting, list_pop_head(&d->danes.waiting));
	while (!list_empty(&waiting))
		ask(list_entry(list_pop_head(&waiting), struct dane_query, link));
}
