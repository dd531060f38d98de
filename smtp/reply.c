/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/reply.h"
#include "dataplane/base/codec.h"

struct reply {
	uint16_t code;
	const char *enhanced;
	struct bytes line; /* empty: it is made */
};

/* Without an enhanced code there is one space less. */
#define LINE_3(code, enhanced, text) #code " " text "\r\n"
#define LINE_X(code, enhanced, text) #code " " enhanced " " text "\r\n"
#define LINE_OF(code, enhanced, text)                                                              \
	{                                                                                          \
		(const uint8_t *)(sizeof(enhanced) == 1 ? LINE_3(code, enhanced, text)             \
							: LINE_X(code, enhanced, text)),           \
			sizeof(enhanced) == 1 ? sizeof(LINE_3(code, enhanced, text)) - 1           \
					      : sizeof(LINE_X(code, enhanced, text)) - 1           \
	}

#define NO_LINE                                                                                    \
	{                                                                                          \
		NULL, 0                                                                            \
	}

static const struct reply table[REPLY_N] = {
#define REPLY(id, code, enhanced, text)                                                            \
	[REPLY_##id] = {code, enhanced, LINE_OF(code, enhanced, text)},
#define REPLY_MADE(id, code, enhanced) [REPLY_##id] = {code, enhanced, NO_LINE},
#include "smtp/reply.def"
#undef REPLY
#undef REPLY_MADE
};

/* LIMITS, RFC 9422. */
static void put_limits(const struct reply_args *args, struct buf *out)
{
	buf_printf(out, "250-LIMITS RCPTMAX=%u", args->rcpt_max);
	if (args->mail_max)
		buf_printf(out, " MAILMAX=%u", args->mail_max);
	if (args->domain_max)
		buf_printf(out, " RCPTDOMAINMAX=%u", args->domain_max);
	buf_str(out, "\r\n");
}

/* What is offered to some. */
static void put_offers(const struct reply_args *args, struct buf *out)
{
	if (args->ehlo & EHLO_STARTTLS)
		buf_str(out, "250-STARTTLS\r\n");
	if (args->ehlo & EHLO_REQUIRETLS)
		buf_str(out, "250-REQUIRETLS\r\n");
	if (args->ehlo & EHLO_MT_PRIORITY)
		buf_str(out, "250-MT-PRIORITY\r\n");
	if (args->ehlo & EHLO_AUTH)
		buf_printf(out, "250-AUTH%s%s PLAIN LOGIN\r\n",
			args->ehlo & EHLO_SCRAM_PLUS ? " SCRAM-SHA-256-PLUS" : "",
			args->ehlo & EHLO_SCRAM ? " SCRAM-SHA-256" : "");
	if (args->ehlo & EHLO_XCLIENT)
		buf_str(out, "250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n");
}

static void put_ehlo(const struct reply_args *args, struct buf *out)
{
	bool wide = !(args->ehlo & EHLO_NO_8BITMIME);

	buf_printf(out, "250-%s\r\n%s250-SIZE %llu\r\n%s250-CHUNKING\r\n%s%s", args->hostname,
		args->ehlo & EHLO_NO_PIPELINING ? "" : "250-PIPELINING\r\n",
		(unsigned long long)args->size_max,
		wide ? "250-8BITMIME\r\n250-BINARYMIME\r\n" : "", wide ? "250-SMTPUTF8\r\n" : "",
		args->ehlo & EHLO_NO_DSN ? "" : "250-DSN\r\n");
	put_limits(args, out);
	put_offers(args, out);
	buf_str(out,
		args->ehlo & EHLO_NO_ENHANCED ? "250 HELP\r\n" : "250 ENHANCEDSTATUSCODES\r\n");
}
/* The class of a code in words is the table's. */
static void put_words(enum reply_id id, const char *words, struct buf *out)
{
	if (words)
		buf_printf(out, "%s\r\n", words);
	else
		buf_printf(out, "%u %s Told to fail\r\n", table[id].code, table[id].enhanced);
}

void reply_format(enum reply_id id, const struct reply_args *args, struct buf *out)
{
	switch (id) {
	case REPLY_GREETING:
		buf_printf(out, "220 %s %s bypost\r\n", args->hostname,
			args->lmtp                   ? "LMTP"
			: args->ehlo & EHLO_NO_ESMTP ? "SMTP"
						     : "ESMTP");
		break;
	case REPLY_HELO:
		buf_printf(out, "250 %s\r\n", args->hostname);
		break;
	case REPLY_EHLO:
		put_ehlo(args, out);
		break;
	case REPLY_AUTH_CHALLENGE:
		buf_str(out, "334 ");
		base64_encode(out, args->challenge);
		buf_str(out, "\r\n");
		break;
	case REPLY_QUEUED:
		buf_str(out, "250 2.0.0 Ok: queued as ");
		hex_u64(out, args->id);
		buf_str(out, "\r\n");
		break;
	case REPLY_SOFT:
		put_words(id, args->soft, out);
		break;
	case REPLY_HARD:
		put_words(id, args->hard, out);
		break;
	default:
		BUG_ON(table[id].line.n == 0);
		buf_put(out, table[id].line);
	}
}

struct bytes reply_line(enum reply_id id)
{
	return table[id].line;
}

unsigned reply_code(enum reply_id id)
{
	return table[id].code;
}

const char *reply_enhanced(enum reply_id id)
{
	return table[id].enhanced;
}
