/* SPDX-License-Identifier: BSD-3-Clause
 * What slow peers hold while others wait for it.  Whoever holds something has a deadline, but those
 * of RFC 5321 are minutes, and a few peers could renew them for ever: so when body memory or
 * sessions become scarce, content that does not move goes to the writer, and who does nothing gives
 * way after seconds.  And a wait for memory ends, because what is waited for may be held by others
 * who wait for the same. */
#include "smtp/server_priv.h"
#include "dataplane/base/counters.h"

#define LOOK_US      (100 * US_PER_MS) /* chosen: between two looks, while there is anything to see */
#define LOOK_MIN     256u              /* sessions in one look; chosen: some microseconds */
#define LOOK_MAX     2048u             /* chosen: a fraction of a millisecond */
#define LOOK_ALL     32               /* chosen: looks at all sessions, in three seconds and some */
#define STILL_US     (1 * US_PER_SEC) /* chosen: content that moved so long ago goes to the writer */
#define IDLE_US      (10 * US_PER_SEC) /* chosen: when it is scarce; as Postfix has it under stress */
#define CROWDED_FROM 8                 /* chosen: sessions are scarce when an eighth is left */
#define CROWDED_MAX  512u              /* chosen: or so many */
/* Chosen: below the two minutes that a client waits for 354 (RFC 5321 4.5.3.2.4). */
#define MEMORY_WAIT_MS (60 * 1000)

static uint32_t now_ms(const struct smtp_conn *c)
{
	return (uint32_t)(c->server->core->now_us / US_PER_MS);
}

/* ---- a wait for memory ends ---- */

void relief_wait_begins(struct smtp_conn *c)
{
	uint32_t now = now_ms(c);

	if (!c->waits_ms)
		c->waits_ms = now ? now : 1;
}

bool relief_wait_is_over(const struct smtp_conn *c)
{
	return c->waits_ms && now_ms(c) - c->waits_ms >= MEMORY_WAIT_MS;
}

/* The rest of the content needs no memory any more, and is answered 452 at its end. */
static void give_up_content(struct smtp_conn *c)
{
	uint32_t body = c->charged - c->envelope;

	c->part_status = HANDOFF_FULL;
	chain_free(&c->spare);
	chain_free(&c->message->body);
	body_charge(c, -(int32_t)body);
	c->spare_n = 0;
}

void relief_give_up(struct smtp_conn *c)
{
	struct smtp_session *s = &c->session;

	c->waits_ms = 0;
	counter_inc(CTR_SMTP_MEMORY_WAITS_ENDED);
	if (s->stage == STAGE_DATA)
		smtp_session_verdict(s, REPLY_NO_STORAGE);
	else if (smtp_session_in_content(s) && c->message)
		give_up_content(c);
	else
		smtp_session_end(s, REPLY_BUSY);
}

/* ---- what is held and does not move ---- */

static uint64_t idle_us(const struct smtp_conn *c)
{
	uint64_t last_us = c->deadline_us - conn_timeout_us(c), now_us = c->server->core->now_us;

	return now_us > last_us ? now_us - last_us : 0;
}

/* Not while it waits for the writer anyhow, or would have to. */
static bool may_hand_over(const struct smtp_conn *c)
{
	const struct chunk *head = c->message->body.head;
	const struct smtp_server *s = c->server;

	return head && head->n == CHUNK_DATA && c->part_status == HANDOFF_OK &&
	       c->parts < PARTS_MAX && (c->reserved || s->drops_reserved < s->drops_max) &&
	       (s->conf.discard || server_lane(c->server, c->message->id)->writer->credits);
}

/* Is it the peer's turn, and nothing keeps it from that? */
static bool is_awaited(const struct smtp_conn *c)
{
	const struct smtp_session *s = &c->session;

	return c->life == CONN_OPEN && !c->handshaking && !c->proxied && !c->late &&
	       s->state != SMTP_CLOSED && !conn_we_owe(c);
}

/* Returns whether it was ended. */
static bool look_at(struct smtp_conn *c, bool memory_scarce, bool sessions_scarce)
{
	if (!is_awaited(c))
		return false;
	uint64_t idle = idle_us(c);
	if (memory_scarce && idle >= STILL_US && smtp_session_in_content(&c->session) &&
		c->message && may_hand_over(c))
		handoff_parts(c);
	if (idle < IDLE_US || (!sessions_scarce && !(memory_scarce && c->charged)))
		return false;
	counter_inc(CTR_SMTP_SCARCE_ENDED);
	conn_time_out(c);
	return true;
}

/* So many more than there may be before they are scarce. */
static uint32_t sessions_excess(const struct smtp_server *s)
{
	uint32_t few = MIN(MAX(s->conf.sessions_max / CROWDED_FROM, 1u), CROWDED_MAX);
	uint32_t most = s->conf.sessions_max - few;

	return s->open > most ? s->open - most : 0;
}

bool relief_sessions_scarce(const struct smtp_server *s)
{
	return sessions_excess(s) > 0;
}

static void look(struct smtp_server *s)
{
	bool memory = server_used_percent(s) >= PRESSURE_DATA;
	uint32_t excess = sessions_excess(s);

	if (!memory && !excess)
		return;
	uint32_t most = MIN(MAX(s->conf.sessions_max / LOOK_ALL, LOOK_MIN), LOOK_MAX);
	for (unsigned n = MIN(s->conf.sessions_max, most); n; n--) {
		excess -= look_at(&s->conns[s->relief_at], memory, excess) && excess;
		s->relief_at = (s->relief_at + 1) % s->conf.sessions_max;
	}
}

void relief_begin(struct smtp_server *s)
{
	if (s->held || sessions_excess(s))
		timer_arm(&s->core->wheel, &s->relief_timer, s->core->now_us + LOOK_US);
}

static void on_timer(struct timer *t, uint64_t now_us)
{
	struct smtp_server *s = container_of(t, struct smtp_server, relief_timer);

	(void)now_us;
	look(s);
	relief_begin(s);
}

void relief_init(struct smtp_server *s)
{
	timer_init(&s->relief_timer, on_timer);
}
