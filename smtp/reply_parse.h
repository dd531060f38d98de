/* SPDX-License-Identifier: BSD-3-Clause
 * Replies of a peer (RFC 5321 4.2), which may be hostile: bounded in line length, lines and text,
 * every line with the same code, lines that end in CRLF only.  One owner, no allocation. */
#pragma once
#include "dataplane/base/bytes.h"

#define SMTP_REPLY_LINE_MAX  512  /* RFC 5321 4.5.3.1.5; longer lines are cut, 8 kB ends it */
#define SMTP_REPLY_LINE_HARD 8192 /* octets of one line; chosen */
#define SMTP_REPLY_LINES_MAX 64   /* chosen: a longer reply is hostile, treated as 421 */
#define SMTP_REPLY_TEXT_MAX  240  /* kept for `queue list` and DSNs; escaped to printable ASCII */

/* What a peer said, already made safe to print and store. */
struct smtp_reply_info {
	uint16_t code;       /* 0: none (the connection failed) */
	uint8_t enhanced[3]; /* class 0: none given */
	uint8_t text_n;
	char text[SMTP_REPLY_TEXT_MAX];
};

enum reply_verdict {
	REPLY_MORE, /* all input taken, the reply is not complete */
	REPLY_LINE, /* a line of the reply is complete and others follow; see reply_parser_text */
	REPLY_DONE, /* the reply is complete */
	REPLY_BAD,  /* not a reply; nothing more can be read from this peer */
};

struct reply_parser {
	struct smtp_reply_info info;
	bool more; /* a reply has begun */
	bool bad;  /* stays */
	bool cr;   /* the last octet was a CR */
	uint8_t lines;
	uint16_t line_n;      /* octets kept in line */
	uint32_t line_octets; /* octets of the line, kept or not */
	uint8_t line[SMTP_REPLY_LINE_MAX];
};

void reply_parser_init(struct reply_parser *p);
/* Parse up to the end of one line; *used_r: octets taken.  info is valid after REPLY_DONE until the
 * next call. */
enum reply_verdict reply_parse(struct reply_parser *p, struct bytes in, size_t *used_r);
/* The text of the line that REPLY_LINE or REPLY_DONE told of, behind the code, as the peer sent it.
 * Valid until the next call. */
struct bytes reply_parser_text(const struct reply_parser *p);
/* An info of our own making; code 0: the connection failed.  enhanced: "5.3.4" or NULL. */
void reply_info_make(
	struct smtp_reply_info *info, uint16_t code, const char *enhanced, const char *text);
