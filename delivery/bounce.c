/* SPDX-License-Identifier: BSD-3-Clause */
#include "delivery/bounce.h"
#include "dataplane/base/buf.h"
#include "dataplane/base/crc32c.h"
#include "smtp/trace.h"
#include "smtp/utf8.h"

#define LINE_MAX_OCTETS 1024 /* one formatted piece */

/* The report while it is written: a body in chunks and what is known about it. */
struct writer {
	struct message *m;
	bool failed; /* no chunks */
	bool global; /* RFC 6533 */
	char boundary[64];
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

/* RFC 6533: wanted when an address cannot be written otherwise, and the sender reads UTF-8. */
static bool is_global(const struct bounce *b)
{
	bool wide = utf8_needed(b->to);

	for (uint32_t i = 0; i < b->rcpt_count; i++)
		wide |= utf8_needed(b->rcpts[i].address);
	return wide && b->smtputf8;
}

/* An address as far as it can be shown. */
static const char *shown(const struct writer *w, struct bytes address, char *out, size_t cap)
{
	if (!w->global || !utf8_valid(address))
		return printable(address, out, cap);
	size_t n = MIN(address.n, cap - 1);
	for (size_t i = 0; i < n; i++)
		out[i] = address.p[i] >= ' ' && address.p[i] != 0x7f ? (char)address.p[i] : '?';
	out[n] = '\0';
	return out;
}

static enum bounce_action worst(const struct bounce *b)
{
	uint8_t action = BOUNCE_DELIVERED;

