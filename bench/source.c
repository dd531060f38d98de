/* SPDX-License-Identifier: BSD-3-Clause
 * The source: what it does each lap, its life. */
#include <stdlib.h>
#include "bench/source_priv.h"

#define CONNECT_STEP 64                /* connections begun in a lap */
#define FINISH_US    (30 * US_PER_SEC) /* for what is under way at the end */

/* Sessions that wait for a message, as messages become due. */
static unsigned feed_ready(struct source *s)
{
	unsigned n = 0;
	uint64_t at;

	while (!list_empty(&s->ready)) {
		bool due = source_message_due(s, &at);
		if (!due && !source_no_more(s))
			break;
		struct session *t = list_entry(s->ready.next, struct session, conn.node);
		source_wait_no_longer(t);
		if (due)
			source_message_begin(t, at);
		else
			source_quit(t);
		source_restart_timer(t);
		source_pump(t);
		n++;
	}
	return n;
}

/* One slice of AUTH's hashing. */
static unsigned work(struct source *s)
{
	struct list *node = list_pop_head(&s->working);

	if (!node)
		return 0;
	list_init(node);
	source_pump(list_entry(node, struct session, conn.node));
	return 1;
}

/* At the end: who has not come so far as to have a message need not come any more, for a server
 * that is full may leave them waiting for long; and there is nothing to pause for. */
static void give_up_waiting(struct source *s)
{
	for (uint32_t i = 0; i < s->conns.n; i++) {
		struct session *t = conns_at(&s->conns, i);
		if (t->conn.life == CONN_FREE)
			continue;
		if (t->sent == 0 && !t->quitting)
			source_session_abort(t);
		else if (t->pausing)
			source_pause_end(t);
	}
}

unsigned source_poll(void *source, uint64_t now)
{
	struct source *s = source;
	unsigned n = 0;

	if (!s->began_us)
		s->began_us = s->created_us = now;
	n += feed_ready(s) + work(s);
	/* a new connection for what finds no session ready */
	while (n < CONNECT_STEP && now >= s->retry_at_us && source_connection_due(s) &&
		source_connect(s))
		n++;
	source_note_behind(s);
	if (!source_no_more(s))
		return n;
	if (!s->ending_at_us) {
		s->ending_at_us = now + FINISH_US;
		give_up_waiting(s);
	}
	if (source_open(s) == 0 || now >= s->ending_at_us)
		atomic_store(&s->figures.finished, true);
	return n;
}

void source_end(struct source *s)
{
	atomic_store(&s->ending, true);
}

/* ---- main thread ---- */

struct source_figures *source_figures(struct source *s)
{
	return &s->figures;
}

uint32_t source_open(const struct source *s)
{
	return atomic_load_explicit(&s->conns.open, memory_order_relaxed);
}

size_t source_session_octets(void)
{
	return sizeof(struct session);
}

struct source *source_create(const struct source_conf *conf, struct engine *e,
	const struct conn_tls *tls, struct ledger *ledger, uint32_t run)
{
	struct source *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->conf = *conf;
	s->ledger = ledger;
	s->run = run;
	s->key = (struct siphash_key){1, 2};
	list_init(&s->ready);
	list_init(&s->working);
	s->sasl = conf->login.user ? calloc(conf->sessions, sizeof(*s->sasl)) : NULL;
	if ((conf->login.user && !s->sasl) ||
		conns_init(&s->conns, conf->sessions, sizeof(struct session), e, tls,
			source_on_timer, s) < 0) {
		source_destroy(&s);
		return NULL;
	}
	for (uint32_t i = 0; s->sasl && i < conf->sessions; i++)
		((struct session *)conns_at(&s->conns, i))->sasl = &s->sasl[i];
	return s;
}

void source_destroy(struct source **s)
{
	if (!*s)
		return;
	for (uint32_t i = 0; (*s)->conns.memory && i < (*s)->conns.n; i++)
		free(((struct session *)conns_at(&(*s)->conns, i))->out);
	for (struct source_out *out; (out = (*s)->outs);) {
		(*s)->outs = out->next;
		free(out);
	}
	conns_fini(&(*s)->conns);
	free((*s)->sasl);
	free(*s);
	*s = NULL;
}
