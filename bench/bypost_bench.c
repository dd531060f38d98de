/* SPDX-License-Identifier: BSD-3-Clause
 * bypost-bench: an SMTP source and an SMTP sink that prove that nothing was lost, doubled or
 * altered on the way between them.  docs/benchmark.md. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>
#include "bench/bench.h"
#include "bench/letter.h"
#include "dataplane/base/log.h"
#include "dataplane/port.h"

#define TICK_US      20000
#define TLS_FILE_MAX (256u * 1024)
#define LINK_US      (10 * US_PER_SEC) /* for a port to be connected */
#define RLIMIT_SPARE 64

static volatile sig_atomic_t stopping;

static struct bench bench;

static void on_signal(int number)
{
	(void)number;
	stopping = 1;
}

/* ---- set-up ---- */

static bool file_read(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "re");
	bool ok = f != NULL;

	if (f) {
		out->n = fread(out->p, 1, out->cap, f);
		ok = !ferror(f) && out->n < out->cap;
		fclose(f);
	}
	if (!ok)
		fprintf(stderr, "bypost-bench: %s: %s\n", path, strerror(errno));
	return ok;
}

static int tls_start(struct bench *b)
{
	static uint8_t chain_memory[TLS_FILE_MAX], key_memory[TLS_FILE_MAX];
	struct tls_identity_pem identity = {.name = "--cert"};
	struct tls_conf conf = {0};
	char error[256] = "no memory";
	struct buf chain, key;

	if (!(b->o.source.starttls || b->o.source.tls))
		return 0;
	if (b->o.tls_cert && b->o.tls_key) {
		buf_init(&chain, chain_memory, sizeof(chain_memory));
		buf_init(&key, key_memory, sizeof(key_memory));
		if (!file_read(b->o.tls_cert, &chain) || !file_read(b->o.tls_key, &key))
			return -1;
		identity.chain = buf_view(&chain);
		identity.key = buf_view(&key);
		conf.identities = &identity;
		conf.identity_count = 1;
	}
	b->tls.config = tls_config_create(&conf, error, sizeof(error));
	b->tls.tls = b->tls.config ? tls_create(b->o.engine.connections_max) : NULL;
	if (b->tls.tls)
		return 0;
	fprintf(stderr, "bypost-bench: TLS: %s\n", error);
	return -1;
}

static unsigned bench_poll(void *ctx, uint64_t now_us)
{
	struct bench *b = ctx;
	unsigned n = b->tls.tls ? tls_poll(b->tls.tls, now_us) : 0;

	n += b->source ? source_poll(b->source, now_us) : 0;
	n += b->sink ? sink_poll(b->sink, now_us) : 0;
	return n + (b->reader ? reader_poll(b->reader, now_us) : 0);
}

static void raise_limits(const struct bench *b)
{
	struct rlimit limit;
	rlim_t want = b->o.engine.connections_max + RLIMIT_SPARE;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= want)
		return;
	limit.rlim_cur = want;
	if (limit.rlim_max < want)
		limit.rlim_max = want;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		fprintf(stderr, "bypost-bench: %lu descriptors: %s\n", (unsigned long)want,
			strerror(errno));
}

static int engine_begin(struct bench *b)
{
	char error[256] = "";

	raise_limits(b);
	b->engine = b->o.engine.dpdk ? engine_dpdk_create(&b->o.engine, error, sizeof(error))
				     : engine_kernel_create(&b->o.engine, error, sizeof(error));
	if (b->engine)
		return 0;
	fprintf(stderr, "bypost-bench: %s\n", error);
	return -1;
}

static int corpus_begin(struct bench *b)
{
	char error[256];

	if (!b->o.corpus)
		return 0;
	if (corpus_load(&b->corpus, b->o.corpus, error, sizeof(error)) < 0) {
		fprintf(stderr, "bypost-bench: %s\n", error);
		return -1;
	}
	b->o.source.corpus = &b->corpus;
	return 0;
}

/* False: no memory. */
static bool parts_create(struct bench *b)
{
	struct bench_options *o = &b->o;
	bool sink = o->mode == BENCH_SINK || o->with_sink;
	struct ledger *sink_ledger = o->with_sink ? &b->sink_ledger : &b->ledger;

	if (ledger_init(&b->ledger, o->ledger_max) < 0 ||
		(o->with_sink && ledger_init(&b->sink_ledger, o->ledger_max) < 0))
		return false;
	if (o->mode == BENCH_SOURCE)
		b->source = source_create(&o->source, b->engine, &b->tls, &b->ledger, b->run);
	if (sink)
		b->sink = sink_create(&o->sink, b->engine, &b->tls, sink_ledger);
	if (o->mode == BENCH_READER)
		b->reader = reader_create(&o->reader, b->engine, &b->tls, &b->ledger);
	return (o->mode != BENCH_SOURCE || b->source) && (!sink || b->sink) &&
	       (o->mode != BENCH_READER || b->reader);
}

static int begin(struct bench *b)
{
	letters_init();
	if (getrandom(&b->run, sizeof(b->run), 0) < 0)
		b->run = (uint32_t)getpid();
	if (corpus_begin(b) < 0 || engine_begin(b) < 0 || tls_start(b) < 0)
		return -1;
	if (!parts_create(b)) {
		fprintf(stderr, "bypost-bench: no memory\n");
		return -1;
	}
	int rc = b->sink ? sink_listen(b->sink) : 0;
	if (rc < 0) {
		fprintf(stderr, "bypost-bench: listen: %s\n", strerror(-rc));
		return -1;
	}
	b->engine->poller = (struct poller){bench_poll, b};
	return 0;
}

