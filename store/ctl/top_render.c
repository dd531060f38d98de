/* SPDX-License-Identifier: BSD-3-Clause
 * The pages of `top`.  The first 80 columns hold what matters; whatever comes from others is made
 * safe and ASCII. */
#include "store/ctl/top.h"
#include <time.h>
#include "dataplane/base/clock.h"

static const struct {
	const char *name;
	const char *const sorts[6];
} views[TOP_VIEW_N] = {
	[TOP_OVERVIEW] = {"overview", {NULL}						    },
	[TOP_QUEUE] = {"queue",    {"recipients", "next", "failures", NULL}                  },
	[TOP_CORES] = {"cores",    {NULL}						    },
	[TOP_RINGS] = {"rings",    {"trouble", "most", "name", NULL}                         },
	[TOP_TCP] = {"tcp",      {"bytes_out", "bytes_in", "srtt", "retransmits", "unsent"}},
	[TOP_STORE] = {"store",    {NULL}						    },
	[TOP_WHY] = {"why",      {NULL}						    },
};

const char *top_view_name(enum top_view view)
{
	return view < TOP_VIEW_N ? views[view].name : "?";
}

enum top_view top_view_find(const char *name)
{
	unsigned i = 0;

	while (i < TOP_VIEW_N && strcmp(views[i].name, name) != 0)
		i++;
	return (enum top_view)i;
}

const char *top_sort_name(const struct top *t)
{
	const char *const *sorts = views[t->view].sorts;
	unsigned n = 0;

	while (n < ARRAY_LEN(views[0].sorts) && sorts[n])
		n++;
	return n ? sorts[t->sort % n] : "";
}

/* ---- pieces ---- */

void page_add(struct page *p, enum page_look look, const char *format, ...)
{
	va_list ap;

	if (p->n == PAGE_LINES)
		return;
	va_start(ap, format);
	vsnprintf(p->line[p->n], PAGE_COLUMNS, format, ap);
	va_end(ap);
	/* One octet is one column. */
	for (char *c = p->line[p->n]; *c; c++)
		*c = (uint8_t)*c < 0x20 || (uint8_t)*c >= 0x7f ? '?' : *c;
	p->look[p->n++] = (uint8_t)look;
}

static const json_t *part(const json_t *o, const char *key)
{
	return json_object_get(o, key);
}

static unsigned long long number(const json_t *o, const char *key)
{
	return ctl_number(o, key);
}

static const char *ms_text(uint64_t us, char out[16])
{
	if (us < 10000)
		snprintf(out, 16, "%.2fms", (double)us / 1e3);
	else if (us < 10000000)
		snprintf(out, 16, "%.0fms", (double)us / 1e3);
	else
		snprintf(out, 16, "%.0fs", (double)us / 1e6);
	return out;
}

static const char *until_text(uint64_t at_ms, char out[24])
{
	uint64_t now = clock_wall_ms();
	char in[16];

	if (at_ms == 0)
		snprintf(out, 24, "-");
	else
		snprintf(out, 24, "%s", at_ms <= now ? "now" : format_duration(at_ms - now, in));
	return out;
}

/* ---- above and below ---- */

static void clock_text(uint64_t ms, char out[16])
{
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	localtime_r(&s, &tm);
	strftime(out, 16, "%H:%M:%S", &tm);
}

