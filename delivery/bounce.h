/* SPDX-License-Identifier: BSD-3-Clause
 * Delivery status notifications: multipart/report (RFC 6522) with a human part,
 * message/delivery-status (RFC 3464) and the original or its header; with addresses beyond ASCII
 * the forms of RFC 6533.  Built in chunks as a message from <>, about which no notification is ever
 * asked.  Core's thread. */
#pragma once
#include "smtp/dsn.h"
#include "smtp/envelope.h"

#define BOUNCE_HEADER_MAX 8192         /* octets of the original's header that go back; chosen */
#define BOUNCE_FULL_MAX   (128 * 1024) /* octets of an original that goes back whole; chosen */

/* RFC 3464 2.3.3; worst first. */
enum bounce_action {
	BOUNCE_NONE,
	BOUNCE_FAILED,
	BOUNCE_DELAYED,
	BOUNCE_RELAYED,   /* to who does not know RFC 3461 */
	BOUNCE_EXPANDED,  /* to more than one address behind an alias */
	BOUNCE_DELIVERED, /* to a mailbox */
};

/* One recipient. */
struct bounce_rcpt {
	struct bytes address;
	struct bytes orcpt; /* as the sender said it; empty: not given */
	const char *reason; /* printable ASCII, NUL-terminated */
	const char *host;   /* who said so; NULL: nobody else */
	uint16_t code;      /* the peer's SMTP code; 0: the reason is ours */
	uint8_t status[3];  /* RFC 3463; the class follows from the action */
	uint8_t action;     /* enum bounce_action */
};

struct bounce {
	uint64_t id;     /* of the report */
	uint64_t salt;   /* in the boundary: not to be guessed */
	uint64_t now_ms; /* wall clock */
	const char *hostname;
	uint64_t original_id, original_ms; /* queue id and time of arrival */
	uint64_t expire_ms;                /* BOUNCE_DELAYED: tried until then; 0: not known */
	struct bytes to;                   /* the original's sender; not empty */
	struct bytes envid;                /* as the sender said it; empty: not given */
	enum rcpt_route route;             /* of `to` */
	uint32_t account;                  /* RCPT_LOCAL */
	const struct bounce_rcpt *rcpts;
	uint32_t rcpt_count;
	bool smtputf8, requiretls; /* the original's */
	int8_t priority;           /* the same (RFC 6710 5.2) */
	struct bytes original;     /* the original from its first octet on; cut after its header */
	/* The whole original instead: octets of two chains, of the first from `skip` on.  NULL: the
	 * header.  With CRLF only. */
	const struct chain *full[2];
	size_t skip;
	bool eight_bit; /* it has 8-bit octets */
};

/* Returns a message with one reference, or NULL: no chunks or message heads now. */
struct message *bounce_build(const struct bounce *b);

/* The complete header lines at the start of original, without the empty line: at most
 * BOUNCE_HEADER_MAX octets, cut at the end of a line. */
struct bytes bounce_header_of(struct bytes original);
