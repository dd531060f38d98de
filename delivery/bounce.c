/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/bounce.h"
#include "dataplane/base/buf.h"
#include "dataplane/base/crc32c.h"
#include "smtp/trace.h"

#define LINE_MAX_OCTETS 1024 /* one formatted piece */

/* The report while it is written: a body in chunks and what is known about it. */
struct writer {
	struct message *m;
	bool failed; /* no chunks */
};

static void put(struct writer *w, struct bytes text)
{
	if (w->failed)
		return;
	w->m->body_crc = crc32c(w->m->body_crc, text.p, text.n);
	w->failed = chain_append(&w->m->body, text) < 0;
}

static void PRINTF(2, 3) line(struct writer *w, const char *format, ...)
{
	char text[LINE_MAX_OCTETS];
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(text, sizeof(text) - 2, format, ap);
	va_end(ap);
	size_t used = MIN((size_t)MAX(n, 0), sizeof(text) - 3);
	memcpy(text + used, "\r\n", 2);
	put(w, bytes_make(text, used + 2));
}

/* Seven-bit and printable: nothing of a peer's makes a line or a field of its own. */
static const char *printable(struct bytes in, char *out, size_t cap)
{
	size_t n = MIN(in.n, cap - 1);

	for (size_t i = 0; i < n; i++)
		out[i] = in.p[i] >= ' ' && in.p[i] <= '~' ? (char)in.p[i] : '?';
	out[n] = '\0';
	return out;
}

static void put_date(struct writer *w, const char *field, uint64_t ms)
{
	char text[64];
	struct buf b;

	buf_init(&b, text, sizeof(text) - 1);
	trace_date(&b, ms);
	text[b.n] = '\0';
	line(w, "%s: %s", field, text);
}

static void put_header(struct writer *w, const struct bounce *b, const char *boundary)
{
	char to[ADDRESS_MAX + 1];

	put_date(w, "Date", b->now_ms);
	line(w, "From: Mail Delivery System <MAILER-DAEMON@%s>", b->hostname);
	line(w, "To: <%s>", printable(b->to, to, sizeof(to)));
	line(w, "Subject: Mail could not be delivered");
	line(w, "Message-ID: <%016lx.dsn@%s>", b->id, b->hostname);
	line(w, "Auto-Submitted: auto-replied"); /* RFC 3834 5 */
	line(w, "MIME-Version: 1.0");
	line(w, "Content-Type: multipart/report; report-type=delivery-status;");
	line(w, "\tboundary=\"%s\"", boundary);
	line(w, "%s", "");
	w->m->header_bytes = (uint32_t)w->m->body.bytes;
}

static void put_human(struct writer *w, const struct bounce *b)
{
	char address[ADDRESS_MAX + 1];

	line(w, "Content-Type: text/plain; charset=us-ascii");
	line(w, "%s", "");
	line(w, "This is the mail relay %s.", b->hostname);
	line(w, "%s", "");
	line(w, "Your message could not be delivered to the recipients below, and it will not");
	line(w, "be tried again.  The header of your message is attached.");
	for (uint32_t i = 0; i < b->rcpt_count; i++) {
		line(w, "%s", "");
		line(w, "<%s>:", printable(b->rcpts[i].address, address, sizeof(address)));
		line(w, "    %s", b->rcpts[i].reason);
	}
	line(w, "%s", "");
}

static void put_rcpt(struct writer *w, const struct bounce_rcpt *r)
{
	char address[ADDRESS_MAX + 1];

	line(w, "%s", "");
	line(w, "Final-Recipient: rfc822; %s", printable(r->address, address, sizeof(address)));
	line(w, "Action: failed");
	line(w, "Status: %u.%u.%u", r->status[0], r->status[1], r->status[2]);
	/* RFC 3464 2.3.6: type smtp is for replies of an SMTP server only. */
	line(w, "Diagnostic-Code: %s; %s", r->code ? "smtp" : "X-Bypost", r->reason);
}

static void put_status(struct writer *w, const struct bounce *b)
{
	line(w, "Content-Type: message/delivery-status");
	line(w, "%s", "");
	line(w, "Reporting-MTA: dns; %s", b->hostname);
	line(w, "X-Bypost-Queue-ID: %016lx", b->original_id);
	put_date(w, "Arrival-Date", b->original_ms);
	for (uint32_t i = 0; i < b->rcpt_count; i++)
		put_rcpt(w, &b->rcpts[i]);
	line(w, "%s", "");
}

struct bytes bounce_header_of(struct bytes original)
{
	size_t end = 0;

	original = bytes_first(original, BOUNCE_HEADER_MAX);
	for (;;) {
		ptrdiff_t lf = bytes_find(original, '\n', end);
		if (lf < 0)
			break;
		struct bytes text = bytes_make(original.p + end, (size_t)lf + 1 - end);
		if (text.n <= 2) /* the empty line */
			break;
		end = (size_t)lf + 1;
	}
	return bytes_first(original, end);
}

static char header_octet(struct bytes header, size_t i)
{
	uint8_t c = header.p[i];
	bool begins = i == 0 || header.p[i - 1] == '\n';

	/* "--" begins no field, but might be taken for our boundary. */
	if (begins && c == '-' && i + 1 < header.n && header.p[i + 1] == '-')
		return '?';
	return c == '\n' || c == '\t' || (c >= ' ' && c <= '~') ? (char)c : '?';
}

/* The header in seven bits; CR and LF only as line ends. */
static void put_original(struct writer *w, struct bytes header)
{
	char text[512];
	size_t n = 0;

	line(w, "Content-Type: text/rfc822-headers");
	line(w, "%s", "");
	for (size_t i = 0; i < header.n; i++) {
		if (header.p[i] == '\r')
			continue;
		if (header.p[i] == '\n')
			text[n++] = '\r';
		text[n++] = header_octet(header, i);
		if (n >= sizeof(text) - 2) {
			put(w, bytes_make(text, n));
			n = 0;
		}
	}
	put(w, bytes_make(text, n));
	line(w, "%s", "");
}

static bool put_envelope(struct message *m, const struct bounce *b)
{
	return message_set_sender(m, BYTES_NONE) == 0 &&
	       message_add_rcpt(m, b->to, b->route, b->account) == 0 &&
	       message_prepend(m, BYTES_LIT("Return-Path: <>\r\n"), true) == 0;
}

struct message *bounce_build(const struct bounce *b)
{
	struct writer w = {.m = message_new()};
	char boundary[48];

	if (!w.m)
		return NULL;
	w.m->id = b->id;
	w.m->received_ms = b->now_ms;
	w.m->bare = 1;
	w.m->body_type = BODY_7BIT;
	snprintf(boundary, sizeof(boundary), "=_%016lx_bypost", b->id);
	put_header(&w, b, boundary);
	line(&w, "--%s", boundary);
	put_human(&w, b);
	line(&w, "--%s", boundary);
	put_status(&w, b);
	line(&w, "--%s", boundary);
	put_original(&w, bounce_header_of(b->original));
	line(&w, "--%s--", boundary);
	if (!w.failed && put_envelope(w.m, b))
		return w.m;
	message_unref(w.m);
	return NULL;
}
