/* SPDX-License-Identifier: BSD-3-Clause
 * Destinations: the recipient domains that have mail here, and the sites they are served by.  All
 * domains with the same set of next hops share one site; a site has the limits, the connections and
 * the attempts that are ready to go.  Two tables of fixed size; what is idle makes room.
 * OWNER: one core's thread. */
#pragma once
#include <stdatomic.h>
#include "dataplane/base/list.h"
#include "dataplane/tls/tls.h"
#include "delivery/backlog.h"
#include "delivery/route.h"
#include "store/store.h"

#define DEST_DOWN_MIN_US (5 * US_PER_SEC)  /* a site that failed is left alone so long; doubles */
#define DEST_DOWN_MAX_US (60 * US_PER_SEC) /* chosen: shorter than a sensible first retry */
#define DEST_BAD_US      (60 * US_PER_SEC) /* an address that failed is tried last so long */
#define DEST_UNPROVEN    4 /* chosen: connections to a site that has decided about no mail lately */
#define DEST_ASK_US      US_PER_SEC /* chosen: between two requests for a connection of others */
#define DEST_PROVEN_US   (60 * US_PER_SEC) /* chosen: lately */

enum domain_state {
	DOMAIN_UNKNOWN,
	DOMAIN_RESOLVING,
	DOMAIN_ROUTED,  /* site is set */
	DOMAIN_REFUSED, /* refusal is set */
};

/* Where the domain's link is. */
enum domain_place {
	DOMAIN_NOWHERE,
	DOMAIN_IDLE,
	DOMAIN_RUNNABLE,
	DOMAIN_BLOCKED, /* by its site */
	DOMAIN_LOOKING, /* it waits for a look-up to become free */
};

struct domain {
	struct list link;      /* one of enum domain_place */
	struct list site_link; /* site->domains */
	struct site *site;
	struct backlog backlog;  /* recipients that are due and not in an attempt */
	uint64_t route_until_us; /* then it is looked up anew */
	uint64_t next_ms;        /* for people: about the earliest attempt put off */
	uint32_t hash_next;      /* 1 + index */
	uint32_t refs;           /* recipients in the schedule that name it */
	uint8_t state, place, name_n;
	bool refused_for_good;
	struct route_refusal refusal;
	char name[DNS_NAME_MAX + 1];
};

struct site {
	struct list link; /* idle list, when there is neither an attempt nor a connection */
	struct list kick; /* on one of the relay's lists of sites with something to do */
	struct list domains, blocked; /* routed here; waiting for room in `ready` */
	struct list ready;            /* attempts to be made */
	struct list idle;             /* connections that wait for mail */
	uint32_t hash_next;           /* 1 + index */
	uint32_t ready_n;
	uint32_t holds;                /* attempts that point here, ready or not */
	uint32_t connections, opening; /* all; those that are not ready for mail yet */
	uint32_t failures;             /* in a row */
	bool starving;                 /* it is on the relay's list of these */
	bool want;                     /* what enough_until_us is about is memory of ours */
	uint64_t proven_until_us;      /* it has taken or refused mail lately */
	uint64_t down_until_us;
	uint64_t enough_until_us; /* one more could not be opened: none until then */
	uint64_t asked_us;        /* when we wanted one of what other workers have */
	uint64_t bad_until_us[ROUTE_ADDRESSES_MAX];
	uint64_t clear_until_us[ROUTE_ADDRESSES_MAX]; /* TLS failed there and can be done without */
	struct tls_ticket *ticket;                    /* of the last session with a host; or NULL */
	uint32_t ticket_print;                        /* what it was trusted for */
	struct sasl_salted salted;                    /* of the login there */
	struct route route;
	uint16_t code; /* why it is down */
	uint8_t status[3];
	char reason[STORE_REASON_MAX + 1];
};

/* Connections to sites by all workers of the process, so that they keep a site's limit together:
 * slots by the site's key, which is the same in all of them.  Two sites that meet in a slot share
 * its limit.  Made by main, used by every worker. */
#define DEST_SHARES 16384 /* chosen: four times the sites of a worker */
struct dest_shares {
	struct siphash_key keys[2]; /* of route keys */
	atomic_uint connections[DEST_SHARES];
	/* Until when a worker that has none wants one (second of the clock); 0: nobody does. */
	atomic_uint wanted[DEST_SHARES];
};

struct dest_limits {
	struct dest_shares *shares; /* NULL: this worker is the only one */
	uint32_t domains_max, sites_max;
	uint32_t connections_max, site_connections_max;
	uint32_t ready_max; /* attempts ready at one site */
};

struct dest {
	struct dest_limits limits;
	struct siphash_key key;
	struct domain *domains;
	struct site *sites;
	uint32_t *domain_table, *site_table;
	uint32_t domain_mask, site_mask;
	uint32_t domains_fresh, sites_fresh; /* entries from here on were never used */
	uint32_t domains_used;               /* with recipients */
	uint32_t connections;
	struct list domains_idle, sites_idle; /* oldest first */
	struct list runnable;                 /* domains with a backlog that may go on */
	struct list looking;                  /* ... and those that wait for a look-up */
};

