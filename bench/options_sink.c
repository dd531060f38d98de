/* SPDX-License-Identifier: BSD-3-Clause
 * Options of the sink. */
#include <stdio.h>
#include <string.h>
#include "bench/bench_options_priv.h"

static int stage_parse(const char *text, enum sink_stage *out)
{
	for (int i = 0; i < SINK_STAGE_N; i++) {
		if (strcasecmp(text, sink_stage_names[i]) == 0) {
			*out = (enum sink_stage)i;
			return 0;
		}
	}
	return value_bad("stage", text);
}

/* As smtp-sink names it: "." is the end of data. */
static int command_parse(const char *text, enum sink_stage *out)
{
	if (strcasecmp(text, "ehlo") == 0 || strcasecmp(text, "lhlo") == 0)
		text = "helo";
	return stage_parse(strcmp(text, ".") == 0 ? "end" : text, out);
}

/* smtp-sink's -W: COMMAND:SECONDS[:ODDS], odds in per cent. */
static int parse_command_delay(struct sink_conf *c, char *text)
{
	char *command = strtok(text, ":"), *seconds = strtok(NULL, ":"), *odds = strtok(NULL, ":");
	double value, percent = 0;
	enum sink_stage at = SINK_CONNECT;

	if (!seconds)
		return value_bad("COMMAND:SECONDS", text);
	if (command_parse(command, &at) < 0 || value_number(seconds, "delay", 0, 1e4, &value) < 0 ||
		(odds && value_number(odds, "odds", 1, 99, &percent) < 0))
		return -1;
	c->delay_us[at] = (uint64_t)(value * 1e6);
	c->delay_odds[at] = percent / 100;
	return 0;
}

/* STAGE:4xx|5xx|421|drop:PERCENT */
static int parse_fail(struct sink_conf *c, char *text)
{
	char *stage = strtok(text, ":"), *kind = strtok(NULL, ":"), *percent = strtok(NULL, ":");
	enum sink_stage at = SINK_CONNECT;
	double value;

	if (!percent)
		return value_bad("STAGE:KIND:PERCENT", text);
	if (stage_parse(stage, &at) < 0 || value_number(percent, "percent", 0, 100, &value) < 0)
		return -1;
	for (unsigned i = 0; i < SINK_FAILURE_N; i++) {
		if (strcmp(kind, sink_failure_names[i]) == 0) {
			c->fail[at][i] = value / 100;
			return 0;
		}
	}
	return value_bad("kind of failure", kind);
}

/* smtp-sink's -r, -f, -q and -Q: commands that always fail.  "." is the end of data there. */
static int parse_rejects(struct sink_conf *c, char *text, enum sink_failure kind)
{
	enum sink_stage at = SINK_CONNECT;

	for (char *one = strtok(text, ", \t"); one; one = strtok(NULL, ", \t")) {
		if (command_parse(one, &at) < 0)
			return -1;
		c->fail[at][kind] = 1;
	}
	return 0;
}

static int parse_delay(struct sink_conf *c, char *text)
{
	char *stage = strtok(text, ":"), *ms = strtok(NULL, ":");
	enum sink_stage at = SINK_CONNECT;
	double value;

	if (!ms)
		return value_bad("STAGE:MS", text);
	if (stage_parse(stage, &at) < 0 || value_number(ms, "delay", 0, 1e7, &value) < 0)
		return -1;
	c->delay_us[at] = (uint64_t)(value * 1000);
	return 0;
}

/* lose:N, twice:N, alter:N */
static int parse_mutant(struct sink_conf *c, char *text)
{
	char *kind = strtok(text, ":"), *n = strtok(NULL, ":");
	uint64_t value;

	if (!n || value_whole(n, "number", 1, UINT32_MAX, &value) < 0)
		return value_bad("KIND:N", text);
	if (strcmp(kind, "lose") == 0)
		c->lose = (uint32_t)value;
	else if (strcmp(kind, "twice") == 0)
		c->twice = (uint32_t)value;
	else if (strcmp(kind, "alter") == 0)
		c->alter = (uint32_t)value;
	else
		return value_bad("mutant", kind);
	return 0;
}

/* A reply of the class: its code, a space, text. */
static int parse_reply(char class, const char *text, char *out)
{
	struct bytes digits = bytes_first(bytes_str(text), MIN(strlen(text), (size_t)3));
	uint64_t code;

	if (text[0] != class || digits.n < 3 || bytes_to_u64(digits, &code) < 0 || text[3] != ' ')
		return value_bad(class == '4' ? "4xx TEXT" : "5xx TEXT", text);
	return value_text(text, "reply", out, REPLY_WORDS_MAX);
}

