/* SPDX-License-Identifier: BSD-3-Clause
 * Options of the reader. */
#include <string.h>
#include "bench/bench_options_priv.h"

int reader_option(struct bench_options *o, int opt, char *value)
{
	struct reader_conf *c = &o->reader;
	double ms;

	switch (opt) {
	case 's':
		return value_whole32(value, "sessions", 1, SESSIONS_MAX, &c->sessions);
	case 't':
		return value_mail(value, c->local, c->domain, sizeof(c->local));
	case 'r':
		return value_whole32(value, "mailboxes", 1, SESSIONS_MAX, &c->mailboxes);
	case OPT_IMAP:
	case OPT_POP3:
		c->imap = opt == OPT_IMAP;
		return 0;
	case OPT_PASSWORD:
		c->password = value;
		return strlen(value) > SASL_PASSWORD_MAX ? value_bad("password", "***") : 0;
	case OPT_EXPECT:
		return value_whole(value, "messages", 1, UINT64_MAX / 2, &c->expect);
	case OPT_SECONDS:
		return value_number(value, "seconds", 0, 1e7, &c->seconds);
	case OPT_AGAIN:
		if (value_number(value, "milliseconds", 0, 1e6, &ms) < 0)
			return -1;
		c->again_us = (uint64_t)(ms * 1e3);
		return 0;
	default:
		return BENCH_UNKNOWN;
	}
}