static void top_lines(const struct top *t, struct page *p)
{
	const json_t *s = t->status, *m = part(s, "messages"), *q = part(s, "queue");
	const json_t *c = part(s, "connections");
	char up[16], at[16], host[40];

	clock_text(t->fetched_ms, at);
	page_add(p, LOOK_TITLE, "bypost %.30s  up %s  %s %s  [%u %s]%s  %s",
		format_safe(ctl_text(s, "hostname"), host, sizeof(host)),
		format_duration(number(s, "uptime_ms"), up), ctl_text(s, "durability"),
		ctl_text(s, "state"), (unsigned)t->view + 1, top_view_name(t->view),
		t->frozen ? " FROZEN" : "", at);
	if (!t->connected)
		page_add(p, LOOK_BAD, "not connected, retrying: %s: %s", t->ctl->socket,
			t->ctl->error);
	if (!s)
		return;
	page_add(p, LOOK_PLAIN,
		"in %.1f/s  out %.1f/s  refused %llu  deferred %llu  failed %llu  bounces %llu",
		ctl_real(m, "in_now"), ctl_real(m, "out_now"), number(m, "refused"),
		number(m, "deferred"), number(m, "failed"), number(m, "bounces"));
	page_add(p, LOOK_PLAIN,
		"queue %llu messages, %llu recipients, %llu active%s  sessions smtp %llu pop3 %llu "
		"imap %llu out %llu",
		number(q, "messages"), number(q, "recipients"), number(q, "active"),
		json_is_true(part(q, "loading")) ? " (loading)" : "", number(c, "smtp"),
		number(c, "pop3"), number(c, "imap"), number(c, "out"));
}

static void bottom_line(const struct top *t, struct page *p)
{
	if (t->detail)
		page_add(p, LOOK_TITLE, "Esc back  Up/Down scroll  f freeze  q quit");
	else if (top_sort_name(t)[0])
		page_add(p, LOOK_TITLE,
			"1-7 view  s sort:%s  Enter details  f freeze  h help  q quit",
			top_sort_name(t));
	else
		page_add(p, LOOK_TITLE, "1-7 view  f freeze  +- every %llus  h help  q quit",
			(unsigned long long)(t->interval_ms / 1000));
}

/* ---- parts of views ---- */

static void cores(const struct top *t, struct page *p, bool whole)
{
	const json_t *c;
	char laps[16], worst[16], roles[64];
	size_t i;

	page_add(p, LOOK_HEAD,
		"core   busy   laps/s   rx/s    tx/s   worst lap         conns ops  roles");
	json_array_foreach(part(t->status, "cores"), i, c)
	{
		page_add(p, ctl_real(c, "busy") > 0.9 ? LOOK_BAD : LOOK_PLAIN,
			"%-4llu %5.1f%% %8s %7.0f %7.0f %9s %-9s %6llu %-4llu %s",
			number(c, "core"), ctl_real(c, "busy") * 100.0,
			format_count((uint64_t)ctl_real(c, "laps_now"), laps),
			ctl_real(c, "rx_packets_now"), ctl_real(c, "tx_packets_now"),
			ms_text(number(c, "worst_lap_us"), worst),
			number(c, "worst_lap_us") ? ctl_text(c, "worst_lap_stage") : "",
			number(c, "connections"), number(c, "ops_in_flight"),
			format_list(part(c, "roles"), roles, sizeof(roles)));
		if (!whole)
			continue;
		page_add(p, LOOK_PLAIN,
			"     long laps %llu, sleeps/s %.0f, steered %llu, strays %llu",
			number(c, "long_laps"), ctl_real(c, "sleeps_now"), number(c, "steered"),
			number(c, "strays"));
	}
}

static void ports(const struct top *t, struct page *p)
{
	const json_t *o;
	char name[32], rx[16], tx[16];
	size_t i;

	page_add(p, LOOK_HEAD,
		"port         link driver           rx pkts  missed  errors   tx pkts  errors");
	json_array_foreach(part(t->status, "ports"), i, o)
	{
		bool down = !json_is_true(part(o, "link_up"));
		page_add(p, down ? LOOK_BAD : LOOK_PLAIN,
			"%-12s %-4s %-14s %9s %7llu %7llu %9s %7llu",
			format_safe(ctl_text(o, "name"), name, sizeof(name)), down ? "down" : "up",
			ctl_text(o, "driver"), format_count(number(o, "rx_packets"), rx),
			number(o, "rx_missed"), number(o, "rx_errors"),
			format_count(number(o, "tx_packets"), tx), number(o, "tx_errors"));
	}
}

