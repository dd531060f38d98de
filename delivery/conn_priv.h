/* SPDX-License-Identifier: BSD-3-Clause
 * Between conn.c (a connection's way) and conn_tls.c (its TLS). */
#pragma once
#include "delivery/conn.h"

/* Why the host cannot be reached. */
void conn_end_set_connect(struct conn *c, const uint8_t status[3], const char *why);

/* conn_convert.c: the message under way is to go as `to`.  False: no memory. */
bool conn_convert_begin(struct conn *c, enum body_type to, bool utf8);
struct bytes conn_convert_next(struct conn *c, size_t want, bool *end_r);
/* c->fault: the message cannot be converted. */
void conn_convert_refuse(struct conn *c);
void conn_convert_end(struct conn *c);

/* conn_tls.c: for the address that is tried next. */
void conn_tls_reset(struct conn *c);
/* Are its TLSA records to be looked up first? */
bool conn_tls_wants_records(const struct conn *c);
/* The records are known, or not wanted.  False: the host cannot be used now; end_set is done. */
bool conn_tls_settle(struct conn *c);
void conn_tls_demand(struct conn *c, struct smtp_client_demand *demand);
/* Put TLS on the stream; on_secure or on_close follows, or the session has ended. */
void conn_tls_begin(struct conn *c);
void conn_tls_secured(struct conn *c);
/* Ends the session; in_clear is set when the host may be tried without. */
void conn_tls_failed(struct conn *c, const char *why);
/* Before the stream is closed. */
void conn_tls_keep_ticket(struct conn *c);