/* Up to three octal digits, "nul" is none. */
static const char *octal(const char *at, char *out)
{
	unsigned value = 0;

	for (unsigned n = 0; n < 3 && *at >= '0' && *at <= '7'; n++)
		value = value * 8 + (unsigned)(*at++ - '0');
	*out = (char)value;
	return value && value < 256 ? at : NULL;
}

/* C's escape sequences. */
static int parse_start(struct sink_conf *c, const char *text)
{
	static const char names[] = "abfnrtv\\", octets[] = "\a\b\f\n\r\t\v\\";
	size_t n = 0;

	for (const char *p = text; *p; n++) {
		const char *name = *p == '\\' && p[1] ? strchr(names, p[1]) : NULL;
		if (n + 1 == sizeof(c->dump_start))
			return value_bad("text of 255 octets at most", text);
		if (*p != '\\') {
			c->dump_start[n] = *p++;
		} else if (name) {
			c->dump_start[n] = octets[name - names];
			p += 2;
		} else if (!(p = octal(p + 1, &c->dump_start[n]))) {
			return value_bad("text with C's escapes", text);
		}
	}
	c->dump_start[n] = '\0';
	return 0;
}

/* What EHLO does not announce. */
static int withheld_option(struct sink_conf *c, int opt)
{
	switch (opt) {
	case '8':
		c->withheld |= EHLO_NO_8BITMIME;
		return 0;
	case 'a':
		c->no_auth = true;
		return 0;
	case 'e':
		c->withheld |= EHLO_NO_ESMTP;
		return 0;
	case 'E':
		c->withheld |= EHLO_NO_ENHANCED;
		return 0;
	case 'N':
		c->withheld |= EHLO_NO_DSN;
		return 0;
	case 'p':
		c->withheld |= EHLO_NO_PIPELINING;
		return 0;
	case 'C': /* XCLIENT and XFORWARD never are */
	case 'F':
		return 0;
	default:
		return BENCH_UNKNOWN;
	}
}

static int dump_option(struct sink_conf *c, int opt, char *value)
{
	switch (opt) {
	case 'd':
		c->dump_each = value;
		return 0;
	case 'D':
		c->dump_all = value;
		return 0;
	case 'S':
		return parse_start(c, value);
	default:
		return withheld_option(c, opt);
	}
}

/* How it fails. */
static int failure_option(struct sink_conf *c, int opt, char *value)
{
	switch (opt) {
	case 'w':
		return value_seconds(value, &c->delay_us[SINK_DATA]);
	case 'W':
		return parse_command_delay(c, value);
	case 'H':
		return value_seconds(value, &c->read_delay_us);
	case 'A':
		c->aborts = true;
		return value_seconds(value, &c->read_delay_us);
	case 'b':
		return parse_reply('4', value, c->soft);
	case 'B':
		return parse_reply('5', value, c->hard);
	case 'r':
		return parse_rejects(c, value, SINK_4XX);
	case 'f':
		return parse_rejects(c, value, SINK_5XX);
	case 'q':
		return parse_rejects(c, value, SINK_DROP);
	case 'Q':
		return parse_rejects(c, value, SINK_421);
	case OPT_FAIL:
		return parse_fail(c, value);
	case OPT_DELAY:
		return parse_delay(c, value);
	case OPT_MUTANT:
		return parse_mutant(c, value);
	default:
		return dump_option(c, opt, value);
	}
}

int sink_option(struct bench_options *o, int opt, char *value)
{
	struct sink_conf *c = &o->sink;

	switch (opt) {
	case 'h':
		return value_text(value, "name", c->hostname, sizeof(c->hostname));
	case 'm':
		return value_whole32(value, "sessions", 1, SESSIONS_MAX, &c->sessions_max);
	case 'M':
		return value_whole(value, "messages", 1, UINT64_MAX / 2, &o->stop_after);
	case 'n':
		return value_whole(value, "sessions", 1, UINT64_MAX / 2, &o->stop_sessions);
	case 't':
		return value_seconds(value, &c->timeout_us);
	case 'L':
		c->lmtp = true;
		return 0;
	case OPT_CERT:
		o->tls_cert = value;
		return 0;
	case OPT_KEY:
		o->tls_key = value;
		return 0;
	default:
		return failure_option(c, opt, value);
	}
}
