/* SPDX-License-Identifier: BSD-3-Clause
 * What bypost-bench says: progress, and results as text and JSON. */
#include "bench/bench.h"
#include <openssl/crypto.h>
#include <rte_version.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

static unsigned long long ull(uint64_t v)
{
	return v;
}

/* ---- progress ---- */

static void progress_source(
	const struct bench *b, double seconds, char *out, size_t cap, uint64_t *n)
{
	struct source_figures *f = source_figures(b->source);

	*n = f->accepted;
	snprintf(out, cap,
		"%6.0f s %10llu messages %8llu/s %6u sessions %8llu refused, p50 %.2f ms p99 %.2f "
		"ms",
		seconds, ull(*n), ull(*n - b->last_n), source_open(b->source), ull(f->refused),
		(double)hist_at(&f->accept_us, 0.5) / 1e3,
		(double)hist_at(&f->accept_us, 0.99) / 1e3);
}

static void progress_received(
	const struct bench *b, double seconds, char *out, size_t cap, uint64_t *n)
{
	const struct sink_figures *sink = b->sink ? sink_figures(b->sink) : NULL;
	const struct reader_figures *reader = b->reader ? reader_figures(b->reader) : NULL;

	*n = sink ? sink->messages : reader->messages;
	snprintf(out, cap, "%6.0f s %10llu messages %8llu/s %6u sessions %8llu altered", seconds,
		ull(*n), ull(*n - b->last_n), sink ? sink_open(b->sink) : reader_open(b->reader),
		ull(sink ? sink->altered : reader->altered));
}

void bench_progress(struct bench *b, uint64_t now_us)
{
	double seconds = (double)(now_us - b->began_us) / 1e6;
	char line[256];
	uint64_t n;

	if (b->source)
		progress_source(b, seconds, line, sizeof(line), &n);
	else
		progress_received(b, seconds, line, sizeof(line), &n);
	b->last_n = n;
	b->line_open = isatty(2);
	if (b->line_open)
		fprintf(stderr, "\r%s\x1b[K", line); /* over the line before */
	else
		fprintf(stderr, "%s\n", line);
}

void bench_progress_end(struct bench *b)
{
	if (b->line_open)
		fputc('\n', stderr);
	b->line_open = false;
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

/* Octets of memory of this process. */
static uint64_t resident(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long all = 0, pages = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%lu %lu", &all, &pages) != 2)
		pages = 0;
	fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static const char *port_kind(const struct bench *b)
{
	static const char *const names[] = {[PORT_TAP] = "tap",
		[PORT_AF_PACKET] = "af_packet",
		[PORT_AF_XDP] = "af_xdp",
		[PORT_MEMIF] = "memif",
		[PORT_PCI] = "pci",
		[PORT_RING] = "ring"};

	return b->o.engine.dpdk ? names[b->o.engine.port.kind] : "sockets";
}

static void print_machine(const struct bench *b)
{
	struct utsname u;
	char model[128];

	uname(&u);
	cpu_model(model, sizeof(model));
	printf(", \"version\": \"%s\", \"cpus\": %ld, \"cpu_seconds\": %.2f, \"rss_octets\": %llu",
		BYPOST_VERSION, sysconf(_SC_NPROCESSORS_ONLN), cpu_seconds(), ull(resident()));
	printf(", \"versions\": {\"bypost\": \"%s\", \"dpdk\": \"%s\", \"openssl\": \"%s\"",
		BYPOST_VERSION, rte_version(), OpenSSL_version(OPENSSL_VERSION));
	print_text_json("kernel", u.release);
	printf("}");
	print_text_json("cpu", model);
	print_text_json("port_kind", port_kind(b));
	print_text_json("port", b->o.engine.dpdk ? b->o.engine.port.device : "sockets");
	if (b->o.durability)
		print_text_json("durability", b->o.durability);
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
				ull(f->refusals[s][k]));
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
		ull(f->begun), ull(f->accepted), ull(f->refused), ull(f->rcpts_accepted),
		ull(f->octets), ull(f->connections), ull(f->behind));
	printf(", \"seconds\": %.3f, \"per_s\": %.1f, \"octets_per_s\": %.0f, ", seconds,
		per_second(f->measured, seconds), per_second(f->measured_octets, seconds));
	hist_print_json(&f->accept_us, "accept_us");
	printf(", ");
	hist_print_json(&f->connect_us, "connect_us");
	print_refusals_json(f);
	printf(", \"rate\": %.1f, \"session_octets\": %zu", b->o.source.rate,
		source_session_octets());
	if (b->o.source.hold > 0)
		printf(", \"held\": %llu, \"held_after_s\": %.3f", ull(f->ready_most),
			(double)f->held_us / 1e6);
	print_series_json(f);
	print_machine(b);
	printf("}\n");
}

