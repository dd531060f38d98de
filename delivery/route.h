/* SPDX-License-Identifier: BSD-3-Clause
 * The next hop of a domain (RFC 5321 5.1, RFC 7505), as a state machine without I/O: it says what
 * to look up, is fed the answer, and ends in a route or in a verdict on all recipients of the
 * domain.  OWNER: one core's thread.  No allocation. */
#pragma once
#include "dataplane/base/siphash.h"
#include "delivery/dns/cache.h"
#include "delivery/hop.h"

#define ROUTE_ADDRESSES_MAX  16 /* addresses of a route; chosen */
#define ROUTE_HOST_ADDRESSES 4  /* of one host and family; chosen: 100 MX x 100 A stay small */
#define ROUTE_NAMES_MAX      1024
#define ROUTE_REASON_MAX     160

enum route_verdict {
	ROUTE_PENDING, /* wants an answer */
	ROUTE_OK,      /* addresses, at least one */
	ROUTE_DEFER,   /* try again later: reason */
	ROUTE_FAIL,    /* for good: reason */
};

struct route_host {
	uint16_t preference;
	uint16_t name_at; /* in names[] */
	uint8_t name_n;
	bool named;  /* what led to its name is validated by DNSSEC (RFC 7672 2.2) */
	bool secure; /* and its addresses are */
};

struct route_address {
	struct ip_addr ip;
	uint8_t host; /* index into hosts[] */
};

/* Which hosts serve a domain: two domains with equal keys share one site.  Keyed sums over the set
 * of (preference, name), so the order of records plays no part and nobody can make two sets meet.
 */
struct route_key {
	uint64_t a, b;
};

/* Where the mail of a domain goes. */
struct route {
	struct route_key key;
	const struct hop *hop; /* how: never NULL */
	uint32_t ttl;          /* seconds until it is looked up anew */
	uint16_t port;
	uint16_t names_n;
	uint8_t host_count, address_count;
	struct route_host hosts[DNS_RECORDS_MAX];            /* in order of preference */
	struct route_address addresses[ROUTE_ADDRESSES_MAX]; /* in order of trial */
	char names[ROUTE_NAMES_MAX];                         /* each NUL-terminated */
};

/* Why there is no route. */
struct route_refusal {
	uint8_t enhanced[3]; /* RFC 3463 status */
	char reason[ROUTE_REASON_MAX];
};

/* What holds for every route. */
struct route_conf {
	const char *hostname;   /* ours: an MX with this name is a loop */
	const struct hop *hops; /* the routing table */
	uint32_t hop_count;
	struct hop rest; /* for domains that are not in it */
	uint16_t port;
	const struct ip_addr *own; /* also says which families can be sent to */
	uint32_t own_count;
	struct siphash_key keys[2];
};

enum route_stage { ROUTE_STAGE_MX, ROUTE_STAGE_HOSTS, ROUTE_STAGE_DONE };

struct route_query {
	/* out */
	enum route_verdict verdict;
	struct route route;
	struct route_refusal refusal;
	/* its own */
	const struct route_conf *conf;
	enum route_stage stage;
	uint8_t host;    /* whose address is being looked up */
	uint8_t first;   /* in route.addresses: the first of this host */
	bool six;        /* its IPv6 addresses are being looked up, IPv4's come next */
	bool implicit;   /* the domain itself is the host (RFC 5321 5.1: no MX) */
	bool configured; /* the smarthost: mistakes are ours, so nothing fails for good */
	bool self;       /* a host is this one */
	bool prohibited; /* an address was loopback or the like */
	bool failed;     /* a look-up failed for now */
	bool secure;     /* what the host's name came from is validated */
	bool barred;     /* a host is not among those the routing table allows */
	char domain[DNS_NAME_MAX + 1];
};

/* domain: lower case, or an address literal in brackets.  q is written whole. */
void route_query_init(struct route_query *q, const struct route_conf *conf, struct bytes domain);
/* While the verdict is ROUTE_PENDING: what to look up.  name is valid until route_query_feed. */
const char *route_query_wants(const struct route_query *q, enum dns_type *type_r);
void route_query_feed(struct route_query *q, const struct dns_answer *answer);

static inline const char *route_host_name(const struct route *r, uint8_t host)
{
	return r->names + r->hosts[host].name_at;
}

static inline bool route_key_eq(const struct route_key *x, const struct route_key *y)
{
	return x->a == y->a && x->b == y->b;
}

/* "host", "host:port", "ip", "ip:port", "[ip]" or "[ip]:port".  Returns 0 or -EINVAL; *port_r is
 * left alone when there is none. */
int route_smarthost_parse(
	const char *text, char host_r[DNS_NAME_MAX + 1], uint16_t *port_r) WARN_UNUSED;
