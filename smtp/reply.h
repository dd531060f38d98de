/* SPDX-License-Identifier: BSD-3-Clause
 * Replies of the server: one table (reply.def) of codes, enhanced codes and texts.  Any thread, no
 * allocation. */
#pragma once
#include "dataplane/base/buf.h"

enum reply_id {
	REPLY_PENDING,   /* no verdict yet: the session parks */
	REPLY_SUBMITTED, /* at the writer: this reply waits for the commit, the session goes on */
#define REPLY(id, code, enhanced, text) REPLY_##id,
#define REPLY_MADE(id, code, enhanced)  REPLY_##id,
#include "smtp/reply.def"
#undef REPLY
#undef REPLY_MADE
	REPLY_N
};

#define REPLY_OCTETS_MAX 768 /* the longest: EHLO with a host name of 255 octets */
#define REPLY_WORDS_MAX  256 /* octets of a refusal in words of its own, with the NUL */

/* What EHLO announces beside what is always offered; and what it does not say all the same, where
 * clients are tested. */
enum reply_ehlo {
	EHLO_STARTTLS = 1,
	EHLO_AUTH = 2,
	EHLO_REQUIRETLS = 4,
	EHLO_XCLIENT = 8,
	EHLO_SCRAM = 16, /* with EHLO_AUTH */
	EHLO_SCRAM_PLUS = 32,
	EHLO_MT_PRIORITY = 64,
	EHLO_NO_PIPELINING = 1 << 8,
	EHLO_NO_8BITMIME = 1 << 9, /* and what needs it: BINARYMIME, SMTPUTF8 (RFC 6531 3.1) */
	EHLO_NO_DSN = 1 << 10,
	EHLO_NO_ENHANCED = 1 << 11, /* ENHANCEDSTATUSCODES; replies have them */
	EHLO_NO_ESMTP = 1 << 12,    /* EHLO itself is unknown */
};

/* What the texts that are made need. */
struct reply_args {
	const char *hostname;
	uint64_t size_max;       /* EHLO: SIZE */
	uint32_t rcpt_max;       /* EHLO: LIMITS (RFC 9422) */
	uint32_t mail_max;       /* the same; 0: no limit */
	uint32_t domain_max;     /* the same */
	uint64_t id;             /* QUEUED */
	unsigned ehlo;           /* enum reply_ehlo */
	bool lmtp;               /* GREETING */
	struct bytes challenge;  /* AUTH_CHALLENGE */
	const char *soft, *hard; /* SOFT, HARD: code and text; NULL: what the table says */
};

/* Append the whole reply with its CRLF. */
void reply_format(enum reply_id id, const struct reply_args *args, struct buf *out);
/* The same where nothing is made; else empty. */
struct bytes reply_line(enum reply_id id);
/* 220..555. */
unsigned reply_code(enum reply_id id);
/* "5.1.1", or "" where there is none. */
const char *reply_enhanced(enum reply_id id);
static inline bool reply_is_success(enum reply_id id)
{
	return id > REPLY_SUBMITTED && reply_code(id) < 400;
}
