/* SPDX-License-Identifier: BSD-3-Clause
 * bypost-bench: an SMTP source and an SMTP sink that prove that nothing was lost, doubled or
 * altered on the way between them.  docs/benchmark.md. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bench/bench_options.h"
#include "bench/letter.h"
#include "dataplane/base/log.h"
#include "dataplane/port.h"

#define TICK_US      20000
#define TLS_FILE_MAX (256u * 1024)
#define LINK_US      (10 * US_PER_SEC) /* for a port to be connected */
#define RLIMIT_SPARE 64

static volatile sig_atomic_t stopping;

/* One of source and sink, with what it runs on. */
static struct bench {
	struct bench_options o;
	struct engine *engine;
	struct source *source;
	struct sink *sink;
	struct ledger ledger;
	struct tls *tls;
	struct tls_config *tls_config;
	uint32_t run;
	uint64_t began_us, next_us, last_n;
} bench;

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
	if (b->o.mode == BENCH_SINK) {
		buf_init(&chain, chain_memory, sizeof(chain_memory));
		buf_init(&key, key_memory, sizeof(key_memory));
		if (!file_read(b->o.tls_cert, &chain) || !file_read(b->o.tls_key, &key))
			return -1;
		identity.chain = buf_view(&chain);
		identity.key = buf_view(&key);
		conf.identities = &identity;
		conf.identity_count = 1;
	}
	b->tls_config = tls_config_create(&conf, error, sizeof(error));
	b->tls = b->tls_config ? tls_create(b->o.engine.connections_max) : NULL;
	if (b->tls)
		return 0;
	fprintf(stderr, "bypost-bench: TLS: %s\n", error);
	return -1;
}

static unsigned bench_poll(void *ctx, uint64_t now_us)
{
	struct bench *b = ctx;
	unsigned n = b->tls ? tls_poll(b->tls, now_us) : 0;

	return n + (b->source ? source_poll(b->source, now_us) : sink_poll(b->sink, now_us));
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

static int begin(struct bench *b)
{
	char error[256] = "";
	int rc;

	raise_limits(b);
	letters_init();
	if (getrandom(&b->run, sizeof(b->run), 0) < 0)
		b->run = (uint32_t)getpid();
	b->engine = b->o.engine.dpdk ? engine_dpdk_create(&b->o.engine, error, sizeof(error))
				     : engine_kernel_create(&b->o.engine, error, sizeof(error));
	if (!b->engine) {
		fprintf(stderr, "bypost-bench: %s\n", error);
		return -1;
	}
	if (ledger_init(&b->ledger, b->o.ledger_max) < 0 || tls_start(b) < 0)
		return -1;
	if (b->o.mode == BENCH_SOURCE)
		b->source = source_create(
			&b->o.source, b->engine, b->tls, b->tls_config, &b->ledger, b->run);
	else
		b->sink = sink_create(&b->o.sink, b->engine, b->tls, b->tls_config, &b->ledger);
	if (!b->source && !b->sink) {
		fprintf(stderr, "bypost-bench: no memory\n");
		return -1;
	}
	rc = b->sink ? sink_listen(b->sink) : 0;
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

	while (b->source && b->o.engine.dpdk && clock_mono_us() < until && !stopping) {
		if (port_get_info(&info, 1) == 1 && info.link_up)
			return;
		usleep(1000);
	}
}

/* ---- while it runs ---- */

static void show_progress(struct bench *b, uint64_t now_us)
{
	double seconds = (double)(now_us - b->began_us) / 1e6;
	uint64_t n;

	if (b->source) {
		struct source_figures *f = source_figures(b->source);
		n = f->accepted;
		fprintf(stderr,
			"%6.0f s %10llu messages %8llu/s %6u sessions %8llu refused, p50 %.2f ms "
			"p99 %.2f ms\n",
			seconds, (unsigned long long)n, (unsigned long long)(n - b->last_n),
			f->open, (unsigned long long)f->refused,
			(double)hist_at(&f->accept_us, 0.5) / 1e3,
			(double)hist_at(&f->accept_us, 0.99) / 1e3);
	} else {
		struct sink_figures *f = sink_figures(b->sink);
		n = f->messages;
		fprintf(stderr, "%6.0f s %10llu messages %8llu/s %6u sessions %8llu altered\n",
			seconds, (unsigned long long)n, (unsigned long long)(n - b->last_n),
			f->open, (unsigned long long)f->altered);
	}
	b->last_n = n;
}

static bool finished(struct bench *b)
{
	if (b->source)
		return source_figures(b->source)->finished;
	return stopping || (b->o.stop_after && sink_figures(b->sink)->messages >= b->o.stop_after);
}

static void run(struct bench *b)
{
	b->began_us = clock_mono_us();
	b->next_us = b->began_us + US_PER_SEC;
	while (!finished(b)) {
		if (stopping && b->source)
			source_end(b->source);
		usleep(TICK_US);
		log_drain();
		dataplane_tend();
		uint64_t now = clock_mono_us();
		if (now < b->next_us)
			continue;
		b->next_us += US_PER_SEC;
		if (b->o.progress)
			show_progress(b, now);
	}
}

/* ---- results ---- */

static void cpu_model(char *out, size_t cap)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char line[256];

	snprintf(out, cap, "?");
	while (f && fgets(line, sizeof(line), f)) {
		char *colon = strchr(line, ':');
		if (!colon || strncmp(line, "model name", 10) != 0)
			continue;
		colon[strcspn(colon, "\n\"\\")] = '\0';
		snprintf(out, cap, "%s", colon + 2);
		break;
	}
	if (f)
		fclose(f);
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print_text_json(const char *key, const char *text)
{
	printf(", \"%s\": \"", key);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putchar('\\');
		if ((unsigned char)*text >= ' ')
			putchar(*text);
	}
	putchar('"');
}

