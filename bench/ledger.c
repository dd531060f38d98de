/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/ledger.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "dataplane/base/siphash.h"

static const char magic[8] = "bpbench1";

int ledger_init(struct ledger *l, uint64_t max)
{
	*l = (struct ledger){.max = max};
	l->all = mmap(NULL, max * sizeof(*l->all), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (l->all != MAP_FAILED)
		return 0;
	l->all = NULL;
	return -ENOMEM;
}

void ledger_fini(struct ledger *l)
{
	if (l->all)
		munmap(l->all, l->max * sizeof(*l->all));
	l->all = NULL;
}

/* The same in every process: the key is no secret. */
uint64_t ledger_rcpt(struct bytes address)
{
	static const struct siphash_key key = {0x6279706f73740002u, 0x6c65646765720002u};
	uint8_t lower[512];
	size_t n = MIN(address.n, sizeof(lower));

	for (size_t i = 0; i < n; i++)
		lower[i] = ascii_lower(address.p[i]);
	return siphash24(&key, lower, n);
}

void ledger_add(struct ledger *l, const struct ledger_entry *e)
{
	if (l->n == l->max)
		l->dropped++;
	else
		l->all[l->n++] = *e;
}

int ledger_write(const struct ledger *l, const char *path)
{
	FILE *f = fopen(path, "we");
	int rc = 0;

	if (!f)
		return -errno;
	if (fwrite(magic, sizeof(magic), 1, f) != 1 ||
		fwrite(l->all, sizeof(*l->all), l->n, f) != l->n)
		rc = -EIO;
	if (fclose(f) != 0 && rc == 0)
		rc = -errno;
	return rc;
}

int ledger_read(struct ledger *l, const char *path)
{
	FILE *f = fopen(path, "re");
	struct ledger_entry e;
	char head[sizeof(magic)];
	int rc = 0;

	if (!f)
		return -errno;
	if (fread(head, sizeof(head), 1, f) != 1 || memcmp(head, magic, sizeof(magic)) != 0)
		rc = -EINVAL;
	while (rc == 0 && fread(&e, sizeof(e), 1, f) == 1)
		ledger_add(l, &e);
	fclose(f);
	return rc;
}

static int compare(const void *a, const void *b)
{
	const struct ledger_entry *x = a, *y = b;

	if (x->run != y->run)
		return x->run < y->run ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	if (x->rcpt != y->rcpt)
		return x->rcpt < y->rcpt ? -1 : 1;
	return 0;
}

/* How often one recipient of one message stands in a ledger. */
struct group {
	uint64_t n, state[LEDGER_BOUNCED + 1];
};

static uint64_t group_of(
	const struct ledger *l, uint64_t at, const struct ledger_entry *like, struct group *g_r)
{
	*g_r = (struct group){0};
	for (; at < l->n && compare(&l->all[at], like) == 0; at++) {
		g_r->n++;
		if (l->all[at].state < ARRAY_LEN(g_r->state))
			g_r->state[l->all[at].state]++;
	}
	return at;
}

static void judge(const struct group *sent, const struct group *got, struct ledger_match *m)
{
	uint64_t arrived = got->state[LEDGER_RECEIVED] + got->state[LEDGER_ALTERED];
	uint64_t accepted = sent->state[LEDGER_ACCEPTED], unknown = sent->state[LEDGER_UNKNOWN];

	m->accepted += accepted;
	m->refused += sent->state[LEDGER_REFUSED];
	m->unknown += unknown;
	m->received += arrived;
	m->bounced += got->state[LEDGER_BOUNCED];
	m->altered += got->state[LEDGER_ALTERED];
	if (accepted && !arrived && !got->state[LEDGER_BOUNCED])
		m->lost++;
	if (!accepted && !unknown)
		m->forged += arrived;
	else if (arrived > accepted + unknown)
		m->doubled += arrived - accepted - unknown;
}

/* What another source has sent is that one's to prove.  l is sorted. */
static bool has_run(const struct ledger *l, uint32_t run)
{
	uint64_t low = 0, high = l->n;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if (l->all[middle].run < run)
			low = middle + 1;
		else
			high = middle;
	}
	return low < l->n && l->all[low].run == run;
}

void ledger_match(struct ledger *source, struct ledger *sink, struct ledger_match *m_r)
{
	uint64_t i = 0, k = 0;

	*m_r = (struct ledger_match){0};
	qsort(source->all, source->n, sizeof(*source->all), compare);
	qsort(sink->all, sink->n, sizeof(*sink->all), compare);
	while (i < source->n || k < sink->n) {
		bool sent_first = i < source->n &&
				  (k == sink->n || compare(&source->all[i], &sink->all[k]) <= 0);
		struct ledger_entry like = sent_first ? source->all[i] : sink->all[k];
		struct group sent, got;
		i = group_of(source, i, &like, &sent);
		k = group_of(sink, k, &like, &got);
		if (sent_first || has_run(source, like.run))
			judge(&sent, &got, m_r);
	}
}
