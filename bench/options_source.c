/* SPDX-License-Identifier: BSD-3-Clause
 * Options of the source. */
#include <stdio.h>
#include <stdlib.h>
#include "bench/bench_options_priv.h"

#define FROM_MAX (1u << 20) /* own addresses */

static int parse_domain(struct source_conf *c, char *text)
{
	char *colon = strchr(text, ':');
	uint64_t weight = 1;

	if (c->domain_count == SOURCE_DOMAINS_MAX)
		return value_bad("one domain more", text);
	if (colon && value_whole(colon + 1, "weight", 1, UINT32_MAX, &weight) < 0)
		return -1;
	if (colon)
		*colon = '\0';
	c->domains[c->domain_count].weight = (uint32_t)weight;
	return value_text(text, "domain", c->domains[c->domain_count++].name, SOURCE_ADDRESS_MAX);
}

static int parse_lognormal(struct source_conf *c, char *text)
{
	char *median = strtok(text, ","), *sigma = strtok(NULL, ","), *most = strtok(NULL, ",");
	double most_v = (double)c->size_max;

	if (!median || !sigma)
		return value_bad("MEDIAN,SIGMA[,MAX]", text);
	if (value_number(median, "median", 1, 1e9, &c->lognormal_median) < 0 ||
		value_number(sigma, "sigma", 0, 10, &c->lognormal_sigma) < 0 ||
		(most && value_number(most, "largest size", 2, 1e9, &most_v) < 0))
		return -1;
	c->size_max = (uint64_t)most_v;
	return 0;
}

static int parse_sizes(struct source_conf *c, char *text)
{
	if (strncmp(text, "lognormal:", 10) == 0)
		return parse_lognormal(c, text + 10);
	c->size_count = 0;
	for (char *one = strtok(text, ","); one; one = strtok(NULL, ",")) {
		if (c->size_count == SOURCE_SIZES_MAX)
			return value_bad("one size more", one);
		if (value_whole(one, "size", 2, c->size_max, &c->sizes[c->size_count]) < 0)
			return -1;
		c->size_count++;
	}
	return c->size_count ? 0 : value_bad("size", text);
}

static int parse_rate(struct source_conf *c, char *text)
{
	char *comma = strchr(text, ',');

	if (comma)
		*comma = '\0';
	if (comma && value_number(comma + 1, "ramp", 0, 1e6, &c->ramp) < 0)
		return -1;
	return value_number(text, "rate", 1e-3, 1e9, &c->rate);
}

/* "USER:PASSWORD"; the password may have colons. */
static int parse_login(struct bench_options *o, const char *value)
{
	const char *colon = strchr(value, ':');
	size_t n = strlen(value);

	if (!colon || n >= sizeof(o->login) || colon - value > SASL_USER_MAX ||
		strlen(colon + 1) > SASL_PASSWORD_MAX)
		return value_bad("USER:PASSWORD", value);
	memcpy(o->login, value, n + 1);
	o->login[colon - value] = '\0';
	o->source.login = (struct sasl_login){o->login, o->login + (colon - value) + 1};
	return 0;
}

static int parse_mechanism(struct source_conf *c, const char *value)
{
	static const struct {
		const char *name;
		enum sasl_client_mechanism mechanism;
	} known[] = {
		{"plain",              SASL_CLIENT_PLAIN        },
		{"login",              SASL_CLIENT_LOGIN        },
		{"scram-sha-256",      SASL_CLIENT_SCRAM_SHA_256},
		{"scram-sha-256-plus", SASL_CLIENT_SCRAM_PLUS   },
	};

	for (unsigned i = 0; i < ARRAY_LEN(known); i++) {
		if (strcasecmp(value, known[i].name) != 0)
			continue;
		c->mechanisms = (uint8_t)known[i].mechanism;
		return 0;
	}
	return value_bad("mechanism", value);
}

/* never, always; large: as a client should, SMTP_CLIENT_BDAT_MIN. */
static int parse_bdat(struct source_conf *c, const char *value)
{
	c->bdat_min = strcmp(value, "always") == 0;
	if (strcmp(value, "never") == 0)
		c->ignored |= SMTP_EXT_CHUNKING;
	else if (!c->bdat_min && strcmp(value, "large") != 0)
		return value_bad("never, large or always", value);
	return 0;
}

