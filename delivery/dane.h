/* SPDX-License-Identifier: BSD-3-Clause
 * DANE for SMTP (RFC 7672): the TLSA records of a mail server, and what they ask of a connection to
 * it.  Asked for only where the way to the host is validated by DNSSEC.  OWNER: one core's thread.
 */
#pragma once
#include "dataplane/base/list.h"
#include "dataplane/tls/tls.h"
#include "delivery/dns/cache.h"

#define DANE_RECORDS_MAX 8   /* of one host that are used; chosen: two keys being rolled are four */
#define DANE_DATA_MAX    128 /* octets of one: digests, and small keys as they are; chosen */
#define DANE_QUERIES_MAX 64  /* under way; chosen */
#define DANE_ALIASES_MAX 8   /* from one name to the next; chosen */

struct conn;
struct delivery;

enum dane_outcome {
	DANE_NONE,    /* no records, or none that is validated: TLS as it can be had */
	DANE_ENCRYPT, /* records, but none that can be used: TLS, whoever answers (2.1.3) */
	DANE_VERIFY,  /* the peer must satisfy one of them */
	DANE_FAILED,  /* the look-up failed: not to be reached now (2.1) */
};

struct dane {
	uint8_t outcome; /* enum dane_outcome */
	/* While it is looked up. */
	uint8_t aliases; /* followed */
	bool records;    /* TLSA is asked for, not CNAME */
	/* The TLSA base domain (RFC 7672 2.2.3): what the host's name stands for where it is an
	 * alias, else that name.  It is also the name that the peer has to show. */
	char name[DNS_NAME_MAX + 1];
	uint8_t count;
	uint32_t print; /* of the records: equal sets have equal prints */
	struct tls_tlsa tlsa[DANE_RECORDS_MAX];
	uint8_t data[DANE_RECORDS_MAX][DANE_DATA_MAX];
};

struct dane_query {
	struct list link; /* free list, or those that wait for a credit */
	struct conn *conn;
	struct delivery *d;
	struct dns_op op;
};

struct danes {
	struct dane_query *queries;
	struct list free, waiting;
	struct list conns; /* that wait for a query (conn.link) */
};

/* What TLSA records mean. */
void dane_judge(struct dane *dane, const struct dns_answer *answer);

/* Returns 0 or -ENOMEM. */
int danes_init(struct delivery *d, uint32_t max) WARN_UNUSED;
void danes_fini(struct delivery *d);
/* Have c->dane filled for the host of c.  True: it is.  False: conn_dane_known(c) follows. */
bool dane_begin(struct conn *c);
/* The resolver has credits again. */
void dane_on_credit(struct delivery *d);
