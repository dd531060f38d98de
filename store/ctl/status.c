/* SPDX-License-Identifier: BSD-3-Clause
 * `status` on one screen, and `counters`. */
#include "store/ctl/ctl.h"

static const json_t *part(const json_t *o, const char *key)
{
	return json_object_get(o, key);
}

static void head(const json_t *o)
{
	char host[64], up[16];

	printf("bypostd %s on %s, %s for %s, pid %llu\n", ctl_text(o, "version"),
		format_safe(ctl_text(o, "hostname"), host, sizeof(host)), ctl_text(o, "state"),
		format_duration(ctl_number(o, "uptime_ms"), up),
		(unsigned long long)ctl_number(o, "pid"));
	if (strcmp(ctl_text(o, "durability"), "sync") == 0)
		printf("durability   sync: 250 comes after the commit is on disk\n");
	else
		printf("durability   %s: UNSAFE, accepted mail can be lost\n",
			ctl_text(o, "durability"));
}

static void store(const json_t *s)
{
	char path[128], file[16], space[16], reserve[16];

	printf("store        %s, %s: %s used, %s free on disk (%s kept), %llu accounts\n",
		ctl_text(s, "health"), format_safe(ctl_text(s, "path"), path, sizeof(path)),
		format_bytes(ctl_number(s, "file_bytes"), file),
		format_bytes(ctl_number(s, "disk_free_bytes"), space),
		format_bytes(ctl_number(s, "reserve_bytes"), reserve),
		(unsigned long long)ctl_number(s, "accounts"));
	const json_t *one;
	size_t i;
	json_array_foreach(json_object_get(s, "shards"), i, one) printf(
		"  shard %-3zu  %s, %s: %s used, %s free on disk, %llu queued\n", i,
		ctl_text(one, "health"), format_safe(ctl_text(one, "path"), path, sizeof(path)),
		format_bytes(ctl_number(one, "file_bytes"), file),
		format_bytes(ctl_number(one, "disk_free_bytes"), space),
		(unsigned long long)ctl_number(one, "queued_messages"));
	printf("commits      %llu, %.1f operations and %.1f ms each; errors %llu, refused full "
	       "%llu\n",
		(unsigned long long)ctl_number(s, "commits"), ctl_real(s, "group_mean"),
		ctl_real(s, "commit_us_mean") / 1000.0, (unsigned long long)ctl_number(s, "errors"),
		(unsigned long long)ctl_number(s, "refused_full"));
}

static void messages(const json_t *m)
{
	char in[16], out[16], refused[16], deferred[16], failed[16], bounces[16];

	printf("\nmessages     %10s %10s %10s\n", "total", "now/s", "mean/s");
	printf("  in         %10s %10.1f %10.1f   refused %s\n",
		format_count(ctl_number(m, "in"), in), ctl_real(m, "in_now"),
		ctl_real(m, "in_mean"), format_count(ctl_number(m, "refused"), refused));
	printf("  out        %10s %10.1f %10.1f   deferred %s, failed %s, bounces %s\n",
		format_count(ctl_number(m, "out"), out), ctl_real(m, "out_now"),
		ctl_real(m, "out_mean"), format_count(ctl_number(m, "deferred"), deferred),
		format_count(ctl_number(m, "failed"), failed),
		format_count(ctl_number(m, "bounces"), bounces));
}

static void queue(const json_t *q)
{
	printf("queue        %llu messages, %llu recipients: %llu scheduled, %llu active%s\n",
		(unsigned long long)ctl_number(q, "messages"),
		(unsigned long long)ctl_number(q, "recipients"),
		(unsigned long long)ctl_number(q, "scheduled"),
		(unsigned long long)ctl_number(q, "active"),
		json_is_true(part(q, "loading")) ? " (still loading)" : "");
}

static void connections(const json_t *c)
{
	static const char *const kinds[] = {"smtp", "pop3", "imap", "out"};
	char key[16], total[16];

	printf("connections ");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		snprintf(key, sizeof(key), "%s_total", kinds[i]);
		printf(" %s %llu (of %s)%s", kinds[i], (unsigned long long)ctl_number(c, kinds[i]),
			format_count(ctl_number(c, key), total),
			i + 1 < ARRAY_LEN(kinds) ? "," : "\n");
	}
}

