/* SPDX-License-Identifier: BSD-3-Clause
 * One run of bypost-bench: its parts, and what they run on.  Main thread. */
#pragma once
#include "bench/bench_options.h"

/* Parts that are not there are NULL. */
struct bench {
	struct bench_options o;
	struct engine *engine;
	struct source *source;
	struct sink *sink;
	struct reader *reader;
	struct corpus corpus;
	struct ledger ledger;      /* of the source, or of the only part */
	struct ledger sink_ledger; /* of a sink beside a source */
	struct conn_tls tls;
	uint32_t run;
	uint64_t began_us, next_us, last_n;
	bool line_open; /* of progress */
};

/* The line of progress, each second; then the end of it. */
void bench_progress(struct bench *b, uint64_t now_us);
void bench_progress_end(struct bench *b);
/* Results to standard output; a JSON object is a line, and a sink beside a source has a second one.
 */
void bench_print(const struct bench *b);