static void tcp_lines(const struct top *t, struct page *p)
{
	const json_t *o = part(t->status, "tcp"),
		     *l = part(part(t->status, "latency"), "tcp_rtt_us");
	const char *state;
	char line[PAGE_COLUMNS] = "", p50[16], p99[16];
	json_t *v;
	size_t n = 0;

	json_object_foreach((json_t *)(uintptr_t)part(o, "states"), state, v)
	{
		if (json_integer_value(v) && n < sizeof(line) - 40)
			n += (size_t)snprintf(line + n, sizeof(line) - n,
				" %s %" JSON_INTEGER_FORMAT, state, json_integer_value(v));
	}
	page_add(p, LOOK_PLAIN, "tcp   %s", n ? line + 1 : "no connections");
	page_add(p, ctl_real(o, "retrans_share_now") > 0.05 ? LOOK_BAD : LOOK_PLAIN,
		"      segments/s in %.0f out %.0f, again %.2f %%; RTT p50 %s p99 %s; opens/s %.1f",
		ctl_real(o, "in_segs_now"), ctl_real(o, "out_segs_now"),
		ctl_real(o, "retrans_share_now") * 100.0, ms_text(number(l, "p50"), p50),
		ms_text(number(l, "p99"), p99), ctl_real(o, "opens_now"));
}

static void store_lines(const struct top *t, struct page *p)
{
	const json_t *s = part(t->status, "store"), *l = part(t->status, "latency");
	const json_t *commit = part(l, "store_commit_latency_us"),
		     *accept = part(l, "smtp_accept_us");
	const json_t *group = part(l, "store_group_operations");
	char c50[16], c99[16], a50[16], a99[16], file[16], space[16], kept[16];
	bool good = strcmp(ctl_text(s, "health"), "ok") == 0;

	page_add(p, good ? LOOK_PLAIN : LOOK_BAD,
		"store %s: file %s, disk free %s (%s kept); commits %llu, errors %llu, full %llu",
		ctl_text(s, "health"), format_bytes(number(s, "file_bytes"), file),
		format_bytes(number(s, "disk_free_bytes"), space),
		format_bytes(number(s, "reserve_bytes"), kept), number(s, "commits"),
		number(s, "errors"), number(s, "refused_full"));
	page_add(p, LOOK_PLAIN,
		"      commit p50 %s p99 %s; accept p50 %s p99 %s; group p50 %llu p99 %llu",
		ms_text(number(commit, "p50"), c50), ms_text(number(commit, "p99"), c99),
		ms_text(number(accept, "p50"), a50), ms_text(number(accept, "p99"), a99),
		number(group, "p50"), number(group, "p99"));
}

/* ---- sorted rows ---- */

struct sorted {
	const json_t *row;
	uint64_t key;
	const char *text; /* equal keys */
};

static int by_key(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? 1 : -1;
	return strcmp(x->text, y->text);
}

static size_t sort_rows(const json_t *rows, struct sorted *out, size_t max,
	uint64_t (*key)(const json_t *row, const char *sort), const char *sort, const char *text)
{
	size_t i, n = 0;
	const json_t *row;

	json_array_foreach(rows, i, row)
	{
		if (n < max)
			out[n++] = (struct sorted){row, key(row, sort), ctl_text(row, text)};
	}
	qsort(out, n, sizeof(*out), by_key);
	return n;
}

static uint64_t domain_key(const json_t *o, const char *sort)
{
	if (strcmp(sort, "next") == 0) /* soonest first */
		return number(o, "next_ms") ? UINT64_MAX - number(o, "next_ms") : 0;
	return number(o, strcmp(sort, "failures") == 0 ? "failures" : "recipients");
}

static uint64_t ring_key(const json_t *o, const char *sort)
{
	uint64_t size = MAX(number(o, "size"), 1ull);

	if (strcmp(sort, "name") == 0)
		return 0;
	if (strcmp(sort, "most") == 0)
		return number(o, "high") * 1000 / size;
	return number(o, "drops") * 1000000 + number(o, "depth") * 1000 / size;
}