static void cores(const json_t *all)
{
	const json_t *c;
	char roles[64], laps[16];
	size_t i;

	printf("\ncore   busy       laps  long  worst lap  conns  ops      roles\n");
	json_array_foreach(all, i, c)
	{
		format_list(part(c, "roles"), roles, sizeof(roles));
		printf("%-4llu %5.1f%% %10s %5llu %8.1fms %6llu  %-8llu %s\n",
			(unsigned long long)ctl_number(c, "core"), ctl_real(c, "busy") * 100.0,
			format_count(ctl_number(c, "laps"), laps),
			(unsigned long long)ctl_number(c, "long_laps"),
			ctl_real(c, "worst_lap_us") / 1000.0,
			(unsigned long long)ctl_number(c, "connections"),
			(unsigned long long)ctl_number(c, "ops_in_flight"), roles);
	}
}

static void ports(const json_t *all)
{
	const json_t *p;
	char name[32], device[64], rx[16], tx[16];
	size_t i;

	printf("\nport         driver         device         rx pkts  missed   tx pkts  errors  "
	       "link\n");
	json_array_foreach(all, i, p)
	{
		printf("%-12s %-14s %-12s %9s %7llu %9s %7llu  %s\n",
			format_safe(ctl_text(p, "name"), name, sizeof(name)), ctl_text(p, "driver"),
			format_safe(ctl_text(p, "device"), device, sizeof(device)),
			format_count(ctl_number(p, "rx_packets"), rx),
			(unsigned long long)(ctl_number(p, "rx_missed") +
					     ctl_number(p, "rx_errors")),
			format_count(ctl_number(p, "tx_packets"), tx),
			(unsigned long long)ctl_number(p, "tx_errors"),
			json_is_true(part(p, "link_up")) ? "up" : "down");
	}
}

static void tcp(const json_t *t)
{
	char in[16], out[16];

	printf("tcp          opens active %llu passive %llu, failed %llu, resets %llu; segments in "
	       "%s out %s\n",
		(unsigned long long)ctl_number(t, "active_opens"),
		(unsigned long long)ctl_number(t, "passive_opens"),
		(unsigned long long)ctl_number(t, "attempt_fails"),
		(unsigned long long)ctl_number(t, "estab_resets"),
		format_count(ctl_number(t, "in_segs"), in),
		format_count(ctl_number(t, "out_segs"), out));
	printf("             retransmitted %llu (fast %llu, timeouts %llu), out of order %llu, bad "
	       "%llu\n",
		(unsigned long long)ctl_number(t, "retrans_segs"),
		(unsigned long long)ctl_number(t, "fast_retrans"),
		(unsigned long long)ctl_number(t, "rto_expired"),
		(unsigned long long)ctl_number(t, "in_ooo"),
		(unsigned long long)ctl_number(t, "in_errs"));
}

static void pools(const json_t *all)
{
	const json_t *p;
	size_t i;

	printf("\npool in use ");
	json_array_foreach(all, i, p) printf("%s %s %llu/%llu", i ? "," : "", ctl_text(p, "name"),
		(unsigned long long)ctl_number(p, "in_use"),
		(unsigned long long)ctl_number(p, "size"));
	printf("\n");
}

static void show_status(const json_t *o, void *ctx)
{
	(void)ctx;
	head(o);
	store(part(o, "store"));
	messages(part(o, "messages"));
	queue(part(o, "queue"));
	connections(part(o, "connections"));
	cores(part(o, "cores"));
	ports(part(o, "ports"));
	tcp(part(o, "tcp"));
	pools(part(o, "pools"));
}

int ctl_status(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return ctl_run(c, json_pack("{s:s}", "command", "status"), show_status, NULL, NULL);
}

static void show_counters(const json_t *o, void *ctx)
{
	const struct ctl *c = ctx;
	const char *thread = ctl_text(o, "thread"), *name;
	json_t *v;

	if ((c->given & CTL_OPT_THREADS) == 0 && strcmp(thread, "all") != 0)
		return;
	json_object_foreach((json_t *)part(o, "counters"), name, v)
	{
		if (json_integer_value(v) != 0 || (c->given & CTL_OPT_THREADS) == 0)
			printf("%-12s %-28s %" JSON_INTEGER_FORMAT "\n", thread, name,
				json_integer_value(v));
	}
}

int ctl_counters(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return ctl_run(c, json_pack("{s:s}", "command", "counters"), show_counters, c, NULL);
}

int ctl_reload(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	int exit = ctl_run(c, json_pack("{s:s}", "command", "reload"), NULL, NULL, NULL);

	if (exit == CTL_OK && !c->json)
		puts("certificates renewed");
	return exit;
}
