/* SPDX-License-Identifier: BSD-3-Clause
 * What SMTP's parsers take of a core, without a connection: octets a second of the content scanner
 * and of the command parser.
 *
 *     bench_smtp_parse [milliseconds a row]
 *     valgrind --tool=callgrind --toggle-collect='run_*' bench_smtp_parse 1
 *
 * Each row is the best of several rounds.  One line per row: name, GB/s, and what it was. */
#include <stdio.h>
#include <stdlib.h>
#include "dataplane/base/clock.h"
#include "smtp/address.h"
#include "smtp/command.h"
#include "smtp/data.h"
#include "smtp/data_scan.h"
#include "smtp/param.h"

#define TEXT_OCTETS                                                                                \
	(256u * 1024)   /* below a second-level cache: the parser is measured, not memory */
#define LINE_SHORT 78   /* RFC 5322 2.1.1, with CRLF */
#define LINE_LONG  1000 /* RFC 5321 4.5.3.1.6 */
#define RCPTS      5    /* of an envelope */
#define ROUNDS     5

static uint8_t text[TEXT_OCTETS];
static size_t text_n;
static uint64_t sum; /* what was found: the compiler must not leave the work out */

static void put(const char *line)
{
	size_t n = strlen(line);

	BUG_ON(text_n + n > sizeof(text));
	memcpy(text + text_n, line, n);
	text_n += n;
}

static void make_lines(unsigned line)
{
	for (text_n = 0; text_n + line <= sizeof(text); text_n += line) {
		for (unsigned i = 0; i < line - 2; i++)
			text[text_n + i] = (uint8_t)("lorem ipsum dolor. "[(text_n + i) % 19]);
		if (text[text_n] == '.')
			text[text_n] = 'x';
		memcpy(text + text_n + line - 2, "\r\n", 2);
	}
}

static void make_envelopes(void)
{
	char line[200];

	text_n = 0;
	for (unsigned n = 0; text_n + 1000 < sizeof(text); n++) {
		snprintf(line, sizeof(line),
			"MAIL FROM:<bounces+%u@lists.example.net> SIZE=%u BODY=8BITMIME\r\n", n,
			2000 + n);
		put(line);
		for (unsigned i = 0; i < RCPTS; i++) {
			snprintf(line, sizeof(line),
				"RCPT TO:<first.last%u@customer%u.example.org>\r\n", i, n);
			put(line);
		}
		put("DATA\r\n");
	}
}

static __attribute__((noinline)) void run_skip(void)
{
	const uint8_t *end = text + text_n;

	sum += (uint64_t)(data_skip(text + 1, end, DATA_LOOK_DOT) - text);
}

static __attribute__((noinline)) void run_skip_scalar(void)
{
	const uint8_t *end = text + text_n;

	sum += (uint64_t)(data_skip_scalar(text + 1, end, DATA_LOOK_DOT) - text);
}

static void sink(void *ctx, struct bytes run)
{
	(void)ctx;
	sum += run.n;
}

/* With the checksum. */
static __attribute__((noinline)) void run_decode(void)
{
	struct data_decoder d;
	size_t used;

	data_decoder_init(&d, DATA_DOTTED, UINT64_MAX, 100);
	data_decode(&d, BYTES_LIT("Subject: x\r\n\r\n"), sink, NULL, &used);
	data_decode(&d, bytes_make(text, text_n), sink, NULL, &used);
	sum += d.crc;
}

static __attribute__((noinline)) void run_commands(void)
{
	struct command cmd;
	size_t used;

	for (struct bytes in = bytes_make(text, text_n); in.n; in = bytes_skip(in, used)) {
		BUG_ON(command_parse(in, &cmd, &used) != COMMAND_OK);
		sum += cmd.verb;
	}
}

static void envelope_line(const struct command *cmd)
{
	static const size_t keyword[COMMAND_N] = {[COMMAND_MAIL] = 5, [COMMAND_RCPT] = 3};
	bool mail = cmd->verb == COMMAND_MAIL;
	uint8_t memory[ADDRESS_MAX];
	struct address a;
	struct params p;
	struct buf out;
	size_t used;

	if (!keyword[cmd->verb])
		return;
	struct bytes path = bytes_skip(cmd->argument, keyword[cmd->verb]);
	buf_init(&out, memory, sizeof(memory));
	BUG_ON(address_parse_path(path, mail ? ADDRESS_REVERSE : ADDRESS_FORWARD, &out, &a, &used) <
		0);
	BUG_ON(params_parse(bytes_skip(path, used), mail ? PARAMS_OF_MAIL : PARAMS_OF_RCPT, &p) !=
		PARAM_OK);
	sum += a.text.n + p.size;
}

/* Commands, and the paths and parameters in them. */
static __attribute__((noinline)) void run_envelopes(void)
{
	struct command cmd;
	size_t used;

	for (struct bytes in = bytes_make(text, text_n); in.n; in = bytes_skip(in, used)) {
		BUG_ON(command_parse(in, &cmd, &used) != COMMAND_OK);
		envelope_line(&cmd);
	}
}

static double best(void (*run)(void), uint64_t for_us)
{
	double most = 0;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t from = clock_mono_us(), now, octets = 0;
		do {
			run();
			octets += text_n;
			now = clock_mono_us();
		} while (now - from < for_us / ROUNDS);
		most = MAX(most, (double)octets / 1e3 / (double)MAX(now - from, (uint64_t)1));
	}
	return most;
}

static void row(const char *name, void (*run)(void), uint64_t for_us, const char *what)
{
	printf("%-24s %8.2f GB/s  %s\n", name, best(run, for_us), what);
}

int main(int argc, char **argv)
{
	uint64_t for_us = argc > 1 ? strtoull(argv[1], NULL, 10) * US_PER_MS : US_PER_SEC;

	make_lines(LINE_SHORT);
	row("scan", run_skip, for_us, "lines of 76 octets");
	row("scan-scalar", run_skip_scalar, for_us, "the same, octet by octet");
	row("decode", run_decode, for_us, "the same, with CRC-32C and a sink");
	make_lines(LINE_LONG);
	row("scan-long", run_skip, for_us, "lines of 998 octets");
	row("decode-long", run_decode, for_us, "the same, with CRC-32C and a sink");
	make_envelopes();
	row("commands", run_commands, for_us, "MAIL, 5 RCPT, DATA: lines and verbs");
	row("envelopes", run_envelopes, for_us, "the same, with paths and parameters");
	return sum == 0;
}
