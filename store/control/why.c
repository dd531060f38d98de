/* SPDX-License-Identifier: BSD-3-Clause */
#include "store/control/why.h"

static const char *const names[WHY_N] = {
	[WHY_STORE_FAILED] = "store-failed",
	[WHY_HELD] = "held",
	[WHY_OTHER_SHARD] = "other-shard",
	[WHY_DRAINING] = "draining",
	[WHY_SENDING] = "sending",
	[WHY_STORING] = "storing",
	[WHY_WRITER_FULL] = "writer-full",
	[WHY_READING] = "reading",
	[WHY_RESOLVING] = "resolving",
	[WHY_NO_ROUTE] = "no-route",
	[WHY_SITE_DOWN] = "site-down",
	[WHY_NO_CONNECTION] = "no-connection",
	[WHY_SITE_SILENT] = "site-silent",
	[WHY_SITE_FULL] = "site-full",
	[WHY_WORKER_FULL] = "worker-full",
	[WHY_CONNECTING] = "connecting",
	[WHY_MEMORY] = "memory",
	[WHY_BACKLOG] = "backlog",
	[WHY_LOADING] = "loading",
	[WHY_NOT_IN_MEMORY] = "not-in-memory",
	[WHY_RETRY] = "retry",
	[WHY_FIRST_TRY] = "first-try",
};

const char *why_name(enum why_cause cause)
{
	return cause < WHY_N ? names[cause] : "?";
}

/* ---- which cause ---- */

static bool site_is_full(const struct delivery_domain_info *d)
{
	return d->connections_max && (d->connections >= d->connections_max || d->shared_full);
}

/* It has connections, one of them open, and decides about no mail. */
static bool site_is_silent(const struct delivery_domain_info *d)
{
	return d->connections_now < d->connections_max && d->connections >= d->connections_now &&
	       d->connections > d->opening;
}

/* Due, and a connection to the site is what it waits for. */
static enum why_cause cause_at_site(const struct delivery_recipient_info *i)
{
	const struct delivery_domain_info *d = &i->domain;

	if (d->down_us)
		return WHY_SITE_DOWN;
	if (site_is_full(d))
		return WHY_SITE_FULL;
	if (site_is_silent(d))
		return WHY_SITE_SILENT;
	if (d->connections_now && d->opening >= d->connections_now)
		return WHY_CONNECTING;
	if (d->enough_us)
		return WHY_NO_CONNECTION;
	if (i->worker.connections >= i->worker.connections_max || i->worker.starving)
		return WHY_WORKER_FULL;
	return d->opening ? WHY_CONNECTING : WHY_BACKLOG;
}

static enum why_cause cause_in_backlog(const struct delivery_recipient_info *i)
{
	if (i->domain.route == DELIVERY_ROUTE_RESOLVING ||
		i->domain.route == DELIVERY_ROUTE_UNKNOWN)
		return WHY_RESOLVING;
	if (i->domain.route == DELIVERY_ROUTE_NONE)
		return WHY_NO_ROUTE;
	if (i->worker.results_wait)
		return WHY_WRITER_FULL;
	if (i->worker.jobs_full)
		return WHY_MEMORY;
	return cause_at_site(i);
}

static enum why_cause cause_of_wait(const struct why_facts *f)
{
	if (f->attempts == 0 && !f->reason[0])
		return WHY_FIRST_TRY;
	return WHY_RETRY;
}

static enum why_cause cause_of(const struct why_facts *f)
{
	const struct delivery_recipient_info *i = &f->info;

	if (f->store_failed)
		return WHY_STORE_FAILED;
	if (f->held)
		return WHY_HELD;
	if (f->moving)
		return WHY_OTHER_SHARD;
	if (!f->asked)
		return cause_of_wait(f);
	if (i->worker.draining && i->place != DELIVERY_SENDING && i->place != DELIVERY_STORING)
		return WHY_DRAINING;
	switch (i->place) {
	case DELIVERY_SENDING:
		return WHY_SENDING;
	case DELIVERY_STORING:
		return i->worker.results_wait ? WHY_WRITER_FULL : WHY_STORING;
	case DELIVERY_READING:
		return WHY_READING;
	case DELIVERY_REFUSED:
		return WHY_NO_ROUTE;
	case DELIVERY_READY:
		return cause_at_site(i);
	case DELIVERY_BACKLOG:
		return cause_in_backlog(i);
	case DELIVERY_WAITING:
		return cause_of_wait(f);
	default:
		if (f->next_ms > f->now_ms)
			return cause_of_wait(f);
		return i->worker.loading ? WHY_LOADING : WHY_NOT_IN_MEMORY;
	}
}

