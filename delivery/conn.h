/* SPDX-License-Identifier: BSD-3-Clause
 * One connection to a host of a site: a stream, the client engine, a deadline.  It takes attempts
 * that are ready at its site until there are none for a while.  OWNER: one core's thread. */
#pragma once
#include "dataplane/dataplane.h"
#include "delivery/content.h"
#include "delivery/dane.h"
#include "delivery/report.h"
#include "smtp/client.h"

#define CONN_TRIES_MAX 8 /* addresses tried by one connection; chosen */
#define CONN_OUT       4096

enum conn_state {
	CONN_FREE,
	CONN_LOOKING,    /* the host's TLSA records are looked up */
	CONN_CONNECTING, /* or in greeting and EHLO: the host has not shown that it takes mail */
	CONN_READY,      /* waits for an attempt, on site->idle */
	CONN_BUSY,       /* a transaction */
	CONN_LEAVING,    /* QUIT is said */
	CONN_CLOSED,     /* on relay.closed until nothing refers to it any more */
};

#define CONN_DOMAINS_MAX                                                                           \
	16 /* kept in mind; chosen: a peer that allows more is left after so many */

struct conn {
	struct stream stream;
	struct smtp_client client;
	struct list link; /* free list, site->idle, or relay.closed */
	struct timer timer;
	struct delivery *d;
	struct site *site;
	struct report *report;
	struct content content;
	struct conversion *conversion; /* of the message under way; NULL: it goes as it is */
	uint8_t fault;                 /* of the conversion: enum downgrade_fault */
	uint8_t state;                 /* enum conn_state */
	bool again;                    /* CLOSED: go on with the next address */
	bool ours;     /* it ends for a want of ours: neither the host nor the mail has failed */
	bool streamed; /* the stream is to be closed by us */
	bool established, got_ready, message_over, ended, content_asked, expired;
	bool in_clear;             /* TLS failed with this address, which is tried without */
	bool handshaking, secured; /* TLS is under way, is in use */
	bool tied; /* it was for the name of one domain that the peer was trusted: for no other */
	uint32_t tied_to; /* its hash, while the handshake asks for it */
	uint8_t level;    /* enum tls_level, what holds for this host */
	uint8_t tries;
	uint32_t tried; /* bit per address */
	uint8_t address;
	uint32_t messages;
	uint32_t domains[CONN_DOMAINS_MAX]; /* hashes of those named so far, where the peer has a
					       limit */
	uint8_t domain_n;
	struct ip_addr ip;
	char host[DNS_NAME_MAX + 1];
	char tls[24]; /* for the log: "TLSv1.3/verified", "-" */
	struct dane dane;
	struct sasl_client sasl;
	uint16_t end_code; /* how the session ended */
	uint8_t end_status[3];
	char end_text[SMTP_REPLY_TEXT_MAX + 1];
	uint64_t sent, progress; /* octets sent; what the deadline was set for */
	uint64_t progress_us;    /* ... and when */
	uint32_t out_n, out_at;
	uint8_t out[CONN_OUT];
};

void conn_init(struct conn *c, struct delivery *d);
/* Connect to the site's next address, or look up what that needs.  False: none is left, or none
 * could be tried; the reason is in end_text. */
bool conn_connect(struct conn *c);
/* LOOKING: c->dane is filled. */
void conn_dane_known(struct conn *c);
/* READY: take what is ready at the site, or leave. */
void conn_work(struct conn *c);
/* It has been waiting for time to work out its part in AUTH. */
void conn_go_on(struct conn *c);
/* Say QUIT when nothing is under way. */
void conn_leave(struct conn *c);
/* Another site has none: end, if nothing is under way or the host does not answer.  False: it goes
 * on. */
bool conn_give_way(struct conn *c);
/* Messages of others wait for memory: give up the one that is under way if the host does not
 * answer. */
bool conn_give_up(struct conn *c);
/* RST, and forget: at the end of the worker. */
void conn_abort(struct conn *c);
