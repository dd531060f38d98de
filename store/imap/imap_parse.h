/* SPDX-License-Identifier: BSD-3-Clause
 * Lexical parts of IMAP commands (RFC 3501 section 9), over a command that is there in whole.  The
 * command's memory is the session's own: quoted strings are unescaped in place. */
#pragma once
#include "dataplane/base/buf.h"
#include "store/store.h"

struct imap_parse {
	uint8_t *p;
	size_t n, at;
};

static inline bool imap_end(const struct imap_parse *p)
{
	return p->at == p->n;
}
static inline uint8_t imap_peek(const struct imap_parse *p)
{
	return p->at < p->n ? p->p[p->at] : 0;
}
/* Take this octet. */
bool imap_char(struct imap_parse *p, uint8_t c);
static inline bool imap_space(struct imap_parse *p)
{
	return imap_char(p, ' ');
}
/* Take this word, in any case, if it stands here. */
bool imap_word(struct imap_parse *p, const char *word);
/* 1*ATOM-CHAR; empty view: none here. */
struct bytes imap_atom(struct imap_parse *p);
bool imap_string(struct imap_parse *p, struct bytes *r);       /* quoted or literal */
bool imap_astring(struct imap_parse *p, struct bytes *r);      /* or atom with "]" */
bool imap_nstring(struct imap_parse *p, struct bytes *r);      /* or NIL: an empty view */
bool imap_list_mailbox(struct imap_parse *p, struct bytes *r); /* astring with wildcards */
bool imap_number(struct imap_parse *p, uint32_t *r);
/* The octets of a sequence set, whose syntax is checked. */
bool imap_set(struct imap_parse *p, struct bytes *r);
/* Take the next range of a checked set; "*" is UINT32_MAX. */
bool imap_set_next(struct bytes set, size_t *at, uint32_t *lo_r, uint32_t *hi_r);
/* Flags with or without parentheses.  Keywords are copied to names, NUL-terminated each.  Returns
 * false for bad syntax, too many, or \Recent. */
bool imap_flags(struct imap_parse *p, uint32_t *flags_r, struct buf *names);
/* "dd-Mon-yyyy hh:mm:ss +zzzz" with its quotes. */
bool imap_date_time(struct imap_parse *p, uint64_t *ms_r, int16_t *zone_min_r);
/* dd-Mon-yyyy, quoted or not: days since 1970. */
bool imap_date(struct imap_parse *p, int64_t *days_r);
/* A literal's announcement at the end of a line: {n} or {n+}.  False: there is none. */
bool imap_literal_tail(struct bytes line, uint64_t *n_r, bool *wait_r);

#define IMAP_FLAG_N 5
/* Names of the system flags, in order of their bits. */
extern const char *const imap_flag_names[IMAP_FLAG_N];

/* ---- mailbox names: modified UTF-7 (RFC 3501 5.1.3) outside, UTF-8 inside ---- */
/* Returns 0 or -EINVAL (not canonical), -ENOSPC. */
int imap_name_decode(struct bytes in, struct buf *out) WARN_UNUSED;
void imap_name_encode(struct bytes in, struct buf *out);
/* LIST's wildcards over UTF-8 names: "*" anything, "%" anything but "/".  Linear in both. */
bool imap_name_match(struct bytes name, struct bytes pattern);
