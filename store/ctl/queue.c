/* SPDX-License-Identifier: BSD-3-Clause
 * `queue list|show|retry|delete|hold|release|bounce|priority`. */
#include "store/ctl/ctl.h"
#include "dataplane/base/clock.h"

static json_t *request_make(const struct ctl *c, const char *command, const char *id)
{
	json_t *r = json_pack("{s:s}", "command", command);

	if (id)
		json_object_set_new(r, "id", json_string(id));
	if (c->domain)
		json_object_set_new(r, "domain", json_string(c->domain));
	if (c->sender)
		json_object_set_new(r, "sender", json_string(c->sender));
	if (c->recipient)
		json_object_set_new(r, "recipient", json_string(c->recipient));
	if (c->older_ms)
		json_object_set_new(r, "older_ms", json_integer((json_int_t)c->older_ms));
	return r;
}

static const char *age(uint64_t then_ms, char out[16])
{
	uint64_t now = clock_wall_ms();

	return format_duration(now > then_ms ? now - then_ms : 0, out);
}

static const char *next_try(const json_t *rcpt, char out[20])
{
	uint64_t now = clock_wall_ms(), next = ctl_number(rcpt, "next_ms");
	char in[16];

	if (strcmp(ctl_text(rcpt, "state"), "held") == 0)
		snprintf(out, 20, "-");
	else if (next <= now)
		snprintf(out, 20, "now");
	else
		snprintf(out, 20, "in %s", format_duration(next - now, in));
	return out;
}

static const char *sender_text(const json_t *message, char out[64])
{
	const char *sender = ctl_text(message, "sender");

	return sender[0] ? format_safe(sender, out, 64) : "<>";
}

#define ROW "%-16s %6s %6s %-26s %-26s %-9s %5s %8s  %s\n"

static void row(const json_t *message, const json_t *rcpt, bool first)
{
	char since[16], size[16], sender[64], to[64], tries[16], next[20], reason[256];

	snprintf(tries, sizeof(tries), "%llu", (unsigned long long)ctl_number(rcpt, "attempts"));
	printf(ROW, first ? ctl_text(message, "id") : "",
		first ? age(ctl_number(message, "received_ms"), since) : "",
		first ? format_bytes(ctl_number(message, "size"), size) : "",
		first ? sender_text(message, sender) : "",
		format_safe(ctl_text(rcpt, "address"), to, sizeof(to)), ctl_text(rcpt, "state"),
		tries, next_try(rcpt, next),
		format_safe(ctl_text(rcpt, "reason"), reason, sizeof(reason)));
}

static void show_message(const json_t *message, void *ctx)
{
	bool *titled = ctx;
	const json_t *rcpt;
	size_t i;

	if (!*titled)
		printf(ROW, "id", "age", "size", "sender", "recipient", "state", "tries", "next",
			"reason");
	*titled = true;
	json_array_foreach(json_object_get(message, "recipients"), i, rcpt)
		row(message, rcpt, i == 0);
}

int ctl_queue_list(struct ctl *c, char **args, int n)
{
	json_t *request = request_make(c, "queue list", NULL), *last = NULL;
	bool titled = false;

	(void)args;
	(void)n;
	if (c->given & CTL_OPT_LIMIT)
		json_object_set_new(request, "limit", json_integer((json_int_t)c->limit));
	if (c->from)
		json_object_set_new(request, "from_id", json_string(c->from));
	int exit = ctl_run(c, request, show_message, &titled, &last);
	bool none = exit == CTL_OK && ctl_number(last, "messages") == 0;
	if (exit == CTL_OK && !c->json) {
		if (none)
			puts(c->domain || c->sender ? "No message matches."
						    : "The queue is empty.");
		else if (ctl_text(last, "next_id")[0])
			printf("More: --from %s\n", ctl_text(last, "next_id"));
	}
	json_decref(last);
	return none && (c->domain || c->sender) ? CTL_NOT_FOUND : exit;
}