/* ---- in words ---- */

static const char *duration(uint64_t ms, char out[24])
{
	unsigned long long s = (ms + 999) / 1000;

	if (s < 120)
		snprintf(out, 24, "%llu s", s);
	else if (s < 7200)
		snprintf(out, 24, "%llu min", (s + 30) / 60);
	else if (s < 48 * 3600)
		snprintf(out, 24, "%llu h %llu min", s / 3600, s % 3600 / 60);
	else
		snprintf(out, 24, "%llu days", s / 86400);
	return out;
}

static const char *hosts(const struct delivery_domain_info *d)
{
	return d->hosts[0] ? d->hosts : "its hosts";
}

#define SAY(...)    snprintf(out->text, sizeof(out->text), __VA_ARGS__)
#define REMEDY(...) snprintf(out->remedy, sizeof(out->remedy), __VA_ARGS__)

static void say_retry(const struct why_facts *f, struct why *out)
{
	uint64_t next =
		f->asked && f->info.place == DELIVERY_WAITING ? f->info.next_ms : f->next_ms;
	char in[24];

	duration(next > f->now_ms ? next - f->now_ms : 0, in);
	if (out->cause == WHY_FIRST_TRY)
		SAY("It was not tried yet; the first attempt is in %s.", in);
	else
		SAY("Attempt %u failed, the next one is in %s; the last one ended with: %.300s",
			f->attempts, in, f->reason[0] ? f->reason : "(no reason is known)");
	REMEDY("It is tried again by itself; \"queue retry %016llx\" tries it now.",
		(unsigned long long)f->id);
}

static void say_route(const struct why_facts *f, struct why *out)
{
	const struct delivery_domain_info *d = &f->info.domain;

	if (out->cause == WHY_RESOLVING) {
		SAY("The next hops of %.255s are being looked up (%u look-ups under way).", d->name,
			f->info.worker.lookups);
		REMEDY("The resolver has to answer (dns.servers, dns.timeout).");
	} else {
		SAY("There is no way to %.255s: %.240s", d->name, d->reason);
		REMEDY("The domain's DNS has to change; \"queue retry %016llx\" looks it up anew.",
			(unsigned long long)f->id);
	}
}

static void say_site(const struct why_facts *f, struct why *out)
{
	const struct delivery_domain_info *d = &f->info.domain;
	const struct delivery_worker_info *w = &f->info.worker;
	char in[24];

	if (out->cause == WHY_SITE_DOWN) {
		SAY("No host of %.160s could be reached %u times in a row; it is left alone for %s "
		    "more: %.240s",
			hosts(d), d->failures, duration(d->down_us / US_PER_MS, in), d->reason);
		REMEDY("The host has to answer; \"queue retry %016llx\" tries it at once.",
			(unsigned long long)f->id);
	} else if (out->cause == WHY_NO_CONNECTION && d->want) {
		SAY("There is no memory for a connection to %.160s; it is tried again in %s.",
			hosts(d), duration(d->enough_us / US_PER_MS, in));
		REMEDY("Connections in and out share limits.connections: see \"tcp list\".");
	} else if (out->cause == WHY_NO_CONNECTION) {
		SAY("%u connections to %.160s are in use, and one more could not be opened; it is "
		    "tried again in %s.",
			d->connections, hosts(d), duration(d->enough_us / US_PER_MS, in));
		REMEDY("It goes when one of them is free; the log has the reason at level debug.");
	} else if (out->cause == WHY_SITE_SILENT) {
		SAY("It has %u connections to %.160s, which has taken or refused no mail lately: "
		    "there are no more than %u until it does.",
			d->connections, hosts(d), d->connections_now);
		REMEDY("The host has to answer; \"tcp list\" shows how far its connections are.");
	} else if (out->cause == WHY_SITE_FULL) {
		SAY("All %u connections to %.160s are in use, %u messages wait for one.",
			d->connections_max, hosts(d), d->ready);
		REMEDY("It goes when one is free; delivery.site_connections is the limit.");
	} else if (out->cause == WHY_WORKER_FULL) {
		SAY("All %u connections of this core to next hops are in use.", w->connections);
		REMEDY("It goes when one is free; delivery.connections is the limit, more cores "
		       "with the role delivery add to it.");
	} else {
		SAY("A connection to %.160s is being opened (%u under way, %u open of %u).",
			hosts(d), d->opening, d->connections - MIN(d->opening, d->connections),
			d->connections_max);
		REMEDY("The host has to answer within delivery.connect_timeout.");
	}
}

