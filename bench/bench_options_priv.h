/* SPDX-License-Identifier: BSD-3-Clause
 * Between the files of the command line: bench_options.c (all of it), options_engine.c,
 * options_source.c, options_sink.c, options_reader.c (one option each). */
#pragma once
#include "bench/bench_options.h"
#include "bench/option_value.h"

#define SMTP_PORT     25
#define SESSIONS_MAX  1000000u
#define BENCH_UNKNOWN 1 /* an option that is another part's */

enum long_option {
	OPT_SECONDS = 256,
	OPT_WARM_UP,
	OPT_PER_CONNECTION,
	OPT_RATE,
	OPT_SIZE,
	OPT_DOMAIN,
	OPT_HELLO,
	OPT_HOLD,
	OPT_CORPUS,
	OPT_AUTH,
	OPT_AUTH_MECHANISM,
	OPT_BDAT,
	OPT_NO_PIPELINING,
	OPT_SOURCE_IP,
	OPT_SINK,
	OPT_SINK_LEDGER,
	OPT_DRAIN,
	OPT_FAIL,
	OPT_DELAY,
	OPT_MUTANT,
	OPT_CERT,
	OPT_KEY,
	OPT_IMAP,
	OPT_POP3,
	OPT_PASSWORD,
	OPT_EXPECT,
	OPT_AGAIN,
	OPT_STARTTLS,
	OPT_TLS,
	OPT_LEDGER,
	OPT_LEDGER_MAX,
	OPT_JSON,
	OPT_NOTE,
	OPT_DURABILITY,
	OPT_CPUS,
	OPT_ENGINE,
	OPT_PORT,
	OPT_ADDRESS,
	OPT_GATEWAY,
	OPT_MTU,
	OPT_WINDOW,
	OPT_MEMORY,
	OPT_EAL_EXTRA,
	OPT_IDLE,
	OPT_HELP,
};

/* One option, a letter or an enum long_option; value may be changed.  Returns 0, -1 after saying
 * what is wrong, BENCH_UNKNOWN. */
int engine_option(struct engine_conf *c, int opt, char *value);
int source_option(struct bench_options *o, int opt, char *value);
int sink_option(struct bench_options *o, int opt, char *value);
int reader_option(struct bench_options *o, int opt, char *value);
