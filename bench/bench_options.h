/* SPDX-License-Identifier: BSD-3-Clause
 * The command line of bypost-bench.  Main thread. */
#pragma once
#include "bench/reader.h"
#include "bench/sink.h"
#include "bench/source.h"

enum bench_mode { BENCH_SOURCE, BENCH_SINK, BENCH_READER, BENCH_MATCH };

#define BENCH_LEDGERS_MAX 16

struct bench_options {
	enum bench_mode mode;
	struct engine_conf engine;
	struct source_conf source;
	struct sink_conf sink;
	struct reader_conf reader;
	bool with_sink;                   /* a source that is the sink as well */
	double drain;                     /* seconds it waits for what was accepted */
	const char *ledger, *sink_ledger; /* files to be written */
	const char
		*ledgers[BENCH_LEDGERS_MAX]; /* BENCH_MATCH: the source's, then what was received */
	unsigned ledger_count;
	const char *corpus;
	const char *tls_cert, *tls_key; /* PEM files, sink */
	const char *note, *durability;  /* copied into the result */
	char login[256];                /* user, NUL, password */
	uint64_t ledger_max;
	uint64_t stop_after, stop_sessions; /* sink: messages, sessions; 0: a signal ends it */
	int family;                         /* 4, 6; 0: as the address is */
	bool json, progress;
	bool domains_given; /* --domain */
};

/* Returns 0; or -1, and says on standard error what is wrong; 1: help was asked for. */
int bench_options_parse(struct bench_options *o, int argc, char **argv);
