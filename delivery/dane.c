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

static void next_conn(struct delivery *d)
{
	if (!list_empty(&d->danes.conns) && !list_empty(&d->danes.free)) {
		struct list *l = list_pop_head(&d->danes.conns);
		struct conn *c = list_entry(l, struct conn, link);
		if (dane_begin(c))
			conn_dane_known(c);
	}
}

static void on_answer(struct op *op)
{
	struct dane_query *q = container_of(op, struct dane_query, op.op);
	struct delivery *d = q->d;
	struct conn *c = q->conn;
	struct dns_answer a;

	dns_answer_take(&a, &q->op);
	dns_cache_put(&d->cache, q->op.name, DNS_TLSA, &a, d->core->now_us);
	list_push_tail(&d->danes.free, &q->link);
	dane_judge(&c->dane, &a);
	conn_dane_known(c);
	next_conn(d);
}

static void ask(struct dane_query *q)
{
	if (channel_submit(q->d->ch.dns, &q->op.op) < 0)
		list_push_tail(&q->d->danes.waiting, &q->link);
}

bool dane_begin(struct conn *c)
{
	struct delivery *d = c->d;
	struct dns_answer a;
	char name[DNS_NAME_MAX + 1];

	/* RFC 7672 3.2.3: below the name that the certificate is for. */
	int n = snprintf(name, sizeof(name), "_%u._tcp.%s", c->site->route.port, c->host);
	if (n >= (int)sizeof(name)) {
		c->dane.outcome = DANE_NONE; /* no such name can exist */
		return true;
	}
	if (dns_cache_get(&d->cache, name, DNS_TLSA, &a, d->core->now_us)) {
		counter_inc(CTR_DNS_CACHE_HITS);
		dane_judge(&c->dane, &a);
		return true;
	}
	struct list *free = list_pop_head(&d->danes.free);
	if (!free) {
		list_push_tail(&d->danes.conns, &c->link);
		return false;
	}
	struct dane_query *q = list_entry(free, struct dane_query, link);
	q->conn = c;
	q->op.op = (struct op){.done = on_answer};
	q->op.type = DNS_TLSA;
	snprintf(q->op.name, sizeof(q->op.name), "%s", name);
	ask(q);
	return false;
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
