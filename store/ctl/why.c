/* SPDX-License-Identifier: BSD-3-Clause
 * `why`, `queue why`, `queue domains`. */
#include "store/ctl/ctl.h"
#include "dataplane/base/clock.h"

static const char *safe(const json_t *o, const char *key, char out[700])
{
	return format_safe(ctl_text(o, key), out, 700);
}

static const char *until(uint64_t at_ms, char out[20])
{
	uint64_t now = clock_wall_ms();
	char in[16];

	if (at_ms <= now)
		snprintf(out, 20, "now");
	else
		snprintf(out, 20, "in %s", format_duration(at_ms - now, in));
	return out;
}

/* ---- one message ---- */

static void show_rcpt(const json_t *o, void *ctx)
{
	const json_t *r = json_object_get(o, "route");
	char text[700], more[700];

	(void)ctx;
	printf("%s: %s\n", safe(o, "address", text), ctl_text(o, "cause"));
	printf("    %s\n", safe(o, "text", text));
	printf("    %s\n", safe(o, "remedy", text));
	if (r && ctl_text(r, "hosts")[0])
		printf("    next hops of %s: %s; connections %llu of %llu, %llu ready, %llu in the "
		       "backlog\n",
			safe(r, "domain", text), safe(r, "hosts", more),
			(unsigned long long)ctl_number(r, "connections"),
			(unsigned long long)ctl_number(r, "connections_max"),
			(unsigned long long)ctl_number(r, "ready"),
			(unsigned long long)ctl_number(r, "backlog"));
}

int ctl_queue_why(struct ctl *c, char **args, int n)
{
	json_t *request = json_pack("{s:s, s:s}", "command", "queue why", "id", args[0]);
	json_t *last = NULL;

	(void)n;
	if (!request) {
		fprintf(stderr, "bypostctl: the ID is not text\n");
		return CTL_USAGE;
	}
	int exit = ctl_run(c, request, show_rcpt, NULL, &last);
	if (exit == CTL_OK && !c->json && json_is_true(json_object_get(last, "more")))
		printf("and more recipients (queue show %s)\n", args[0]);
	json_decref(last);
	return exit;
}

/* ---- everything ---- */

struct why_titles {
	bool now, refused, waiting;
};

static void title(bool *done, const char *text)
{
	if (!*done)
		puts(text);
	*done = true;
}

static void show_why(const json_t *o, void *ctx)
{
	struct why_titles *t = ctx;
	const char *kind = ctl_text(o, "kind");
	char text[700], more[700], count[16], age[16], next[20];

	format_count(ctl_number(o, "count"), count);
	if (strcmp(kind, "now") == 0) {
		title(&t->now, "NOW");
		printf("  %s  %s\n", safe(o, "text", text), safe(o, "remedy", more));
	} else if (strcmp(kind, "refused") == 0) {
		title(&t->refused, "NOT ACCEPTED, since the start");
		printf("  %8s %8.1f/s  %s (%s)\n", count, ctl_real(o, "now"), safe(o, "text", text),
			ctl_text(o, "what"));
	} else {
		title(&t->waiting, "NOT DELIVERED YET, recipients by reason");
		printf("  %8s  %s%s\n", count,
			strcmp(kind, "held") == 0 ? "held by an operator; " : "",
			safe(o, "text", text));
		printf("            oldest %s, next try %s; for example %s to %s\n",
			format_duration(ctl_number(o, "oldest_ms"), age),
			until(ctl_number(o, "next_ms"), next), ctl_text(o, "id"),
			safe(o, "address", more));
	}
}

int ctl_why(struct ctl *c, char **args, int n)
{
	json_t *request = json_pack("{s:s}", "command", "why"), *last = NULL;
	struct why_titles t = {0};

	(void)args;
	(void)n;
	if (c->given & CTL_OPT_LIMIT)
		json_object_set_new(request, "limit", json_integer((json_int_t)c->limit));
	int exit = ctl_run(c, request, show_why, &t, &last);
	if (exit == CTL_OK && !c->json) {
		if (!t.now && !t.refused && !t.waiting)
			puts("Nothing is refused and nothing waits.");
		else if (!json_is_true(json_object_get(last, "all")))
			printf("Looked at the oldest %llu messages only.\n",
				(unsigned long long)ctl_number(last, "messages"));
	}
	json_decref(last);
	return exit;
}

/* ---- domains ---- */

#define ROW "%-28s %10s %8s %-9s %7s %8s  %s\n"

static void show_domain(const json_t *o, void *ctx)
{
	bool *titled = ctx;
	char name[700], recipients[16], backlog[16], conns[32], next[20], text[700], down[16];

	if (!*titled)
		printf(ROW, "domain", "recipients", "due", "route", "conns", "next",
			"hosts; reason");
	*titled = true;
	snprintf(conns, sizeof(conns), "%llu/%llu",
		(unsigned long long)ctl_number(o, "connections"),
		(unsigned long long)ctl_number(o, "connections_max"));
	if (ctl_number(o, "next_ms"))
		until(ctl_number(o, "next_ms"), next);
	else
		snprintf(next, sizeof(next), "-");
	printf(ROW, safe(o, "domain", name), format_count(ctl_number(o, "recipients"), recipients),
		format_count(ctl_number(o, "backlog"), backlog), ctl_text(o, "route"), conns, next,
		safe(o, "hosts", text));
	if (ctl_text(o, "reason")[0])
		printf("    %s%s%s%s\n", safe(o, "reason", text),
			ctl_number(o, "down_ms") ? " (left alone for " : "",
			ctl_number(o, "down_ms") ? format_duration(ctl_number(o, "down_ms"), down)
						 : "",
			ctl_number(o, "down_ms") ? ")" : "");
}

int ctl_queue_domains(struct ctl *c, char **args, int n)
{
	json_t *request = json_pack("{s:s}", "command", "queue domains"), *last = NULL;
	bool titled = false;

	(void)args;
	(void)n;
	if (c->given & CTL_OPT_LIMIT)
		json_object_set_new(request, "limit", json_integer((json_int_t)c->limit));
	int exit = ctl_run(c, request, show_domain, &titled, &last);
	if (exit == CTL_OK && !c->json) {
		if (!titled)
			puts("No mail waits to be delivered.");
		else if (json_is_true(json_object_get(last, "more")))
			puts("More: --limit N");
	}
	json_decref(last);
	return exit;
}
