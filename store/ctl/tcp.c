/* SPDX-License-Identifier: BSD-3-Clause
 * `tcp`, `tcp list`, `tcp show`. */
#include "store/ctl/ctl.h"

static void put(json_t *request, const char *key, const char *text)
{
	if (text)
		json_object_set_new(request, key, json_string(text));
}

static const char *ms(uint64_t us, char out[16])
{
	if (us == 0)
		snprintf(out, 16, "-");
	else
		snprintf(out, 16, us < 10000 ? "%.1fms" : "%.0fms", (double)us / 1000.0);
	return out;
}

/* ---- list ---- */

#define ROW "%-14s %-21s %-21s %-12s %6s %7s %7s %5s %6s %6s %6s %6s %5s  %s\n"

static void show_row(const json_t *o, void *ctx)
{
	bool *titled = ctx;
	char cwnd[16], srtt[16], rto[16], retrans[16], in[16], out[16], unsent[16], unread[16],
		age[16], owner[128];

	if (!*titled)
		printf(ROW, "id", "local", "peer", "state", "cwnd", "srtt", "rto", "retr", "in",
			"out", "unsent", "unread", "age", "owner");
	*titled = true;
	snprintf(
		retrans, sizeof(retrans), "%llu", (unsigned long long)ctl_number(o, "retransmits"));
	printf(ROW, ctl_text(o, "id"), ctl_text(o, "local"), ctl_text(o, "peer"),
		ctl_text(o, "state"), format_bytes(ctl_number(o, "cwnd"), cwnd),
		ms(ctl_number(o, "srtt_us"), srtt), ms(ctl_number(o, "rto_us"), rto), retrans,
		format_bytes(ctl_number(o, "bytes_in"), in),
		format_bytes(ctl_number(o, "bytes_out"), out),
		format_bytes(ctl_number(o, "unsent") + ctl_number(o, "flight"), unsent),
		format_bytes(ctl_number(o, "unread"), unread),
		format_duration(ctl_number(o, "age_ms"), age),
		format_safe(ctl_text(o, "owner"), owner, sizeof(owner)));
}

int ctl_tcp_list(struct ctl *c, char **args, int n)
{
	json_t *request = json_pack("{s:s}", "command", "tcp list"), *last = NULL;
	bool titled = false;

	(void)args;
	(void)n;
	put(request, "state", c->state);
	put(request, "peer", c->peer);
	put(request, "sort", c->sort);
	if (c->given & CTL_OPT_PORT)
		json_object_set_new(request, "port", json_integer((json_int_t)c->port));
	if (c->given & CTL_OPT_LIMIT)
		json_object_set_new(request, "limit", json_integer((json_int_t)c->limit));
	int exit = ctl_run(c, request, show_row, &titled, &last);
	bool filtered = c->given & (CTL_OPT_STATE | CTL_OPT_PEER | CTL_OPT_PORT);
	bool none = exit == CTL_OK && ctl_number(last, "connections") == 0;
	if (none && !c->json)
		puts(filtered ? "No connection matches." : "There are no connections.");
	if (exit == CTL_OK && !c->json && json_is_true(json_object_get(last, "more")))
		printf("More: --limit N\n");
	json_decref(last);
	return none && filtered ? CTL_NOT_FOUND : exit;
}

/* ---- show ---- */

static void line(const char *name, const char *format, ...) PRINTF(2, 3);
static void line(const char *name, const char *format, ...)
{
	va_list ap;

	printf("%-18s ", name);
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
}

static unsigned long long number(const json_t *o, const char *key)
{
	return ctl_number(o, key);
}

