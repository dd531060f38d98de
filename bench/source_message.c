/* SPDX-License-Identifier: BSD-3-Clause
 * What message n is: its size, its recipients, its content.  All by its number, so that each run
 * has the same. */
#include <math.h>
#include "bench/source_priv.h"
#include "dataplane/base/codec.h"

#define SIZE_MIN 2

static uint64_t choice(const struct source *s, uint64_t seq, uint32_t what)
{
	uint64_t in[2] = {seq, what};

	return siphash13(&s->key, in, sizeof(in));
}

/* Box and Muller (1958), of two choices. */
static double normal(const struct source *s, uint64_t seq)
{
	double u = ((double)(choice(s, seq, 1) >> 11) + 1) / 9007199254740993.0;
	double v = (double)(choice(s, seq, 2) >> 11) / 9007199254740992.0;

	return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static uint64_t size_of(const struct source *s, uint64_t seq)
{
	const struct source_conf *c = &s->conf;
	uint64_t size;

	if (c->lognormal_median > 0)
		size = (uint64_t)(c->lognormal_median * exp(c->lognormal_sigma * normal(s, seq)));
	else
		size = c->sizes[seq % c->size_count];
	return MIN(MAX(size, (uint64_t)SIZE_MIN), c->size_max);
}

static unsigned domain_of(const struct source *s, uint64_t seq)
{
	uint64_t all = 0, at;
	unsigned i = 0;

	for (unsigned k = 0; k < s->conf.domain_count; k++)
		all += s->conf.domains[k].weight;
	at = choice(s, seq, 3) % MAX(all, 1ull);
	while (i + 1 < s->conf.domain_count && at >= s->conf.domains[i].weight)
		at -= s->conf.domains[i++].weight;
	return i;
}

uint64_t source_pause_us(const struct source *s, uint64_t seq)
{
	uint64_t us = s->conf.pause_us;

	return us && s->conf.pause_varies ? choice(s, seq, 4) % (us + 1) : us;
}

/* smtp-source's way: a number before the address when there are several, or with -N. */
struct bytes source_rcpt(struct session *t, uint32_t i)
{
	const struct source_conf *c = &source_of(t)->conf;
	const char *domain = c->domains[t->domain].name;
	uint64_t number = c->number_rcpts ? t->first_rcpt + i + 1 : i + 1;
	struct buf b;

	buf_init(&b, t->address, sizeof(t->address));
	if (c->rcpts > 1 || c->number_rcpts)
		dec_u64(&b, number, 1);
	buf_str(&b, c->to_local);
	buf_byte(&b, '@');
	buf_str(&b, domain);
	return buf_view(&b);
}

void source_message_begin(struct session *t, uint64_t intended_us)
{
	struct source *s = source_of(t);
	const struct source_conf *c = &s->conf;
	uint64_t seq = figure_get(&s->figures.begun) + 1;
	struct letter_id id = {.run = s->run, .seq = seq, .sent_us = intended_us};
	struct smtp_client_message m = {.sender = bytes_str(c->sender), .rcpt_count = c->rcpts};

	figure_add(&s->figures.begun, 1);
	t->domain = domain_of(s, seq);
	t->intended_us = intended_us;
	t->accepted = 0;
	t->first_rcpt = s->rcpts_named;
	s->rcpts_named += c->rcpts;
	if (c->corpus) {
		uint32_t i = (uint32_t)((seq - 1) % c->corpus->count);
		letter_make_of(&t->letter, &id, c->corpus, i);
		m.body = c->corpus->mails[i].wide ? BODY_8BITMIME : BODY_7BIT;
	} else {
		id.size = size_of(s, seq);
		letter_make(&t->letter, &id, m.sender, source_rcpt(t, 0), bytes_str(c->subject));
	}
	m.size = letter_octets(&t->letter);
	t->sent++;
	smtp_client_send(&t->client, &m);
}