	for (uint32_t i = 0; i < b->rcpt_count; i++)
		action = MIN(action, b->rcpts[i].action);
	return (enum bounce_action)action;
}

static const struct {
	const char *action, *subject, *human[3];
} words[] = {
	[BOUNCE_FAILED] = {"failed",    "Mail could not be delivered",
			   {"Your message could not be delivered to the recipients below, and it will not",
			"be tried again."}					      },
	[BOUNCE_DELAYED] = {"delayed",   "Mail is delayed",
			   {"Your message could not be delivered to the recipients below so far.  It will",
			"be tried again; you need not do anything."}                    },
	[BOUNCE_RELAYED] = {"relayed",   "Mail was relayed",
			   {"Your message was handed to the mail servers of the recipients below.  They do",
			"not tell about delivery: this is the last you hear of it."}    },
	[BOUNCE_EXPANDED] = {"expanded",  "Mail was forwarded",
			   {"Your message was handed to the addresses that the recipients below stand for.  "
		 "You",
			"hear of it again only when that fails."}                       },
	[BOUNCE_DELIVERED] = {"delivered", "Mail was delivered",
			   {"Your message is in the mailboxes of the recipients below."}},
};

static void put_header(struct writer *w, const struct bounce *b)
{
	char to[ADDRESS_MAX + 1];

	put_date(w, "Date", b->now_ms);
	line(w, "From: Mail Delivery System <MAILER-DAEMON@%s>", b->hostname);
	line(w, "To: <%s>", shown(w, b->to, to, sizeof(to)));
	line(w, "Subject: %s", words[worst(b)].subject);
	line(w, "Message-ID: <%016lx.dsn@%s>", b->id, b->hostname);
	line(w, "Auto-Submitted: auto-replied"); /* RFC 3834 5 */
	line(w, "MIME-Version: 1.0");
	line(w, "Content-Type: multipart/report; report-type=%sdelivery-status;",
		w->global ? "global-" : "");
	line(w, "\tboundary=\"%s\"", w->boundary);
	line(w, "%s", "");
	w->m->header_bytes = (uint32_t)w->m->body.bytes;
}

/* A part begins; what is not ASCII is said. */
static void put_type(struct writer *w, const char *type, bool eight_bit)
{
	line(w, "--%s", w->boundary);
	line(w, "Content-Type: %s", type);
	if (eight_bit)
		line(w, "Content-Transfer-Encoding: 8bit");
	line(w, "%s", "");
}

static void put_human_of(struct writer *w, const struct bounce *b, enum bounce_action action)
{
	char address[ADDRESS_MAX + 1];
	bool begun = false;

	for (uint32_t i = 0; i < b->rcpt_count; i++) {
		const struct bounce_rcpt *r = &b->rcpts[i];
		if (r->action != action)
			continue;
		for (unsigned k = 0; !begun && words[action].human[k]; k++)
			line(w, "%s", words[action].human[k]);
		begun = true;
		line(w, "%s", "");
		line(w, "<%s>:", shown(w, r->address, address, sizeof(address)));
		line(w, "    %s", r->reason);
	}
	if (begun)
		line(w, "%s", "");
}

static void put_human(struct writer *w, const struct bounce *b)
{
	put_type(w, w->global ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii",
		w->global);
	line(w, "This is the mail relay %s.", b->hostname);
	line(w, "%s", "");
	for (uint8_t action = BOUNCE_FAILED; action <= BOUNCE_DELIVERED; action++)
		put_human_of(w, b, (enum bounce_action)action);
	line(w, "%s of your message is attached.", b->full[0] ? "All" : "The header");
	line(w, "%s", "");
}

/* "rfc822;a+2Bb@c" (RFC 3461 4.2) is told as it was meant. */
static void put_orcpt(struct writer *w, struct bytes orcpt)
{
	char text[DSN_ORCPT_MAX + 1], plain[DSN_ORCPT_MAX + 1];
	ptrdiff_t at = bytes_find(orcpt, ';', 0);
	struct buf decoded;

	if (at < 0)
		return;
	struct bytes type = bytes_first(orcpt, (size_t)at), address = bytes_skip(orcpt, type.n + 1);
	buf_init(&decoded, text, sizeof(text));
	if (dsn_xtext_decode(&decoded, address) == 0)
		address = buf_view(&decoded);
	line(w, "Original-Recipient: %.*s; %s", (int)type.n, type.p,
		shown(w, address, plain, sizeof(plain)));
}

static uint8_t class_of(enum bounce_action action)
{
	return action == BOUNCE_FAILED ? 5 : action == BOUNCE_DELAYED ? 4 : 2;
}

static void put_rcpt(struct writer *w, const struct bounce *b, const struct bounce_rcpt *r)
{
	char address[ADDRESS_MAX + 1];
	enum bounce_action action = (enum bounce_action)r->action;
	bool delayed = action == BOUNCE_DELAYED;
	/* RFC 3464 2.3.4: a temporary failure may end as failed, under its own status. */
	bool kept = action == BOUNCE_FAILED && r->status[0] == 4;

	line(w, "%s", "");
	if (r->orcpt.n)
		put_orcpt(w, r->orcpt);
	line(w, "Final-Recipient: %s; %s",
		w->global && utf8_needed(r->address) ? "utf-8" : "rfc822",
		shown(w, r->address, address, sizeof(address)));
	line(w, "Action: %s", words[action].action);
	line(w, "Status: %u.%u.%u", kept ? 4 : class_of(action), r->status[1], r->status[2]);
	if (r->host)
		line(w, "Remote-MTA: dns; %s", r->host);
	/* RFC 3464 2.3.6: type smtp is for replies of an SMTP server only. */
	line(w, "Diagnostic-Code: %s; %s", r->code ? "smtp" : "X-Bypost", r->reason);
	if (action != BOUNCE_DELIVERED)
		put_date(w, "Last-Attempt-Date", b->now_ms);
	if (delayed && b->expire_ms)
		put_date(w, "Will-Retry-Until", b->expire_ms);
}

static void put_status(struct writer *w, const struct bounce *b)
{
	char text[DSN_ENVID_MAX + 1];
	struct buf envid;

	put_type(w, w->global ? "message/global-delivery-status" : "message/delivery-status",
		w->global);
	buf_init(&envid, text, sizeof(text) - 1);
	if (b->envid.n && dsn_xtext_decode(&envid, b->envid) == 0)
		line(w, "Original-Envelope-Id: %.*s", (int)envid.n, text);
	line(w, "Reporting-MTA: dns; %s", b->hostname);
	line(w, "X-Bypost-Queue-ID: %016lx", b->original_id);
	put_date(w, "Arrival-Date", b->original_ms);
	for (uint32_t i = 0; i < b->rcpt_count; i++)
		put_rcpt(w, b, &b->rcpts[i]);
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
static void put_original_header(struct writer *w, struct bytes header)
{
	char text[512];
	size_t n = 0;

	put_type(w, "text/rfc822-headers", false);
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

static void put_full(struct writer *w, const struct bounce *b)
{
	size_t skip = b->skip;

	put_type(w, b->smtputf8 ? "message/global" : "message/rfc822", b->eight_bit);
	for (unsigned i = 0; i < 2 && b->full[i]; i++) {
		for (const struct chunk *c = b->full[i]->head; c; c = c->next) {
			size_t from = MIN(skip, (size_t)c->n);
			skip -= from;
			put(w, bytes_make(c->data + from, c->n - from));
		}
	}
	line(w, "%s", ""); /* the delimiter's, before it */
}

static bool put_envelope(struct message *m, const struct bounce *b)
{
	static const struct dsn_rcpt never = {.notify = NOTIFY_NEVER};

	return message_set_sender(m, BYTES_NONE) == 0 &&
	       message_add_rcpt_dsn(m, b->to, b->route, b->account, &never) == 0 &&
	       message_prepend(m, BYTES_LIT("Return-Path: <>\r\n"), true) == 0;
}

struct message *bounce_build(const struct bounce *b)
{
	struct writer w = {.m = message_new(), .global = is_global(b)};

	if (!w.m)
		return NULL;
	w.m->id = b->id;
	w.m->received_ms = b->now_ms;
	w.m->bare = 1;
	w.m->smtputf8 = w.global || (b->full[0] && b->smtputf8);
	w.m->requiretls = b->requiretls;
	w.m->priority = b->priority;
	w.m->body_type = w.global || (b->full[0] && b->eight_bit) ? BODY_8BITMIME : BODY_7BIT;
	snprintf(w.boundary, sizeof(w.boundary), "=_%016lx%016lx_bypost", b->id, b->salt);
	put_header(&w, b);
	put_human(&w, b);
	put_status(&w, b);
	if (b->full[0])
		put_full(&w, b);
	else
		put_original_header(&w, bounce_header_of(b->original));
	line(&w, "--%s--", w.boundary);
	if (!w.failed && put_envelope(w.m, b))
		return w.m;
	message_unref(w.m);
	return NULL;
}