static void show_sending(const json_t *o)
{
	char srtt[16], var[16], min[16], rto[16];

	line("does not send", "%s", ctl_text(o, "limit"));
	if (json_object_get(o, "ssthresh"))
		line("congestion", "%s: cwnd %llu, ssthresh %llu, MSS %llu",
			ctl_text(o, "congestion"), number(o, "cwnd"), number(o, "ssthresh"),
			number(o, "mss"));
	else
		line("congestion", "%s: cwnd %llu, no loss yet, MSS %llu",
			ctl_text(o, "congestion"), number(o, "cwnd"), number(o, "mss"));
	line("round trip", "%s, variation %s, minimum %s, RTO %s",
		ms(ctl_number(o, "srtt_us"), srtt), ms(ctl_number(o, "rttvar_us"), var),
		ms(ctl_number(o, "min_rtt_us"), min), ms(ctl_number(o, "rto_us"), rto));
	line("sent",
		"%llu acknowledged, %llu in flight, %llu unsent; peer's window %llu (scale %llu)",
		number(o, "bytes_out"), number(o, "flight"), number(o, "unsent"),
		number(o, "send_window"), number(o, "send_scale"));
	line("retransmitted",
		"%llu segments; timeouts without an answer %llu, RTO doubled %llu times",
		number(o, "retransmits"), number(o, "retries"), number(o, "backoff"));
}

static void show_whole(const json_t *o, void *ctx)
{
	char age[16], quiet[16], owner[128];
	const json_t *flag;
	size_t i;

	(void)ctx;
	line("connection", "%s on core %llu", ctl_text(o, "id"), number(o, "core"));
	line("local", "%s", ctl_text(o, "local"));
	line("peer", "%s", ctl_text(o, "peer"));
	line("state", "%s", ctl_text(o, "state"));
	line("owner", "%s", format_safe(ctl_text(o, "owner"), owner, sizeof(owner)));
	line("age", "%s, quiet for %s", format_duration(ctl_number(o, "age_ms"), age),
		format_duration(ctl_number(o, "quiet_ms"), quiet));
	show_sending(o);
	line("received",
		"%llu; unread %llu, out of order %llu buffers, memory %llu; our window %llu "
		"(scale %llu)",
		number(o, "bytes_in"), number(o, "unread"), number(o, "out_of_order_buffers"),
		number(o, "charged"), number(o, "receive_window"), number(o, "receive_scale"));
	printf("%-18s", "flags");
	json_array_foreach(json_object_get(o, "flags"), i, flag)
		printf(" %s", json_string_value(flag));
	putchar('\n');
}

int ctl_tcp_show(struct ctl *c, char **args, int n)
{
	(void)n;
	return ctl_run(c, json_pack("{s:s, s:s}", "command", "tcp show", "id", args[0]), show_whole,
		NULL, NULL);
}

/* ---- the stack ---- */

static void show_states(const json_t *states)
{
	const char *state;
	json_t *v;

	printf("%-18s", "connections");
	json_object_foreach((json_t *)(uintptr_t)states, state, v)
	{
		if (json_integer_value(v))
			printf(" %s %" JSON_INTEGER_FORMAT, state, json_integer_value(v));
	}
	putchar('\n');
}

static void show_stack(const json_t *o, void *ctx)
{
	const char *name;
	json_t *v;

	(void)ctx;
	show_states(json_object_get(o, "states"));
	line("segments/s", "in %.0f, out %.0f, again %.0f (%.2f %%)", ctl_real(o, "in_segs_now"),
		ctl_real(o, "out_segs_now"), ctl_real(o, "retrans_segs_now"),
		ctl_real(o, "retrans_share_now") * 100.0);
	line("opens/s", "%.1f", ctl_real(o, "opens_now"));
	json_object_foreach((json_t *)(uintptr_t)o, name, v)
	{
		if (json_is_integer(v))
			printf("%-28s %" JSON_INTEGER_FORMAT "\n", name, json_integer_value(v));
	}
}

int ctl_tcp(struct ctl *c, char **args, int n)
{
	(void)args;
	(void)n;
	return ctl_run(c, json_pack("{s:s}", "command", "tcp"), show_stack, NULL, NULL);
}