static void say_moving(const struct why_facts *f, struct why *out)
{
	const struct delivery_recipient_info *i = &f->info;

	if (out->cause == WHY_SENDING)
		SAY("It is on a connection to %.255s: %s.", i->host, i->step);
	else if (out->cause == WHY_STORING)
		SAY("The attempt is over; its result is on the way to the store.");
	else if (out->cause == WHY_READING)
		SAY("It is due, and its message is being read from the store.");
	else
		SAY("It is due, and waits for its turn among %u others of %.255s.",
			i->domain.backlog + i->domain.ready, i->domain.name);
	REMEDY("Nothing has to be done.");
}

static void say_ours(const struct why_facts *f, struct why *out)
{
	const struct delivery_worker_info *w = &f->info.worker;

	switch (out->cause) {
	case WHY_STORE_FAILED:
		SAY("The store has failed: nothing is delivered from it, so that nothing is sent "
		    "twice.");
		REMEDY("Look at the log and the disk, then restart bypostd.");
		break;
	case WHY_HELD:
		SAY("An operator holds it.");
		REMEDY("\"queue release %016llx\" lets it go.", (unsigned long long)f->id);
		break;
	case WHY_OTHER_SHARD:
		SAY("Its mailbox is in shard %u of the store, which is %s; it is being taken "
		    "there.",
			f->to_shard, f->to_health);
		REMEDY("%s",
			strcmp(f->to_health, "ok") == 0
				? "Nothing has to be done."
				: "It goes on when that shard takes mail again: look at its disk.");
		break;
	case WHY_DRAINING:
		SAY("bypostd is being stopped and begins no attempt.");
		REMEDY("It goes on after the next start.");
		break;
	case WHY_WRITER_FULL:
		SAY("Results of earlier attempts wait for the store's writer, whose ring is full: "
		    "no "
		    "attempt begins before.");
		REMEDY("The store has to keep up: see the commit latency in \"status\" and "
		       "\"top\".");
		break;
	case WHY_MEMORY:
		SAY("As many messages as may be are in memory for delivery already.");
		REMEDY("It goes when others are done; limits.body_memory is the limit.");
		break;
	case WHY_LOADING:
		SAY("The queue is still being read after the start; it has not come to this "
		    "message.");
		REMEDY("Nothing has to be done.");
		break;
	default:
		SAY("It is not among the %u recipients in memory (of %u that fit).", w->recipients,
			w->recipients_max);
		REMEDY("It is read from the store when there is room; delivery.recipients is the "
		       "limit.");
	}
}

void why_decide(const struct why_facts *f, struct why *out)
{
	out->cause = cause_of(f);
	switch (out->cause) {
	case WHY_RETRY:
	case WHY_FIRST_TRY:
		say_retry(f, out);
		break;
	case WHY_RESOLVING:
	case WHY_NO_ROUTE:
		say_route(f, out);
		break;
	case WHY_SITE_DOWN:
	case WHY_NO_CONNECTION:
	case WHY_SITE_SILENT:
	case WHY_SITE_FULL:
	case WHY_WORKER_FULL:
	case WHY_CONNECTING:
		say_site(f, out);
		break;
	case WHY_SENDING:
	case WHY_STORING:
	case WHY_READING:
	case WHY_BACKLOG:
		say_moving(f, out);
		break;
	default:
		say_ours(f, out);
	}
}

/* ---- equal reasons ---- */

/* Octets of a reply's code, with the enhanced status behind it; 0: p is none. */
static size_t code_octets(const char *p, size_t digits, const char *begin)
{
	bool first = p == begin || (p - begin >= 2 && p[-2] == ':' && p[-1] == ' ');

	if (!first || digits != 3 || p[0] < '2' || p[0] > '5' || p[3] != ' ')
		return 0;
	size_t status = strspn(p + 4, "0123456789.");
	return 4 + (memchr(p + 4, '.', status) ? status : 0);
}

void why_normalise(const char *reason, char *out, size_t cap)
{
	size_t n = 0;

	for (const char *p = reason; *p && n + 1 < cap;) {
		size_t digits = strspn(p, "0123456789");
		size_t kept = digits ? code_octets(p, digits, reason) : 1;
		const char *end = *p == '<' ? strchr(p, '>') : NULL; /* an address */
		if (end || kept == 0) {
			out[n++] = '#';
			p = end ? end + 1 : p + digits;
			continue;
		}
		for (; kept && n + 1 < cap; kept--)
			out[n++] = *p++;
	}
	out[n] = '\0';
}
