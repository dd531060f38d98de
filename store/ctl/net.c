/* SPDX-License-Identifier: BSD-3-Clause
 * `net` and its parts. */
#include "store/ctl/ctl.h"

static const json_t *part(const json_t *o, const char *key)
{
	return json_object_get(o, key);
}

static unsigned long long number(const json_t *o, const char *key)
{
	return ctl_number(o, key);
}

static void ports(const json_t *o)
{
	const json_t *p;
	char name[32], device[64], rx[16], tx[16];
	size_t i;

	printf("%-12s %-14s %-14s %-17s %4s %6s %9s %7s %7s %9s %7s\n", "port", "driver", "device",
		"mac", "link", "queues", "rx pkts", "missed", "errors", "tx pkts", "errors");
	json_array_foreach(part(o, "ports"), i, p)
	{
		printf("%-12s %-14s %-14s %-17s %4s %6llu %9s %7llu %7llu %9s %7llu\n",
			format_safe(ctl_text(p, "name"), name, sizeof(name)), ctl_text(p, "driver"),
			format_safe(ctl_text(p, "device"), device, sizeof(device)),
			ctl_text(p, "mac"), json_is_true(part(p, "link_up")) ? "up" : "down",
			number(p, "rx_queues"), format_count(number(p, "rx_packets"), rx),
			number(p, "rx_missed"), number(p, "rx_errors"),
			format_count(number(p, "tx_packets"), tx), number(p, "tx_errors"));
		printf("  offloads: %s\n", ctl_text(p, "offloads"));
	}
}

static void stages_text(const json_t *core, char *out, size_t cap)
{
	const char *stage;
	json_t *v;
	size_t n = 0;

	out[0] = '\0';
	json_object_foreach((json_t *)(uintptr_t)part(core, "long_laps_by_stage"), stage, v)
	{
		int w = snprintf(out + n, cap - n, "%s%s %" JSON_INTEGER_FORMAT, n ? ", " : "",
			stage, json_integer_value(v));
		n = MIN(n + (size_t)MAX(w, 0), cap - 1);
	}
}

static void cores(const json_t *o)
{
	const json_t *c;
	char laps[16], stages[80], roles[64], worst[24];
	size_t i;

	printf("%-4s %6s %8s %9s %9s %8s %14s %8s %7s %s\n", "core", "busy", "laps/s", "rx/s",
		"tx/s", "sleeps/s", "worst lap", "steered", "strays", "roles; long laps");
	json_array_foreach(part(o, "cores"), i, c)
	{
		stages_text(c, stages, sizeof(stages));
		format_list(part(c, "roles"), roles, sizeof(roles));
		snprintf(worst, sizeof(worst), "%.1fms %s", ctl_real(c, "worst_lap_us") / 1000.0,
			number(c, "worst_lap_us") ? ctl_text(c, "worst_lap_stage") : "");
		printf("%-4llu %5.1f%% %8s %9.0f %9.0f %8.0f %14s %8llu %7llu %s%s%s\n",
			number(c, "core"), ctl_real(c, "busy") * 100.0,
			format_count((uint64_t)ctl_real(c, "laps_now"), laps),
			ctl_real(c, "rx_packets_now"), ctl_real(c, "tx_packets_now"),
			ctl_real(c, "sleeps_now"), worst, number(c, "steered"), number(c, "strays"),
			roles, stages[0] ? "; " : "", stages);
	}
}

static void ring_rows(const json_t *o, bool all)
{
	const json_t *r;
	size_t i;
	unsigned hidden = 0;

	printf("%-20s %-8s %7s %7s %7s %9s\n", "ring", "kind", "size", "depth", "most", "drops");
	json_array_foreach(part(o, "rings"), i, r)
	{
		bool quiet = number(r, "depth") == 0 && number(r, "drops") == 0 &&
			     number(r, "high") * 2 < number(r, "size");
		hidden += quiet && !all;
		if (!quiet || all)
			printf("%-20s %-8s %7llu %7llu %7llu %9llu\n", ctl_text(r, "name"),
				ctl_text(r, "kind"), number(r, "size"), number(r, "depth"),
				number(r, "high"), number(r, "drops"));
	}
	if (hidden)
		printf("  and %u rings that are empty and never were half full (net rings)\n",
			hidden);
}

static void rings(const json_t *o)
{
	ring_rows(o, true);
}

static void pools(const json_t *o)
{
	const json_t *p;
	char bytes[16];
	size_t i;

	printf("%-20s %9s %9s %5s %8s\n", "pool", "size", "in use", "full", "memory");
	json_array_foreach(part(o, "pools"), i, p)
	{
		unsigned long long size = number(p, "size");
		printf("%-20s %9llu %9llu %4llu%% %8s\n", ctl_text(p, "name"), size,
			number(p, "in_use"), size ? number(p, "in_use") * 100 / size : 0,
			format_bytes(size * number(p, "element_bytes"), bytes));
	}
}

static void counters_line(const json_t *o, const char *name)
{
	const char *key;
	json_t *v;

	printf("%-10s", name);
	json_object_foreach((json_t *)(uintptr_t)part(o, name), key, v)
		printf(" %s %" JSON_INTEGER_FORMAT, key, json_integer_value(v));
	putchar('\n');
}

static void show_all(const json_t *o, void *ctx)
{
	(void)ctx;
	ports(o);
	putchar('\n');
	cores(o);
	putchar('\n');
	ring_rows(o, false);
	putchar('\n');
	pools(o);
	putchar('\n');
	counters_line(o, "steer");
	counters_line(o, "ip");
	counters_line(o, "pressure");
}

static void show_part(const json_t *o, void *ctx)
{
	void (*const *show)(const json_t *o) = ctx;

	(*show)(o);
}

static int run_part(struct ctl *c, void (*show)(const json_t *o))
{
	return ctl_run(c, json_pack("{s:s}", "command", "net"), show_part, (void *)&show, NULL);
}

int ctl_net(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return ctl_run(c, json_pack("{s:s}", "command", "net"), show_all, NULL, NULL);
}

int ctl_net_ports(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return run_part(c, ports);
}

int ctl_net_cores(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return run_part(c, cores);
}

int ctl_net_rings(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return run_part(c, rings);
}

int ctl_net_pools(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return run_part(c, pools);
}

static void show_neighbour(const json_t *o, void *ctx)
{
	bool *titled = ctx;

	if (!*titled)
		printf("%-4s %-12s %-39s %-17s %-10s %s\n", "core", "port", "address", "mac",
			"state", "waiting");
	*titled = true;
	printf("%-4llu %-12s %-39s %-17s %-10s %llu\n", number(o, "core"), ctl_text(o, "port"),
		ctl_text(o, "address"), ctl_text(o, "mac"), ctl_text(o, "state"),
		number(o, "queued"));
}

int ctl_net_neighbours(struct ctl *c, char **args, int n)
{
	bool titled = false;

	(void)args;
	(void)n;
	int exit = ctl_run(
		c, json_pack("{s:s}", "command", "net neighbours"), show_neighbour, &titled, NULL);
	if (exit == CTL_OK && !titled && !c->json)
		puts("No neighbour is known.");
	return exit;
}

static void show_route(const json_t *o, void *ctx)
{
	(void)ctx;
	printf("%-43s %-12s mtu %-5llu %s%s\n", ctl_text(o, "network"), ctl_text(o, "port"),
		number(o, "mtu"), ctl_text(o, "via")[0] ? "via " : "", ctl_text(o, "via"));
}

int ctl_net_routes(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return ctl_run(c, json_pack("{s:s}", "command", "net routes"), show_route, NULL, NULL);
}