/* FIRST[-LAST]; they differ in their last 32 bits. */
static int parse_source_ip(struct source_conf *c, char *value)
{
	char *dash = strchr(value, '-');
	struct ip_addr last;
	uint32_t low[2];

	if (dash)
		*dash = '\0';
	if (ip_parse(bytes_str(value), &c->from) < 0)
		return value_bad("address", value);
	c->from_count = 1;
	if (!dash)
		return 0;
	if (ip_parse(bytes_str(dash + 1), &last) < 0 || memcmp(&last, &c->from, 12) != 0)
		return value_bad("last address", dash + 1);
	memcpy(&low[0], c->from.octets + 12, 4);
	memcpy(&low[1], last.octets + 12, 4);
	uint32_t n = be32toh(low[1]) - be32toh(low[0]);
	if (be32toh(low[1]) < be32toh(low[0]) || n >= FROM_MAX)
		return value_bad("last address", dash + 1);
	c->from_count = n + 1;
	return 0;
}

static int source_pace(struct source_conf *c, int opt, char *value)
{
	switch (opt) {
	case 'A': /* a refusal never ends the source */
		return 0;
	case 'C':
		return value_whole32(value, "tries", 1, UINT32_MAX, &c->tries);
	case 'M':
		return value_text(value, "name", c->hello, sizeof(c->hello));
	case 'R':
		c->pause_varies = true;
		return value_seconds(value, &c->pause_us);
	case 'S':
		return value_text(value, "subject", c->subject, sizeof(c->subject));
	case 'w':
		c->pause_varies = false;
		return value_seconds(value, &c->pause_us);
	default:
		return BENCH_UNKNOWN;
	}
}

static int source_letter(struct bench_options *o, int opt, char *value)
{
	struct source_conf *c = &o->source;
	char domain[SOURCE_ADDRESS_MAX];

	switch (opt) {
	case 's':
		return value_whole32(value, "sessions", 1, SESSIONS_MAX, &c->sessions);
	case 'm':
		return value_whole(value, "messages", 0, UINT64_MAX / 2, &c->messages);
	case 'l':
		return parse_sizes(c, value);
	case 'd':
		c->per_connection = 0;
		return 0;
	case 'r':
		return value_whole32(value, "recipients", 1, SOURCE_RCPTS_MAX, &c->rcpts);
	case 'N':
		c->number_rcpts = true;
		return 0;
	case 'f':
		return value_text(value, "sender", c->sender, sizeof(c->sender));
	case 't':
		c->domain_count = 0;
		return value_mail(value, c->to_local, domain, sizeof(domain)) < 0
			       ? -1
			       : parse_domain(c, domain);
	case 'F':
		o->corpus = value;
		return 0;
	case 'L':
		c->lmtp = true;
		return 0;
	default:
		return source_pace(c, opt, value);
	}
}

int source_option(struct bench_options *o, int opt, char *value)
{
	struct source_conf *c = &o->source;

	switch (opt) {
	case OPT_SECONDS:
		return value_number(value, "seconds", 0, 1e7, &c->seconds);
	case OPT_WARM_UP:
		return value_number(value, "seconds", 0, 1e7, &c->warm_up);
	case OPT_PER_CONNECTION:
		return value_whole32(value, "messages", 0, UINT32_MAX, &c->per_connection);
	case OPT_RATE:
		return parse_rate(c, value);
	case OPT_SIZE:
		return parse_sizes(c, value);
	case OPT_DOMAIN:
		if (!o->domains_given)
			c->domain_count = 0; /* not the recipient's any more */
		o->domains_given = true;
		return parse_domain(c, value);
	case OPT_HELLO:
		return value_text(value, "name", c->hello, sizeof(c->hello));
	case OPT_HOLD:
		return value_number(value, "seconds", 1e-3, 1e6, &c->hold);
	case OPT_CORPUS:
		o->corpus = value;
		return 0;
	case OPT_AUTH:
		return parse_login(o, value);
	case OPT_AUTH_MECHANISM:
		return parse_mechanism(c, value);
	case OPT_BDAT:
		return parse_bdat(c, value);
	case OPT_NO_PIPELINING:
		c->ignored |= SMTP_EXT_PIPELINING;
		return 0;
	case OPT_SOURCE_IP:
		return parse_source_ip(c, value);
	case OPT_SINK:
		o->with_sink = true;
		return value_endpoint(value, SMTP_PORT, true, &o->sink.at);
	case OPT_SINK_LEDGER:
		o->sink_ledger = value;
		return 0;
	case OPT_DRAIN:
		return value_number(value, "seconds", 0, 1e6, &o->drain);
	default:
		return source_letter(o, opt, value);
	}
}
