/* SPDX-License-Identifier: BSD-3-Clause
 * Content for a next hop that takes less than the message has: 8-bit and binary body parts become
 * quoted-printable or base64 (RFC 6152 3, RFC 3030 3), part by part, with their header fields
 * changed to say so.  What needs no change passes octet for octet.  Streaming, equal at every
 * split, no allocation, depth and fields bounded.  One owner. */
#pragma once
#include "dataplane/base/buf.h"
#include "smtp/envelope.h"
#include "smtp/mime.h"

#define DOWNGRADE_ROOM     1024 /* octets of space that out must have for anything to be done */
#define DOWNGRADE_TYPE     1024 /* octets of a Content-Type field that are looked at; chosen */
#define DOWNGRADE_NAME     32   /* "content-transfer-encoding:", and some blanks */
#define DOWNGRADE_ENCODING 32   /* octets of an encoding's name */

/* Why the message cannot be converted. */
enum downgrade_fault {
	DOWNGRADE_FINE,
	DOWNGRADE_HEADER,   /* 8-bit octets in a header: not for RFC 6152, but RFC 6531 */
	DOWNGRADE_MARKED,   /* 8-bit octets in a part that says it has none, or that is signed */
	DOWNGRADE_TOO_DEEP, /* more nested parts than MIME_DEPTH_MAX */
};

struct downgrade {
	uint8_t to;        /* enum body_type */
	bool utf8;         /* headers may have 8-bit octets (RFC 6532) */
	uint8_t fault;     /* enum downgrade_fault; stays */
	uint8_t state;     /* enum of downgrade.c */
	uint8_t method;    /* enum of downgrade.c: what is done to the body of this part */
	bool top;          /* the message's own header */
	bool mime, typed;  /* it has MIME-Version; this one has Content-Type */
	bool cr, line_end; /* a CR, a line end are held back */
	bool at_line;      /* at the start of a line of a body */
	/* header: the field under way */
	uint8_t field;  /* enum of downgrade.c */
	uint8_t name_n; /* octets held of a line that may begin a field */
	char name[DOWNGRADE_NAME];
	uint8_t encoding_n;
	char encoding[DOWNGRADE_ENCODING];
	uint16_t type_n;
	uint8_t type[DOWNGRADE_TYPE];
	/* body */
	uint8_t head_n; /* octets held of a line that may be a delimiter */
	uint8_t match;  /* they are one, of level match - 1, or the beginning of a longer one */
	uint8_t dashes; /* of the delimiter's end */
	uint8_t space;  /* QP: white space held back; 0: none */
	uint8_t column;
	uint8_t group_n, group[3]; /* base64 */
	uint8_t head[MIME_BOUNDARY_MAX + 2];
	uint8_t level_n, opened; /* open multiparts; messages and multiparts opened in all */
	struct {
		uint8_t boundary_n;
		bool digest, signature;
		char boundary[MIME_BOUNDARY_MAX];
	} levels[MIME_DEPTH_MAX];
};

/* to: BODY_7BIT or BODY_8BITMIME.  utf8: the next hop takes 8-bit headers. */
void downgrade_init(struct downgrade *d, enum body_type to, bool utf8);
/* Take octets of in and append to out while it has DOWNGRADE_ROOM.  Returns octets taken; none
 * after a fault. */
size_t downgrade_feed(struct downgrade *d, struct bytes in, struct buf *out);
/* There is no more.  out must have DOWNGRADE_ROOM. */
void downgrade_end(struct downgrade *d, struct buf *out);
