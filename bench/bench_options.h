/* SPDX-License-Identifier: BSD-3-Clause
 * The command line of bypost-bench.  Main thread. */
#pragma once
#include "bench/sink.h"
#include "bench/source.h"

enum bench_mode { BENCH_SOURCE, BENCH_SINK, BENCH_MATCH };

struct bench_options {
	enum bench_mode mode;
	struct engine_conf engine;
	struct source_conf source;
	struct sink_conf sink;
	const char *ledger;             /* file to be written */
	const char *ledgers[2];         /* BENCH_MATCH: the source's and the sink's */
	const char *tls_cert, *tls_key; /* PEM files, sink */
	const char *note;               /* copied into the result */
	uint64_t ledger_max;
	uint64_t stop_after; /* sink: messages; 0: a signal ends it */
	bool json, progress;
};

/* Returns 0; or -1, and says on standard error what is wrong; 1: help was asked for. */
int bench_options_parse(struct bench_options *o, int argc, char **argv);