static void domains(const struct top *t, struct page *p, size_t most)
{
	static struct sorted rows[TOP_ROWS];
	size_t n = sort_rows(t->list, rows, TOP_ROWS, domain_key,
		t->view == TOP_QUEUE ? top_sort_name(t) : "recipients", "domain");
	char name[64], count[16], due[16], next[24], reason[256], conns[24];

	page_add(p, LOOK_HEAD, "%-26s %8s %7s %7s %7s  %s", "domain", "rcpts", "due", "conns",
		"next", "why");
	for (size_t i = 0; i < n && i < most; i++) {
		const json_t *o = rows[i].row;
		const char *why = ctl_text(o, "reason");
		snprintf(conns, sizeof(conns), "%llu/%llu", number(o, "connections"),
			number(o, "connections_max"));
		if (!why[0])
			why = strcmp(ctl_text(o, "route"), "resolving") == 0 ? "being looked up"
			      : number(o, "connections")                     ? "moving"
									     : "waits for its time";
		page_add(p, LOOK_ROW, "%-26.26s %8s %7s %7s %7s  %s",
			format_safe(ctl_text(o, "domain"), name, sizeof(name)),
			format_count(number(o, "recipients"), count),
			format_count(number(o, "backlog"), due), conns,
			until_text(number(o, "next_ms"), next),
			format_safe(why, reason, sizeof(reason)));
	}
	if (n == 0)
		page_add(p, LOOK_PLAIN, "No mail waits to be delivered.");
}

static void ring_lines(const struct top *t, struct page *p, size_t most)
{
	static struct sorted rows[PAGE_LINES];
	const char *order = t->view == TOP_RINGS ? top_sort_name(t) : "trouble";
	size_t n = sort_rows(part(t->net, "rings"), rows, PAGE_LINES, ring_key, order, "name");
	bool all = t->view == TOP_RINGS;
	size_t shown = 0;

	page_add(p, LOOK_HEAD, "%-20s %-8s %7s %7s %7s %9s", "ring", "kind", "size", "depth",
		"most", "drops");
	for (size_t i = 0; i < n && shown < most; i++) {
		const json_t *o = rows[i].row;
		if (!all && rows[i].key == 0)
			break;
		page_add(p, number(o, "drops") ? LOOK_BAD : LOOK_PLAIN,
			"%-20s %-8s %7llu %7llu %7llu %9llu", ctl_text(o, "name"),
			ctl_text(o, "kind"), number(o, "size"), number(o, "depth"),
			number(o, "high"), number(o, "drops"));
		shown++;
	}
	if (shown == 0)
		page_add(p, LOOK_PLAIN, "All %zu rings are empty and have dropped nothing.", n);
}

static void pools(const struct top *t, struct page *p)
{
	const json_t *o;
	size_t i;

	page_add(p, LOOK_HEAD, "%-20s %9s %9s %5s", "pool", "size", "in use", "full");
	json_array_foreach(part(t->status, "pools"), i, o)
	{
		unsigned long long size = MAX(number(o, "size"), 1ull);
		unsigned long long full = number(o, "in_use") * 100 / size;
		page_add(p, full >= 70 ? LOOK_BAD : LOOK_PLAIN, "%-20s %9llu %9llu %4llu%%",
			ctl_text(o, "name"), size, number(o, "in_use"), full);
	}
}

/* ---- views ---- */

static void view_overview(const struct top *t, struct page *p)
{
	tcp_lines(t, p);
	store_lines(t, p);
	cores(t, p, false);
	ring_lines(t, p, 3);
	domains(t, p, 20);
}

static void view_queue(const struct top *t, struct page *p)
{
	domains(t, p, TOP_ROWS);
}

static void view_cores(const struct top *t, struct page *p)
{
	cores(t, p, true);
	ports(t, p);
}

static void view_rings(const struct top *t, struct page *p)
{
	ring_lines(t, p, PAGE_LINES);
	pools(t, p);
}

