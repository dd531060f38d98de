/* SPDX-License-Identifier: BSD-3-Clause
 * Non-delivery reports: multipart/report (RFC 6522) with a human part, message/delivery-status (RFC
 * 3464) and the header of the original.  Built in chunks as a message from <>.  Core's thread. */
#pragma once
#include "smtp/envelope.h"

#define BOUNCE_HEADER_MAX 8192 /* octets of the original's header that go back; chosen */

/* One recipient that failed. */
struct bounce_rcpt {
	struct bytes address;
	const char *reason; /* printable ASCII, NUL-terminated */
	uint16_t code;      /* the peer's SMTP code; 0: the reason is ours */
	uint8_t status[3];  /* RFC 3463 */
};

struct bounce {
	uint64_t id;     /* of the report */
	uint64_t now_ms; /* wall clock */
	const char *hostname;
	uint64_t original_id, original_ms; /* queue id and time of arrival */
	struct bytes to;                   /* the original's sender; not empty */
	enum rcpt_route route;             /* of `to` */
	uint32_t account;                  /* RCPT_LOCAL */
	const struct bounce_rcpt *rcpts;
	uint32_t rcpt_count;
	struct bytes original; /* the original from its first octet on; cut after its header */
};

/* Returns a message with one reference, or NULL: no chunks or message heads now. */
struct message *bounce_build(const struct bounce *b);

/* The complete header lines at the start of original, without the empty line: at most
 * BOUNCE_HEADER_MAX octets, cut at the end of a line. */
struct bytes bounce_header_of(struct bytes original);
