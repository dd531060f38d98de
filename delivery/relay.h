/* SPDX-License-Identifier: BSD-3-Clause
 * Sites and connections brought together: who opens, who waits, what happens when a site cannot be
 * reached.  OWNER: one core's thread. */
#pragma once
#include "delivery/conn.h"

struct relay {
	struct conn *conns;
	uint32_t max;
	struct list free, closed;
	struct list working; /* connections that work out their part in AUTH */
	struct list kick;    /* sites with something to do */
	struct list wanting; /* sites to be looked at again: they may not go on now */
	/* Sites that have mail and no connection, because all are taken; first come, first served.
	 * They go before those that want one more. */
	struct list starving;
	uint32_t leaving;        /* connections that say QUIT */
	uint32_t short_of;       /* connections that have to end for those that starve */
	uint32_t look;           /* where make_room goes on */
	uint64_t memory_from_us; /* no message is given up for want of memory before this */
};

/* Returns 0 or -ENOMEM. */
int relay_init(struct delivery *d, uint32_t max) WARN_UNUSED;
void relay_fini(struct delivery *d);
/* Something is ready at the site, or a place became free: looked at in the next poll. */
void relay_kick(struct delivery *d, struct site *s);
/* Nothing is ready at the site any more. */
void relay_unkick(struct site *s);
/* The site took work off `ready`: domains that waited for room may go on. */
void relay_unblock(struct delivery *d, struct site *s);
/* conn reached a host that takes mail. */
void relay_opened(struct conn *c);
/* conn's host has decided about a recipient. */
void relay_proved(struct conn *c);
/* Has conn, which is at the end of a message, to leave its place to a site that has none? */
bool relay_takes_back(struct conn *c);
/* conn is over: another address if it never got that far, else its place is free. */
void relay_closed(struct conn *c);
unsigned relay_poll(struct delivery *d);
/* No new work: idle connections say QUIT. */
void relay_drain(struct delivery *d);
