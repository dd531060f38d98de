/* SPDX-License-Identifier: BSD-3-Clause
 * Between the parts of the POP3 engine. */
#pragma once
#include "store/pop3/pop3_session.h"

void pop3_say(struct pop3_session *s, const char *text);
/* A -ERR that counts against the peer. */
void pop3_refuse(struct pop3_session *s, const char *text);
/* Submit the op in s->u; its status is looked at by the step that runs next. */
void pop3_submit(struct pop3_session *s, enum access_server_kind to, uint16_t kind);
static inline bool pop3_may_grow(const struct pop3_session *s, enum access_use use)
{
	return s->engine.host->may_grow(s->engine.host_ctx, use);
}
struct pop3_row *pop3_row_at(struct pop3_session *s, uint32_t i);

/* pop3_maildrop.c: after a good login, and at QUIT. */
void pop3_maildrop_open(struct pop3_session *s);
void pop3_maildrop_update(struct pop3_session *s);
/* pop3_retrieve.c: message i, all of it (lines UINT64_MAX) or its top. */
void pop3_retrieve(struct pop3_session *s, uint32_t i, uint64_t lines);