static void view_tcp(const struct top *t, struct page *p)
{
	const json_t *o;
	char cwnd[16], srtt[16], in[16], out[16], unsent[16], owner[128];
	size_t i;

	tcp_lines(t, p);
	page_add(p, LOOK_HEAD, "%-21s %-8s %5s %6s %4s %5s %5s %5s %s", "peer", "state", "cwnd",
		"srtt", "retr", "in", "out", "unsent", "owner");
	json_array_foreach(t->list, i, o) page_add(p, LOOK_ROW,
		"%-21s %-8.8s %5s %6s %4llu %5s %5s %5s %s", ctl_text(o, "peer"),
		ctl_text(o, "state"), format_bytes(number(o, "cwnd"), cwnd),
		ms_text(number(o, "srtt_us"), srtt), number(o, "retransmits"),
		format_bytes(number(o, "bytes_in"), in), format_bytes(number(o, "bytes_out"), out),
		format_bytes(number(o, "unsent") + number(o, "flight"), unsent),
		format_safe(ctl_text(o, "owner"), owner, sizeof(owner)));
}

static void view_store(const struct top *t, struct page *p)
{
	const char *name;
	json_t *v;
	char p50[16], p99[16], mean[16];

	store_lines(t, p);
	page_add(p, LOOK_HEAD, "%-28s %10s %10s %10s %10s", "last minutes", "count", "mean", "p50",
		"p99");
	json_object_foreach((json_t *)(uintptr_t)part(t->status, "latency"), name, v)
	{
		size_t n = strlen(name);
		bool us = n > 3 && strcmp(name + n - 3, "_us") == 0;
		if (us)
			page_add(p, LOOK_PLAIN, "%-28s %10llu %10s %10s %10s", name,
				number(v, "count"), ms_text(number(v, "mean"), mean),
				ms_text(number(v, "p50"), p50), ms_text(number(v, "p99"), p99));
		else
			page_add(p, LOOK_PLAIN, "%-28s %10llu %10llu %10llu %10llu", name,
				number(v, "count"), number(v, "mean"), number(v, "p50"),
				number(v, "p99"));
	}
	pools(t, p);
}

static void view_why(const struct top *t, struct page *p)
{
	const json_t *o;
	char text[256], age[16], next[24];
	size_t i;

	page_add(p, LOOK_HEAD, "%9s %9s  %s", "count", "now/s",
		"what is not accepted or does not move");
	json_array_foreach(t->list, i, o)
	{
		const char *kind = ctl_text(o, "kind");
		format_safe(ctl_text(o, "text"), text, sizeof(text));
		if (strcmp(kind, "now") == 0)
			page_add(p, LOOK_BAD, "%9s %9s  %s %s", "now", "", text,
				ctl_text(o, "remedy"));
		else if (strcmp(kind, "refused") == 0)
			page_add(p, LOOK_PLAIN, "%9llu %9.1f  %s", number(o, "count"),
				ctl_real(o, "now"), text);
		else
			page_add(p, LOOK_PLAIN, "%9llu %9s  %s (oldest %s, next %s)",
				number(o, "count"), kind, text,
				format_duration(number(o, "oldest_ms"), age),
				until_text(number(o, "next_ms"), next));
	}
	if (json_array_size(t->list) == 0)
		page_add(p, LOOK_PLAIN, "Nothing is refused and nothing waits.");
}

/* ---- details ---- */

static void detail_value(struct page *p, const char *name, const json_t *v)
{
	char text[256];

	if (json_is_string(v))
		page_add(p, LOOK_PLAIN, "%-24s %s", name,
			format_safe(json_string_value(v), text, sizeof(text)));
	else if (json_is_integer(v))
		page_add(p, LOOK_PLAIN, "%-24s %" JSON_INTEGER_FORMAT, name, json_integer_value(v));
	else if (json_is_array(v))
		page_add(p, LOOK_PLAIN, "%-24s %s", name, format_list(v, text, sizeof(text)));
}

