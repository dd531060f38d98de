/* SPDX-License-Identifier: BSD-3-Clause
 * Between the parts of the IMAP engine.  A step runs when no op is under way and there is room in
 * `out`; it returns after a bounded amount of work and is called again until it changes s->step. */
#pragma once
#include "store/imap/imap_parse.h"
#include "store/imap/imap_session.h"

/* ---- imap_session.c ---- */
static inline struct access_out *imap_out(struct imap_session *s)
{
	return &s->engine.out;
}
static inline bool imap_room(struct imap_session *s)
{
	return access_out_bytes(&s->engine.out) < ACCESS_OUT_HIGH;
}
static inline bool imap_may_grow(const struct imap_session *s, enum access_use use)
{
	return s->engine.host->may_grow(s->engine.host_ctx, use);
}
/* End the command: changes of the mailbox are told, then `tag reply`.  reply: static text. */
void imap_finish(struct imap_session *s, const char *reply);
/* The tagged line now, and the command is over. */
void imap_reply_now(struct imap_session *s, const char *reply);
/* What a session may do to log in, as capabilities with a space in front. */
const char *imap_login_capabilities(const struct access_engine *e);
void imap_command_over(struct imap_session *s);
/* Submit the op in s->u; `then` runs when it is done. */
void imap_submit(struct imap_session *s, enum access_server_kind to, uint16_t kind, imap_step then);
/* Try the same step again a little later: no memory now. */
void imap_retry(struct imap_session *s);
/* The text of a failed op. */
const char *imap_error_text(int status);
/* State of the command in a chunk of its own, zeroed; false: retried later by itself. */
bool imap_work_get(struct imap_session *s);
/* s->uids; false: retried later by itself. */
bool imap_uids_get(struct imap_session *s);
void imap_uids_put(struct imap_session *s);

/* ---- imap_command.c: name and argument of a whole command ---- */
void imap_dispatch(struct imap_session *s);

typedef void (*imap_handler)(struct imap_session *s, struct imap_parse *p);
#define IMAP_COMMAND(name, states, handler)                                                        \
	void imap_##handler(struct imap_session *, struct imap_parse *);
#include "store/imap/imap_command.def"
#undef IMAP_COMMAND
void imap_bad(struct imap_session *s, const char *text);
/* A mailbox name argument, decoded into name[MBOX_NAME_MAX]; else the refusal was said. */
bool imap_mailbox_arg(struct imap_session *s, struct imap_parse *p, char *name, uint16_t *n_r);
/* "inbox" in any case is INBOX; what lies under it keeps its own case. */
void imap_inbox_fold(char *name, uint16_t n);
/* ---- imap_list.c: uses of mailboxes (RFC 6154) ---- */
const char *imap_special_name(uint8_t special); /* "" or "\\Sent" */
uint8_t imap_special_of(struct bytes name);     /* without the backslash; SPECIAL_NONE: unknown */
/* SP and the end of arguments. */
bool imap_args_end(struct imap_session *s, struct imap_parse *p);

/* ---- imap_text.c: what is sent ---- */
void imap_put_string(struct access_out *o, struct bytes b); /* quoted or literal */
void imap_put_nstring(struct access_out *o, struct bytes b, bool there);
void imap_put_name(struct access_out *o, struct bytes utf8);
void imap_put_flags(struct imap_session *s, const struct imap_row *r);
void imap_put_internaldate(struct access_out *o, uint64_t ms, int16_t zone_min);
/* i-th keyword of the selected mailbox. */
struct bytes imap_keyword(const struct imap_session *s, uint32_t i);

/* ---- imap_index.c: the selected mailbox ---- */
struct imap_row *imap_row_at(const struct imap_session *s, uint32_t i);
/* Index of the first row with a UID >= uid. */
uint32_t imap_row_find(const struct imap_session *s, uint32_t uid);
/* Mark the rows of a set.  -EINVAL: sequence number out of range; -E2BIG: too many ranges. */
int imap_mark_set(struct imap_session *s, struct bytes set, bool uid);
/* The next marked row at or after i, or UINT32_MAX. */
uint32_t imap_marked_from(const struct imap_session *s, uint32_t i);
/* Collect marked rows' UIDs (with all of `flags` set and none of `without`) into s->uids from
 * s->at on, at most max. */
void imap_uids_collect(struct imap_session *s, uint32_t flags, uint32_t without, uint32_t max);
void imap_unselect_now(struct imap_session *s);
/* s->box_name is set: load rows, then `then`; u.op.status tells. */
void imap_index_load(struct imap_session *s, imap_step then);
/* Bring rows up to date, then `then`. */
void imap_index_refresh(struct imap_session *s, imap_step then);
/* Reload keyword names, then `then`. */
void imap_keywords_load(struct imap_session *s, imap_step then);
/* Untagged EXPUNGE, EXISTS, FETCH for what has changed, then `then`. */
void imap_announce(struct imap_session *s, imap_step then);

/* ---- imap_append.c ---- */
/* The command so far ends in a literal of n octets: if that is APPEND's message, take over. */
bool imap_append_begins(struct imap_session *s, uint64_t n, bool wait);
size_t imap_append_input(struct imap_session *s, struct bytes data);
bool imap_append_wants(const struct imap_session *s);
void imap_append_drop(struct imap_session *s);
/* The line behind the message is none: nothing is appended.  error: static text. */
void imap_append_end(struct imap_session *s, const char *error);
