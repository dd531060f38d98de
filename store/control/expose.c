/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/control/expose.h"
#include <event2/buffer.h>
#include <string.h>

#define NAME_MAX_OCTETS 96

/* Backslash, line end, and in labels quotes as well. */
static void add_escaped(struct evbuffer *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		if (*p == '\n')
			evbuffer_add(out, "\\n", 2);
		else if (*p == '\\' || *p == '"')
			evbuffer_add_printf(out, "\\%c", *p);
		else
			evbuffer_add(out, p, 1);
	}
}

void expose_family(struct evbuffer *out, const char *name, const char *type, const char *help)
{
	evbuffer_add_printf(out, "# HELP bypost_%s ", name);
	for (const char *p = help; *p; p++) {
		if (*p == '\n' || *p == '\\')
			evbuffer_add_printf(out, "\\%c", *p == '\n' ? 'n' : '\\');
		else
			evbuffer_add(out, p, 1);
	}
	evbuffer_add_printf(out, "\n# TYPE bypost_%s %s\n", name, type);
}

void expose_value(struct evbuffer *out, const char *name, const char *label,
	const char *label_value, double v)
{
	evbuffer_add_printf(out, "bypost_%s", name);
	if (label) {
		evbuffer_add_printf(out, "{%s=\"", label);
		add_escaped(out, label_value);
		evbuffer_add(out, "\"}", 2);
	}
	evbuffer_add_printf(out, " %.15g\n", v);
}

void expose_gauge(struct evbuffer *out, const char *name, const char *help, double v)
{
	expose_family(out, name, "gauge", help);
	expose_value(out, name, NULL, NULL, v);
}

/* The base unit that Prometheus wants: "core_busy_us" is "core_busy_seconds". */
static double base_unit(const struct counter_info *info, char name[NAME_MAX_OCTETS])
{
	size_t n = strlen(info->name);
	bool us = strcmp(info->unit, "us") == 0;

	if (us && n > 3 && strcmp(info->name + n - 3, "_us") == 0)
		n -= 3;
	snprintf(name, NAME_MAX_OCTETS, "%.*s%s", (int)MIN(n, (size_t)64), info->name,
		us ? "_seconds" : "");
	return us ? 1e-6 : 1.0;
}

/* ---- counters ---- */

static bool of_a_core(const char *name)
{
	static const char *const rooms[] = {"core_", "port_", "steer_", "tcp_"};

	for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
		if (strncmp(name, rooms[i], strlen(rooms[i])) == 0)
			return true;
	}
	return false;
}

static void expose_cores(struct evbuffer *out, const char *name, unsigned counter, double unit)
{
	unsigned shown = 0;

	for (unsigned i = 0; i < counters_count(); i++) {
		const struct counters *block = counters_get(i);
		if (strncmp(block->thread, "core", 4) != 0)
			continue;
		uint64_t v = atomic_load_explicit(&block->value[counter], memory_order_relaxed);
		expose_value(out, name, "core", block->thread + 4, (double)v * unit);
		shown++;
	}
	if (!shown)
		expose_value(
			out, name, NULL, NULL, (double)counters_sum((enum counter)counter) * unit);
}

void expose_counters(struct evbuffer *out)
{
	char name[NAME_MAX_OCTETS], total[NAME_MAX_OCTETS + 8];

	for (unsigned i = 0; i < COUNTER_N; i++) {
		double unit = base_unit(&counter_table[i], name);
		snprintf(total, sizeof(total), "%s_total", name);
		expose_family(out, total, "counter", counter_table[i].help);
		if (of_a_core(counter_table[i].name))
			expose_cores(out, total, i, unit);
		else
			expose_value(out, total, NULL, NULL,
				(double)counters_sum((enum counter)i) * unit);
	}
}

/* ---- histograms ---- */

/* The powers of two are where buckets end exactly. */
static void expose_buckets(
	struct evbuffer *out, const char *name, const struct histogram_view *view, double unit)
{
	uint64_t seen = 0;

	for (unsigned i = 0; i + 1 < HISTOGRAM_BUCKETS && seen < view->count; i++) {
		seen += view->bucket[i];
		if ((i + 1) % HISTOGRAM_SUB != 0 || seen == 0)
			continue;
		evbuffer_add_printf(out, "bypost_%s_bucket{le=\"%.9g\"} %llu\n", name,
			(double)histogram_upper(i) * unit, (unsigned long long)seen);
	}
	evbuffer_add_printf(
		out, "bypost_%s_bucket{le=\"+Inf\"} %llu\n", name, (unsigned long long)view->count);
}

void expose_histograms(struct evbuffer *out)
{
	static struct histogram_view view;
	char name[NAME_MAX_OCTETS];

	for (unsigned i = 0; i < HISTOGRAM_N; i++) {
		double unit = base_unit(&histogram_table[i], name);
		histograms_sum((enum histogram_id)i, &view);
		expose_family(out, name, "histogram", histogram_table[i].help);
		expose_buckets(out, name, &view, unit);
		evbuffer_add_printf(out, "bypost_%s_sum %.15g\nbypost_%s_count %llu\n", name,
			(double)view.sum * unit, name, (unsigned long long)view.count);
	}
}