/* Returns 0 or -ENOMEM. */
int dest_init(struct dest *t, const struct dest_limits *limits) WARN_UNUSED;
void dest_fini(struct dest *t);

/* ---- domains ---- */

/* NULL: not in the table. */
struct domain *dest_domain_find(const struct dest *t, struct bytes name);
/* Find or make.  NULL: the table is full of domains with mail. */
struct domain *dest_domain_get(struct dest *t, struct bytes name);
static inline struct domain *dest_domain(const struct dest *t, uint32_t index)
{
	return &t->domains[index];
}
static inline uint32_t dest_domain_index(const struct dest *t, const struct domain *d)
{
	return (uint32_t)(d - t->domains);
}
void dest_domain_ref(struct dest *t, struct domain *d);
void dest_domain_unref(struct dest *t, struct domain *d);
/* A look-up begins: until it ends the domain is not given to another. */
void dest_domain_resolve(struct dest *t, struct domain *d);
/* What a look-up gave.  seconds: how long it holds. */
void dest_domain_route(struct domain *d, struct site *site, uint32_t seconds, uint64_t now_us);
void dest_domain_refuse(struct domain *d, const struct route_refusal *refusal, bool for_good,
	uint32_t seconds, uint64_t now_us);
/* Look the domain up anew and try its site at once: an operator asked for it. */
void dest_domain_refresh(struct domain *d);
/* Put the domain where its link belongs (a place other than DOMAIN_BLOCKED needs no site). */
void dest_domain_place(struct dest *t, struct domain *d, enum domain_place place);

/* ---- sites ---- */

/* The site of a route: found or made, with the route's addresses from now on.  NULL: full. */
struct site *dest_site_get(struct dest *t, const struct route *route);
void dest_site_hold(struct dest *t, struct site *s);
void dest_site_release(struct dest *t, struct site *s);
/* What sessions could be resumed with is forgotten: trust is to be made anew. */
void dest_forget_tickets(struct dest *t);
/* Count a connection that begins or ends. */
void dest_site_connect(struct dest *t, struct site *s);
void dest_site_disconnect(struct dest *t, struct site *s);

/* Do all workers together have as many connections to the site as one may have?  Two that look at
 * once may both go on: it is exceeded by one for each further worker at most. */
bool dest_share_full(const struct dest *t, const struct site *s);
/* Other workers have all, and we have none: ask for one. */
void dest_share_ask(const struct dest *t, struct site *s, uint64_t now_us);
/* Has another worker asked?  True: give one up to it; none is opened here for a second. */
bool dest_share_asked(const struct dest *t, struct site *s, uint64_t now_us);
/* How many connections it may have now.  One that decides about no mail, whatever else it answers,
 * is not to hold the connections that others could use. */
static inline uint32_t dest_site_limit(const struct dest *t, const struct site *s, uint64_t now_us)
{
	uint32_t max = t->limits.site_connections_max;

	return s->proven_until_us > now_us ? max : MIN(max, (uint32_t)DEST_UNPROVEN);
}
/* Is there mail for one more connection than the site has, and is it allowed that many? */
static inline bool dest_site_wants(const struct dest *t, const struct site *s, uint64_t now_us)
{
	return s->ready_n > s->opening && s->connections < dest_site_limit(t, s, now_us);
}
/* May that one be opened? */
static inline bool dest_site_may_connect(
	const struct dest *t, const struct site *s, uint64_t now_us)
{
	return dest_site_wants(t, s, now_us) && s->enough_until_us <= now_us &&
	       t->connections < t->limits.connections_max && !dest_share_full(t, s);
}
/* Is as much ready at the site as may be?  scarce: memory is, so that it may be no more than its
 * connections can take next. */
static inline bool dest_site_full(const struct dest *t, const struct site *s, bool scarce)
{
	return s->ready_n >=
	       (scarce ? MAX(MIN(s->connections, t->limits.ready_max), 1u) : t->limits.ready_max);
}
static inline bool dest_site_down(const struct site *s, uint64_t now_us)
{
	return s->down_until_us > now_us;
}
/* No host of the site can be reached.  reason: printable. */
void dest_site_failed(struct site *s, uint16_t code, const uint8_t status[3], const char *reason,
	uint64_t now_us);
/* A connection to it has opened. */
void dest_site_worked(struct site *s);
/* It has taken a message, or said that it does not. */
static inline void dest_site_proved(struct site *s, uint64_t now_us)
{
	s->proven_until_us = now_us + DEST_PROVEN_US;
}
/* The address to try next: in order, those that failed lately last.  tried: bit per address.
 * -1: all were tried. */
int dest_site_next_address(const struct site *s, uint32_t tried, uint64_t now_us);
