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
	c->delay_share[at] = percent / 100;
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

	for (char *one = strtok(text, ","); one; one = strtok(NULL, ",")) {
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

static int seconds_us(const char *value, uint64_t *us_r)
{
	double seconds;

	if (value_number(value, "seconds", 0, 1e4, &seconds) < 0)
		return -1;
	*us_r = (uint64_t)(seconds * 1e6);
	return 0;
}

/* How it fails. */
static int failure_option(struct sink_conf *c, int opt, char *value)
{
	switch (opt) {
	case 'w':
		return seconds_us(value, &c->delay_us[SINK_DATA]);
	case 'W':
		return parse_command_delay(c, value);
	case 'H':
		return seconds_us(value, &c->read_delay_us);
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
		return BENCH_UNKNOWN;
	}
}

int sink_option(struct bench_options *o, int opt, char *value)
{
	struct sink_conf *c = &o->sink;

	switch (opt) {
	case 'h':
		snprintf(c->hostname, sizeof(c->hostname), "%s", value);
		return 0;
	case 'm':
		return value_whole32(value, "sessions", 1, SESSIONS_MAX, &c->sessions_max);
	case 'M':
		return value_whole(value, "messages", 1, UINT64_MAX / 2, &o->stop_after);
	case 'n':
		return value_whole(value, "sessions", 1, UINT64_MAX / 2, &o->stop_sessions);
	case 't':
		return seconds_us(value, &c->timeout_us);
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