static void print_machine(const struct bench *b)
{
	char model[128];

	cpu_model(model, sizeof(model));
	printf(", \"version\": \"%s\", \"cpus\": %ld, \"cpu_seconds\": %.2f", BYPOST_VERSION,
		sysconf(_SC_NPROCESSORS_ONLN), cpu_seconds());
	print_text_json("cpu", model);
	print_text_json("port", b->o.engine.dpdk ? b->o.engine.port.device : "sockets");
	if (b->o.note)
		print_text_json("note", b->o.note);
}

static double measured_seconds(const struct source_figures *f)
{
	return f->measured_to_us > f->measured_from_us
		       ? (double)(f->measured_to_us - f->measured_from_us) / 1e6
		       : 0;
}

static double per_second(uint64_t n, double seconds)
{
	return seconds > 0 ? (double)n / seconds : 0;
}

static void print_refusals_json(const struct source_figures *f)
{
	static const char *const kinds[] = {"4xx", "5xx", "lost"};
	const char *comma = "";

	printf(", \"refusals\": {");
	for (unsigned s = 0; s < SOURCE_STAGE_N; s++) {
		for (unsigned k = 0; k < SOURCE_REFUSAL_N; k++) {
			if (!f->refusals[s][k])
				continue;
			printf("%s\"%s_%s\": %llu", comma, source_stage_names[s], kinds[k],
				(unsigned long long)f->refusals[s][k]);
			comma = ", ";
		}
	}
	printf("}");
	print_text_json("first_refusal", f->first_refusal);
}

/* [accepted, refused, mean us, slowest us] for each second. */
static void print_series_json(const struct source_figures *f)
{
	printf(", \"series\": [");
	for (uint32_t i = 0; i < f->series_n; i++) {
		const struct source_second *s = &f->series[i];
		printf("%s[%u, %u, %.0f, %u]", i ? ", " : "", s->accepted, s->refused,
			s->accepted ? (double)s->sum_us / s->accepted : 0, s->slowest_us);
	}
	printf("]");
}

static void print_source_json(const struct bench *b)
{
	const struct source_figures *f = source_figures(b->source);
	double seconds = measured_seconds(f);

	printf("{\"bench\": \"source\", \"engine\": \"%s\", \"run\": \"%08x\", \"sessions\": %u",
		b->engine->name, b->run, b->o.source.sessions);
	printf(", \"begun\": %llu, \"accepted\": %llu, \"refused\": %llu, \"recipients\": %llu, "
	       "\"octets\": %llu, \"connections\": %llu, \"behind\": %llu",
		(unsigned long long)f->begun, (unsigned long long)f->accepted,
		(unsigned long long)f->refused, (unsigned long long)f->rcpts_accepted,
		(unsigned long long)f->octets, (unsigned long long)f->connections,
		(unsigned long long)f->behind);
	printf(", \"seconds\": %.3f, \"per_s\": %.1f, \"octets_per_s\": %.0f, ", seconds,
		per_second(f->measured, seconds), per_second(f->measured_octets, seconds));
	hist_print_json(&f->accept_us, "accept_us");
	printf(", ");
	hist_print_json(&f->connect_us, "connect_us");
	print_refusals_json(f);
	printf(", \"rate\": %.1f", b->o.source.rate);
	print_series_json(f);
	print_machine(b);
	printf("}\n");
}

