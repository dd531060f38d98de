/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/option_value.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_ROOM 24  /* digits before a mail address, and more */
#define SECONDS_MAX 1e4 /* of delays */

static char of[32]; /* the option; empty: an argument */

void value_of(const char *name)
{
	snprintf(of, sizeof(of), "%s", name);
}

int value_bad(const char *what, const char *value)
{
	fprintf(stderr, "bypost-bench: %s%s%s: \"%s\" is not one\n", of, of[0] ? ": " : "", what,
		value);
	return -1;
}

int value_number(const char *text, const char *what, double least, double most, double *out)
{
	char *end;

	errno = 0;
	*out = strtod(text, &end);
	if (end == text || *end || errno || !(*out >= least && *out <= most))
		return value_bad(what, text);
	return 0;
}

int value_seconds(const char *text, uint64_t *us_r)
{
	double seconds;

	if (value_number(text, "seconds", 0, SECONDS_MAX, &seconds) < 0)
		return -1;
	*us_r = (uint64_t)(seconds * 1e6);
	return 0;
}

int value_text(const char *text, const char *what, char *out, size_t cap)
{
	size_t n = strlen(text);

	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f) /* a line would end in it */
			return value_bad(what, text);
	}
	if (n >= cap)
		return value_bad(what, text);
	memcpy(out, text, n + 1);
	return 0;
}

int value_whole(const char *text, const char *what, uint64_t least, uint64_t most, uint64_t *out)
{
	if (bytes_to_u64(bytes_str(text), out) < 0 || *out < least || *out > most)
		return value_bad(what, text);
	return 0;
}

int value_whole32(const char *text, const char *what, uint32_t least, uint32_t most, uint32_t *out)
{
	uint64_t n;

	if (value_whole(text, what, least, most, &n) < 0)
		return -1;
	*out = (uint32_t)n;
	return 0;
}

int value_endpoint(const char *text, uint16_t port, bool any, struct endpoint *out)
{
	const char *at = strncmp(text, "inet:", 5) == 0 ? text + 5 : text;
	const char *colon = strrchr(at, ':'), *bracket = strchr(at, ']');
	struct bytes host = bytes_str(at);
	uint64_t number = port;

	if (colon && (!bracket || colon > bracket) && (bracket || strchr(at, ':') == colon)) {
		host = bytes_make(at, (size_t)(colon - at));
		if (value_whole(colon + 1, "port", 1, UINT16_MAX, &number) < 0)
			return -1;
	}
	if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = bytes_make(host.p + 1, host.n - 2);
	out->port = (uint16_t)number;
	if (host.n == 0 && any) {
		out->ip = ip_from_v4(0);
		return 0;
	}
	return ip_parse(host, &out->ip) < 0 ? value_bad("address", text) : 0;
}

int value_mail(const char *text, char *local, char *domain, size_t cap)
{
	const char *at = strrchr(text, '@');

	if (!at || at == text || !at[1] || strlen(text) >= cap - NUMBER_ROOM)
		return value_bad("mail address", text);
	snprintf(local, cap, "%.*s", (int)(at - text), text);
	snprintf(domain, cap, "%s", at + 1);
	return 0;
}