/* A memif has a link when the other end is there. */
static void wait_for_link(const struct bench *b)
{
	uint64_t until = clock_mono_us() + LINK_US;
	struct port_info info;

	while (b->o.mode != BENCH_SINK && b->o.engine.dpdk && clock_mono_us() < until &&
		!stopping) {
		if (port_get_info(&info, 1) == 1 && info.link_up)
			return;
		usleep(1000);
	}
}

/* ---- while it runs ---- */

/* A sink beside the source waits for what the source was told 250 for. */
static bool drained(struct bench *b, uint64_t now_us)
{
	static uint64_t until_us;

	if (!b->sink || sink_figures(b->sink)->rcpts >= source_figures(b->source)->rcpts_accepted)
		return true;
	if (!until_us)
		until_us = now_us + (uint64_t)(b->o.drain * 1e6);
	return stopping || now_us >= until_us;
}

static bool sink_finished(struct bench *b)
{
	const struct sink_figures *f = sink_figures(b->sink);

	return stopping || (b->o.stop_after && f->messages >= b->o.stop_after) ||
	       (b->o.stop_sessions && f->ended >= b->o.stop_sessions);
}

static bool finished(struct bench *b, uint64_t now_us)
{
	if (b->source)
		return source_figures(b->source)->finished && drained(b, now_us);
	return b->reader ? reader_figures(b->reader)->finished : sink_finished(b);
}

static void run(struct bench *b)
{
	uint64_t now = clock_mono_us();

	b->began_us = now;
	b->next_us = now + US_PER_SEC;
	while (!finished(b, now)) {
		if (stopping && b->source)
			source_end(b->source);
		if (stopping && b->reader)
			reader_end(b->reader);
		usleep(TICK_US);
		log_drain();
		dataplane_tend();
		now = clock_mono_us();
		if (now < b->next_us)
			continue;
		b->next_us += US_PER_SEC;
		if (b->o.progress)
			bench_progress(b, now);
	}
	bench_progress_end(b);
}

/* ---- the end ---- */

static int write_ledger(const struct ledger *l, const char *path)
{
	int rc = path ? ledger_write(l, path) : 0;

	if (rc < 0)
		fprintf(stderr, "bypost-bench: %s: %s\n", path, strerror(-rc));
	if (!l->dropped)
		return rc;
	fprintf(stderr, "bypost-bench: the ledger was too small: --ledger-max\n");
	return -1;
}

/* Was what was asked for done? */
static bool succeeded(struct bench *b)
{
	if (b->source && b->o.source.hold > 0)
		return source_figures(b->source)->held_us > 0;
	if (b->source && source_figures(b->source)->accepted == 0)
		return false;
	if (b->sink && sink_figures(b->sink)->altered)
		return false;
	const struct reader_figures *f = b->reader ? reader_figures(b->reader) : NULL;
	return !f || (!f->altered && f->connections &&
			     (b->o.reader.expect ? f->messages >= b->o.reader.expect : !f->failed));
}

static int report(struct bench *b)
{
	bench_print(b);
	bool written = write_ledger(&b->ledger, b->o.ledger) == 0;
	written &= write_ledger(&b->sink_ledger, b->o.sink_ledger) == 0;
	return written && succeeded(b) ? 0 : 1;
}

/* Returns 0, or 2 after saying why not. */
static int ledger_load(struct ledger *l, const struct bench_options *o, unsigned from, unsigned to)
{
	int rc = ledger_init(l, o->ledger_max);

	for (unsigned i = from; i < to; i++) {
		if (rc == 0)
			rc = ledger_read(l, o->ledgers[i]);
		if (rc < 0 || l->dropped) {
			fprintf(stderr, "bypost-bench: %s: %s\n", o->ledgers[i],
				rc < 0 ? strerror(-rc) : "too large: --ledger-max");
			return 2;
		}
	}
	return 0;
}

static int match(const struct bench_options *o)
{
	struct ledger l[2];
	struct ledger_match m;

	if (ledger_load(&l[0], o, 0, 1) != 0 || ledger_load(&l[1], o, 1, o->ledger_count) != 0)
		return 2;
	ledger_match(&l[0], &l[1], &m);
	printf("{\"accepted\": %llu, \"refused\": %llu, \"unknown\": %llu, \"received\": %llu, "
	       "\"bounced\": %llu, \"lost\": %llu, \"doubled\": %llu, \"altered\": %llu, "
	       "\"forged\": %llu}\n",
		(unsigned long long)m.accepted, (unsigned long long)m.refused,
		(unsigned long long)m.unknown, (unsigned long long)m.received,
		(unsigned long long)m.bounced, (unsigned long long)m.lost,
		(unsigned long long)m.doubled, (unsigned long long)m.altered,
		(unsigned long long)m.forged);
	return ledger_proves(&m) ? 0 : 1;
}

static void end(struct bench *b)
{
	if (b->engine)
		engine_destroy(b->engine);
	tls_destroy(&b->tls.tls);
	tls_config_destroy(&b->tls.config);
	source_destroy(&b->source);
	sink_destroy(&b->sink);
	reader_destroy(&b->reader);
	corpus_free(&b->corpus);
	ledger_fini(&b->ledger);
	ledger_fini(&b->sink_ledger);
	log_flush();
}

int main(int argc, char **argv)
{
	struct bench *b = &bench;
	int rc = bench_options_parse(&b->o, argc, argv);

	if (rc != 0)
		return rc < 0 ? 2 : 0;
	if (b->o.mode == BENCH_MATCH)
		return match(&b->o);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	rc = 1;
	if (begin(b) == 0) {
		wait_for_link(b);
		int err = engine_start(b->engine);
		if (err == 0) {
			run(b);
			engine_stop(b->engine);
			rc = report(b);
		} else {
			fprintf(stderr, "bypost-bench: %s\n", strerror(-err));
		}
	}
	end(b);
	return rc;
}
