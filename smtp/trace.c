/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/trace.h"
#include "dataplane/base/clock.h"
#include "dataplane/base/codec.h"
#include "smtp/header.h"

void trace_date(struct buf *out, uint64_t wall_ms)
{
	static const char days[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
	static const char months[12][4] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	uint64_t second = wall_ms / MS_PER_SEC;
	uint64_t day_number = second / 86400; /* 1970-01-01 was a Thursday */
	unsigned left = (unsigned)(second % 86400), month, day;
	int64_t year;

	header_civil((int64_t)day_number, &year, &month, &day);
	/* not printf: one such line for each message */
	buf_str(out, days[day_number % 7]);
	buf_str(out, ", ");
	dec_u64(out, day, 1);
	buf_byte(out, ' ');
	buf_str(out, months[month - 1]);
	buf_byte(out, ' ');
	dec_u64(out, (uint64_t)year, 1);
	const unsigned parts[] = {left / 3600, left / 60 % 60, left % 60};
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
		buf_byte(out, i ? ':' : ' ');
		dec_u64(out, parts[i], 2);
	}
	buf_str(out, " +0000");
}

static void put_date(struct buf *out, struct trace_clock *clock, uint64_t wall_ms)
{
	if (!clock) {
		trace_date(out, wall_ms);
		return;
	}
	if (!clock->n || clock->second != wall_ms / MS_PER_SEC) {
		struct buf text;
		buf_init(&text, clock->text, sizeof(clock->text));
		trace_date(&text, wall_ms);
		clock->second = wall_ms / MS_PER_SEC;
		clock->n = (uint8_t)text.n;
	}
	buf_put(out, bytes_make(clock->text, clock->n));
}

/* RFC 3848, RFC 6531 4.3. */
static void put_protocol(struct buf *out, const struct trace *t)
{
	if (t->lmtp)
		buf_str(out, t->smtputf8 ? "UTF8LMTP" : "LMTP");
	else
		buf_str(out, t->smtputf8 ? "UTF8SMTP" : t->esmtp ? "ESMTP" : "SMTP");
	if (!t->esmtp)
		return; /* plain SMTP has no further words */
	if (t->tls_version)
		buf_str(out, "S");
	if (t->authenticated)
		buf_str(out, "A");
}

void trace_received(struct buf *out, const struct trace *t)
{
	char ip[IP_TEXT_MAX];

	buf_str(out, "Received: from ");
	buf_put(out, t->helo);
	buf_str(out, ip_is_v4(&t->peer) ? " ([" : " ([IPv6:");
	buf_str(out, ip_format(&t->peer, ip));
	buf_str(out, "])\r\n\tby ");
	buf_str(out, t->hostname);
	buf_str(out, " with ");
	put_protocol(out, t);
	if (t->tls_version)
		buf_printf(out, " (%s %s)\r\n\tid ", t->tls_version, t->tls_cipher);
	else
		buf_str(out, " id ");
	hex_u64(out, t->id);
	if (t->only_rcpt.n) {
		buf_str(out, "\r\n\tfor <");
		buf_put(out, t->only_rcpt);
		buf_str(out, ">;\r\n\t");
	} else {
		buf_str(out, ";\r\n\t");
	}
	put_date(out, t->clock, t->received_ms);
	buf_str(out, "\r\n");
}

void trace_return_path(struct buf *out, struct bytes sender)
{
	buf_str(out, "Return-Path: <");
	buf_put(out, sender);
	buf_str(out, ">\r\n");
}
