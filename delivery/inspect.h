/* SPDX-License-Identifier: BSD-3-Clause
 * Looking into a delivery worker from its own core: where a recipient is on its way, and what its
 * domain and site are doing.  Copies only; nothing is changed.  OWNER: one core's thread. */
#pragma once
#include "delivery/delivery.h"

#define DELIVERY_HOSTS_TEXT 160 /* octets of the names of a site's first hosts, with the NUL */

/* Where a recipient is. */
enum delivery_place {
	DELIVERY_NOT_IN_MEMORY, /* the store has it; read when its time comes or there is room */
	DELIVERY_WAITING,       /* for the time of its next attempt */
	DELIVERY_BACKLOG,       /* due; for its turn in its domain */
	DELIVERY_READING,       /* the message is being read from the store */
	DELIVERY_READY,         /* for a connection to its site */
	DELIVERY_REFUSED,       /* there is no route: the refusal is on its way to the store */
	DELIVERY_SENDING,       /* on a connection */
	DELIVERY_STORING,       /* over; the result is on its way to the store */
	DELIVERY_PLACE_N
};

/* What is known of the next hops of a domain. */
enum delivery_route {
	DELIVERY_ROUTE_UNKNOWN,   /* nobody asked yet */
	DELIVERY_ROUTE_RESOLVING, /* the resolver is being asked */
	DELIVERY_ROUTE_FOUND,     /* hosts, and what follows */
	DELIVERY_ROUTE_NONE,      /* reason says why */
};

struct delivery_domain_info {
	char name[DNS_NAME_MAX + 1];
	uint8_t route;                            /* enum delivery_route */
	uint32_t recipients, backlog;             /* in memory; of these due and not under way */
	uint64_t next_ms;                         /* earliest attempt that is known of; 0: none */
	char hosts[DELIVERY_HOSTS_TEXT];          /* the site's first hosts */
	uint32_t addresses, connections, opening; /* of the site */
	uint32_t connections_max;                 /* site_connections */
	uint32_t connections_now; /* as long as the site decides about no mail: fewer */
	bool shared_full;         /* other cores have connections_max of them */
	uint64_t
		enough_us; /* one more could not be opened: none for so long; 0: nothing is known */
	bool want;         /* ... for want of memory here */
	uint32_t ready, failures; /* attempts ready; connects failed in a row */
	uint64_t down_us;         /* left alone for so long; 0: not */
	uint16_t code;            /* why, or why there is no route */
	char reason[STORE_REASON_MAX + 1];
};

/* What all domains of a worker share. */
struct delivery_worker_info {
	bool loading, draining;
	bool results_wait; /* the writer's ring is full */
	bool jobs_full;    /* all the messages that may be in memory are being worked on */
	uint32_t connections, connections_max;
	bool starving;                       /* a site without any connection waits for one */
	uint32_t lookups;                    /* under way */
	uint32_t recipients, recipients_max; /* in memory */
};

struct delivery_recipient_info {
	uint8_t place; /* enum delivery_place */
	uint16_t attempts;
	uint64_t next_ms;                   /* WAITING */
	char host[DNS_NAME_MAX + 1];        /* SENDING: to whom */
	const char *step;                   /* SENDING: "connecting", "sending" ... */
	struct delivery_domain_info domain; /* name empty: not known here */
	struct delivery_worker_info worker;
};

/* Recipient number rcpt, as the store counts, of message id. */
void delivery_inspect(const struct delivery *d, uint64_t id, uint32_t rcpt, struct bytes domain,
	struct delivery_recipient_info *out);

/* Domains that have mail, from place *from_r on: at most max rows after looking at no more than
 * look places.  *from_r is where to go on; DELIVERY_DOMAINS_END: that was all. */
#define DELIVERY_DOMAINS_END UINT32_MAX
unsigned delivery_domains(const struct delivery *d, uint32_t *from_r, unsigned look,
	struct delivery_domain_info *out, unsigned max);