static void print_failures_json(const struct sink_figures *f)
{
	const char *comma = "";

	printf(", \"failures\": {");
	for (unsigned s = 0; s < SINK_STAGE_N; s++) {
		for (unsigned k = 0; k < SINK_FAILURE_N; k++) {
			if (!f->failures[s][k])
				continue;
			printf("%s\"%s_%s\": %llu", comma, sink_stage_names[s],
				sink_failure_names[k], ull(f->failures[s][k]));
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
		ull(f->messages), ull(f->rcpts), ull(f->octets), ull(f->connections),
		ull(f->altered), ull(f->foreign), seconds, per_second(f->messages, seconds));
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

static void print_source(const struct bench *b)
{
	const struct source_figures *f = source_figures(b->source);
	double seconds = measured_seconds(f);

	if (b->o.source.hold > 0)
		printf("held %llu sessions, all open after %.2f s; %zu octets for each here, %.1f "
		       "MB in all\n",
			ull(f->ready_most), (double)f->held_us / 1e6, source_session_octets(),
			(double)resident() / 1e6);
	else
		printf("accepted %llu of %llu messages, %.0f/s and %.1f MB/s over %.1f s\n",
			ull(f->accepted), ull(f->begun), per_second(f->measured, seconds),
			per_second(f->measured_octets, seconds) / 1e6, seconds);
	print_hist(&f->connect_us, "connect");
	print_hist(&f->accept_us, "250");
	if (f->first_refusal[0])
		printf("refused %llu, the first at %s\n", ull(f->refused), f->first_refusal);
	for (unsigned s = 0; s < SOURCE_STAGE_N; s++) {
		const _Atomic uint64_t *n = f->refusals[s];
		if (n[SOURCE_4XX] || n[SOURCE_5XX] || n[SOURCE_LOST])
			printf("  %-9s %llu times 4xx, %llu times 5xx, %llu without an answer\n",
				source_stage_names[s], ull(n[SOURCE_4XX]), ull(n[SOURCE_5XX]),
				ull(n[SOURCE_LOST]));
	}
}

static void print_sink(const struct bench *b)
{
	const struct sink_figures *f = sink_figures(b->sink);

	printf("received %llu messages for %llu recipients, %llu altered, %llu not ours\n",
		ull(f->messages), ull(f->rcpts), ull(f->altered), ull(f->foreign));
	print_hist(&f->end_to_end_us, "end to end");
}

static void print_reader(const struct bench *b)
{
	const struct reader_figures *f = reader_figures(b->reader);

	printf("read %llu messages, %llu altered, %llu not ours; %llu sessions failed\n",
		ull(f->messages), ull(f->altered), ull(f->foreign), ull(f->failed));
	print_hist(&f->connect_us, "connect");
	print_hist(&f->end_to_end_us, "end to end");
	if (f->first_failure[0])
		printf("the first failure: %s\n", f->first_failure);
}

static void print_reader_json(const struct bench *b)
{
	const struct reader_figures *f = reader_figures(b->reader);
	double seconds = (double)(f->last_us - f->first_us) / 1e6;

	printf("{\"bench\": \"reader\", \"engine\": \"%s\", \"protocol\": \"%s\", \"mailboxes\": "
	       "%u",
		b->engine->name, b->o.reader.imap ? "imap" : "pop3", b->o.reader.mailboxes);
	printf(", \"messages\": %llu, \"octets\": %llu, \"connections\": %llu, \"altered\": %llu, "
	       "\"foreign\": %llu, \"failed\": %llu, \"seconds\": %.3f, \"per_s\": %.1f, ",
		ull(f->messages), ull(f->octets), ull(f->connections), ull(f->altered),
		ull(f->foreign), ull(f->failed), seconds, per_second(f->messages, seconds));
	hist_print_json(&f->end_to_end_us, "end_to_end_us");
	printf(", ");
	hist_print_json(&f->connect_us, "connect_us");
	print_text_json("first_failure", f->first_failure);
	print_machine(b);
	printf("}\n");
}

void bench_print(const struct bench *b)
{
	if (b->source)
		b->o.json ? print_source_json(b) : print_source(b);
	if (b->sink)
		b->o.json ? print_sink_json(b) : print_sink(b);
	if (b->reader)
		b->o.json ? print_reader_json(b) : print_reader(b);
}