static void show_whole(const json_t *m, void *ctx)
{
	char text[512], since[16], size[16], expires[16], next[20];
	uint64_t now = clock_wall_ms(), expire = ctl_number(m, "expire_ms");
	const json_t *rcpt;
	size_t i;

	(void)ctx;
	printf("id          %s\n", ctl_text(m, "id"));
	printf("sender      %s\n", sender_text(m, text));
	printf("from host   %s\n", format_safe(ctl_text(m, "peer"), text, sizeof(text)));
	printf("age         %s\n", age(ctl_number(m, "received_ms"), since));
	printf("expires in  %s\n", format_duration(expire > now ? expire - now : 0, expires));
	printf("size        %s\n", format_bytes(ctl_number(m, "size"), size));
	json_array_foreach(json_object_get(m, "recipients"), i, rcpt)
	{
		printf("recipient   %s\n",
			format_safe(ctl_text(rcpt, "address"), text, sizeof(text)));
		printf("            %s, priority %lld, %llu attempts, next %s\n",
			ctl_text(rcpt, "state"),
			(long long)json_integer_value(json_object_get(rcpt, "priority")),
			(unsigned long long)ctl_number(rcpt, "attempts"), next_try(rcpt, next));
		if (ctl_text(rcpt, "reason")[0])
			printf("            %s\n",
				format_safe(ctl_text(rcpt, "reason"), text, sizeof(text)));
	}
}

int ctl_queue_show(struct ctl *c, char **args, int n)
{
	(void)n;
	return ctl_run(c, request_make(c, "queue show", args[0]), show_whole, NULL, NULL);
}

/* request: taken; n: whether an ID is in it. */
static int act_on(struct ctl *c, json_t *request, const char *did, int n)
{
	json_t *last = NULL;

	if (n == 0 && !c->domain && !c->sender && !c->recipient && !c->older_ms) {
		if (!(c->given & CTL_OPT_ALL)) {
			json_decref(request);
			fprintf(stderr, "bypostctl: an ID, a filter or --all is needed\n");
			return CTL_USAGE;
		}
		json_object_set_new(request, "all", json_true());
	}
	int exit = ctl_run(c, request, NULL, NULL, &last);
	if (exit == CTL_OK && !c->json)
		printf("%s %llu messages, %llu recipients\n", did,
			(unsigned long long)ctl_number(last, "messages"),
			(unsigned long long)ctl_number(last, "recipients"));
	json_decref(last);
	return exit;
}

static int act(struct ctl *c, const char *command, const char *did, char **args, int n)
{
	return act_on(c, request_make(c, command, n ? args[0] : NULL), did, n);
}

/* RFC 6710 and its names for the levels of X.400 (appendix A). */
static bool priority_parse(const char *text, long *level_r)
{
	static const struct {
		const char *name;
		long level;
	} names[] = {
		{"urgent", 4 },
                {"normal", 0 },
                {"bulk",   -4}
        };
	char *end;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		*level_r = names[i].level;
		if (strcmp(text, names[i].name) == 0)
			return true;
	}
	*level_r = strtol(text, &end, 10);
	return end != text && *end == '\0' && *level_r >= -9 && *level_r <= 9;
}

int ctl_queue_priority(struct ctl *c, char **args, int n)
{
	long level;

	if (!priority_parse(args[0], &level)) {
		fprintf(stderr,
			"bypostctl: a level is urgent, normal, bulk or a number from -9 to 9\n");
		return CTL_USAGE;
	}
	json_t *request = request_make(c, "queue priority", n > 1 ? args[1] : NULL);
	json_object_set_new(request, "priority", json_integer(level));
	return act_on(c, request, "changed", n - 1);
}

int ctl_queue_retry(struct ctl *c, char **args, int n)
{
	return act(c, "queue retry", "retrying", args, n);
}

int ctl_queue_delete(struct ctl *c, char **args, int n)
{
	if (n == 0 && c->given & CTL_OPT_ALL && !(c->given & CTL_OPT_YES)) {
		fprintf(stderr, "bypostctl: --all deletes the whole queue: say --yes as well\n");
		return CTL_USAGE;
	}
	return act(c, "queue delete", "deleted", args, n);
}

int ctl_queue_hold(struct ctl *c, char **args, int n)
{
	return act(c, "queue hold", "held", args, n);
}

int ctl_queue_release(struct ctl *c, char **args, int n)
{
	return act(c, "queue release", "released", args, n);
}

int ctl_queue_bounce(struct ctl *c, char **args, int n)
{
	return act(c, "queue bounce", "returning", args, n);
}
