/* SPDX-License-Identifier: BSD-3-Clause
 * Trace fields that the server puts in front of a message (RFC 5321 4.4).  Any thread. */
#pragma once
#include "dataplane/base/netaddr.h"

#define TRACE_OCTETS_MAX 1500 /* Received with the longest names and address */

#define TRACE_RETURN_MAX 350 /* Return-Path with the longest address */
#define TRACE_DATE_MAX   40

/* The date of the second that was asked for last: messages of one second have the same.  Zeroed by
 * its owner. */
struct trace_clock {
	uint64_t second;
	uint8_t n; /* octets; 0: none yet */
	uint8_t text[TRACE_DATE_MAX];
};

struct trace {
	struct bytes helo; /* checked: has nothing that could end the line or a comment */
	struct ip_addr peer;
	const char *hostname;
	uint64_t id, received_ms;  /* wall clock */
	struct trace_clock *clock; /* NULL: none is kept */
	bool esmtp, lmtp, authenticated, smtputf8;
	const char *tls_version, *tls_cipher; /* NULL: in clear */
	struct bytes
		only_rcpt; /* the one recipient; empty when there are more: a list would leak Bcc */
};

/* One whole field with its CRLF, appended. */
void trace_received(struct buf *out, const struct trace *t);
/* sender: reverse-path without brackets. */
void trace_return_path(struct buf *out, struct bytes sender);
/* "Sun, 22 Nov 2026 23:11:13 +0000" (RFC 5322 3.3), without line end. */
void trace_date(struct buf *out, uint64_t wall_ms);