static void detail_connection(const struct top *t, struct page *p)
{
	const char *name;
	json_t *v;

	page_add(p, LOOK_HEAD, "connection %s", t->detail_key);
	json_object_foreach(json_array_get(t->detail_list, 0), name, v) detail_value(p, name, v);
	if (json_array_size(t->detail_list) == 0)
		page_add(p, LOOK_PLAIN, "It is gone.");
}

static void detail_domain(const struct top *t, struct page *p)
{
	const json_t *m, *r;
	char to[64], reason[256], next[24];
	size_t i, k;

	page_add(p, LOOK_HEAD, "%-16s %-28s %-9s %5s %7s  reason (%s)", "message", "recipient",
		"state", "tries", "next", t->detail_key);
	json_array_foreach(t->detail_list, i, m)
	{
		json_array_foreach(part(m, "recipients"), k, r) page_add(p, LOOK_PLAIN,
			"%-16s %-28.28s %-9s %5llu %7s  %s", k ? "" : ctl_text(m, "id"),
			format_safe(ctl_text(r, "address"), to, sizeof(to)), ctl_text(r, "state"),
			number(r, "attempts"), until_text(number(r, "next_ms"), next),
			format_safe(ctl_text(r, "reason"), reason, sizeof(reason)));
	}
	if (json_array_size(t->detail_list) == 0)
		page_add(p, LOOK_PLAIN, "Nothing waits there any more.");
}

static void help(struct page *p)
{
	static const char *const lines[] = {
		"1 overview   rates, connections, store, cores, rings, where mail waits",
		"2 queue      domains with mail: due, connections, next try, and why",
		"3 cores      load, laps and packets per second, longest lap and its stage; ports",
		"4 rings      rings between threads: depth, most ever, drops; memory pools",
		"5 tcp        connections with window, round trip, retransmissions and owner",
		"6 store      latencies of the last minutes, pools",
		"7 why        what is not accepted and what does not move, by count",
		"",
		"Tab next view   Up/Down select   Enter details   Esc back   s sort",
		"f or space freeze   + - interval   r refresh now   q quit",
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		page_add(p, LOOK_PLAIN, "%s", lines[i]);
}

static void body(const struct top *t, struct page *p)
{
	static void (*const show[TOP_VIEW_N])(const struct top *t, struct page *p) = {
		[TOP_OVERVIEW] = view_overview,
		[TOP_QUEUE] = view_queue,
		[TOP_CORES] = view_cores,
		[TOP_RINGS] = view_rings,
		[TOP_TCP] = view_tcp,
		[TOP_STORE] = view_store,
		[TOP_WHY] = view_why,
	};

	if (t->help)
		help(p);
	else if (!t->status)
		page_add(p, LOOK_PLAIN, "Nothing is known yet.");
	else if (t->detail && t->view == TOP_TCP)
		detail_connection(t, p);
	else if (t->detail)
		detail_domain(t, p);
	else
		show[t->view](t, p);
}

void top_render(struct top *t, struct page *p)
{
	p->n = 0;
	top_lines(t, p);
	body(t, p);
	if (p->n == PAGE_LINES)
		p->n--; /* the last line is always there */
	bottom_line(t, p);
	t->rows = 0;
	for (unsigned i = 0; i < p->n; i++)
		t->rows += p->look[i] == LOOK_ROW;
	t->selected = t->rows ? MIN(t->selected, t->rows - 1) : 0;
}

const char *top_selected_key(const struct top *t)
{
	static struct sorted rows[TOP_ROWS];

	if (t->rows == 0)
		return "";
	if (t->view == TOP_TCP)
		return ctl_text(json_array_get(t->list, t->selected), "id");
	size_t n = sort_rows(t->list, rows, TOP_ROWS, domain_key,
		t->view == TOP_QUEUE ? top_sort_name(t) : "recipients", "domain");
	return t->selected < n ? ctl_text(rows[t->selected].row, "domain") : "";
}
