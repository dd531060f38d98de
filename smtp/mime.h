/* SPDX-License-Identifier: BSD-3-Clause
 * Incremental scanner of MIME structure (RFC 2045, 2046): bytes in, a table of parts with their
 * offsets out.  Nothing is decoded and nothing is allocated; depth, parts and header octets are
 * bounded, what is beyond the bounds is body text of the part before.  Any thread. */
#pragma once
#include "dataplane/base/buf.h"

#define MIME_DEPTH_MAX    16  /* chosen: nested multiparts and messages */
#define MIME_PARTS_MAX    256 /* chosen */
#define MIME_BOUNDARY_MAX 128 /* RFC 2046 5.1.1 says 70; some senders exceed it */
#define MIME_LINE_HEAD    (MIME_BOUNDARY_MAX + 32) /* octets of a line looked at */

enum mime_kind { MIME_LEAF, MIME_MULTIPART, MIME_MESSAGE };

/* An entity: header and body.  Part 0 is the message itself.  A MIME_MESSAGE has one child, the
 * message in it; a MIME_MULTIPART has its parts, numbered from 1. */
struct mime_part {
	uint16_t parent; /* index; part 0: 0 */
	uint16_t number; /* among the parts of a multipart; 0: a message */
	uint16_t children;
	uint8_t kind; /* enum mime_kind */
	uint8_t depth;
	uint32_t header_at, header_n; /* its fields, without the empty line, in the header memory */
	uint64_t header_offset;       /* in the message */
	uint64_t body_offset, end;    /* body: [body_offset, end) */
	uint32_t body_line, lines;    /* line ends in the body */
	bool digest;                  /* multipart/digest: parts are messages by default */
	bool header_cut;              /* header memory was full */
};

struct mime_level {
	uint16_t part;
	uint8_t boundary_n;
	char boundary[MIME_BOUNDARY_MAX];
};

struct mime_scan {
	struct mime_part *parts;
	unsigned part_count, parts_max;
	struct buf headers;
	bool header_only; /* stop after the header of part 0 */
	bool done;        /* nothing more is needed */
	/* scanning */
	uint64_t offset; /* octets fed */
	uint64_t line_start;
	uint32_t line_count;     /* line ends seen */
	uint32_t line_header_at; /* header memory before this line */
	uint8_t line_end_n;      /* octets of the line end before this line */
	bool in_header;
	bool last_cr;
	uint16_t current; /* innermost open part */
	uint16_t head_n;
	unsigned level_count;
	uint8_t head[MIME_LINE_HEAD]; /* first octets of the line */
	struct mime_level levels[MIME_DEPTH_MAX];
};

/* parts[parts_max] and the header memory are the caller's, until the results are no longer used. */
void mime_scan_init(struct mime_scan *s, struct mime_part *parts, unsigned parts_max,
	void *header_memory, size_t header_cap);
/* Feed octets in order, in pieces of any size. */
void mime_scan_feed(struct mime_scan *s, struct bytes data);
/* End of the message: closes what is open. */
void mime_scan_end(struct mime_scan *s);

/* The fields of a part; valid while the header memory is. */
struct bytes mime_part_header(const struct mime_scan *s, unsigned part);
/* Child of part with that number (0: the message in a MIME_MESSAGE); -1: none. */
int mime_part_child(const struct mime_scan *s, unsigned part, unsigned number);