static void print_failures_json(const struct sink_figures *f)
{
	static const char *const kinds[] = {"4xx", "5xx", "drop"};
	const char *comma = "";

	printf(", \"failures\": {");
	for (unsigned s = 0; s < SINK_STAGE_N; s++) {
		for (unsigned k = 0; k < SINK_FAILURE_N; k++) {
			if (!f->failures[s][k])
				continue;
			printf("%s\"%s_%s\": %llu", comma, sink_stage_names[s], kinds[k],
				(unsigned long long)f->failures[s][k]);
			comma = ", ";
		}
	}
	printf("}");
}

static void print_sink_json(const struct bench *b)
{
	const struct sink_figures *f = sink_figures(b->sink);
	double seconds = (double)(f->last_us - f->first_us) / 1e6;

	printf("{\"bench\": \"sink\", \"engine\": \"%s\"", b->engine->name);
	printf(", \"messages\": %llu, \"recipients\": %llu, \"octets\": %llu, \"connections\": "
	       "%llu, \"altered\": %llu, \"foreign\": %llu, \"seconds\": %.3f, \"per_s\": %.1f, ",
		(unsigned long long)f->messages, (unsigned long long)f->rcpts,
		(unsigned long long)f->octets, (unsigned long long)f->connections,
		(unsigned long long)f->altered, (unsigned long long)f->foreign, seconds,
		per_second(f->messages, seconds));
	hist_print_json(&f->end_to_end_us, "end_to_end_us");
	print_failures_json(f);
	print_machine(b);
	printf("}\n");
}

static void print_hist(const struct hist *h, const char *name)
{
	printf("%-16s p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  max %.3f ms\n", name,
		(double)hist_at(h, 0.5) / 1e3, (double)hist_at(h, 0.9) / 1e3,
		(double)hist_at(h, 0.99) / 1e3, (double)hist_at(h, 0.999) / 1e3,
		(double)h->max / 1e3);
}

static void print_text(const struct bench *b)
{
	if (b->source) {
		const struct source_figures *f = source_figures(b->source);
		double seconds = measured_seconds(f);
		printf("accepted %llu of %llu messages, %.0f/s and %.1f MB/s over %.1f s\n",
			(unsigned long long)f->accepted, (unsigned long long)f->begun,
			per_second(f->measured, seconds),
			per_second(f->measured_octets, seconds) / 1e6, seconds);
		print_hist(&f->connect_us, "connect");
		print_hist(&f->accept_us, "250");
		if (f->first_refusal[0])
			printf("refused %llu, the first at %s\n", (unsigned long long)f->refused,
				f->first_refusal);
		return;
	}
	const struct sink_figures *f = sink_figures(b->sink);
	printf("received %llu messages for %llu recipients, %llu altered, %llu not ours\n",
		(unsigned long long)f->messages, (unsigned long long)f->rcpts,
		(unsigned long long)f->altered, (unsigned long long)f->foreign);
	print_hist(&f->end_to_end_us, "end to end");
}

static int report(struct bench *b)
{
	int rc = 0;

	if (b->o.json)
		b->source ? print_source_json(b) : print_sink_json(b);
	else
		print_text(b);
	if (b->o.ledger)
		rc = ledger_write(&b->ledger, b->o.ledger);
	if (rc < 0)
		fprintf(stderr, "bypost-bench: %s: %s\n", b->o.ledger, strerror(-rc));
	if (b->ledger.dropped) {
		fprintf(stderr, "bypost-bench: the ledger was too small: --ledger-max\n");
		rc = -1;
	}
	if (b->source)
		return rc < 0 || source_figures(b->source)->accepted == 0 ? 1 : 0;
	return rc < 0 || sink_figures(b->sink)->altered ? 1 : 0;
}

static int match(const struct bench_options *o)
{
	struct ledger l[2];
	struct ledger_match m;

	for (unsigned i = 0; i < 2; i++) {
		int rc = ledger_init(&l[i], o->ledger_max);
		if (rc == 0)
			rc = ledger_read(&l[i], o->ledgers[i]);
		if (rc < 0 || l[i].dropped) {
			fprintf(stderr, "bypost-bench: %s: %s\n", o->ledgers[i],
				rc < 0 ? strerror(-rc) : "too large: --ledger-max");
			return 2;
		}
	}
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
	tls_destroy(&b->tls);
	tls_config_destroy(&b->tls_config);
	source_destroy(&b->source);
	sink_destroy(&b->sink);
	ledger_fini(&b->ledger);
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
