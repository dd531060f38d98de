/* SPDX-License-Identifier: BSD-3-Clause
 * The DNS helper thread.  OWNER of everything in struct dns_service after start: that thread.
 * libunbound resolves in a thread of its own (ub_ctx_async(ctx, 1); its default would fork) and
 * tells through a descriptor; the helper sleeps on that one and on its waker. */
#include "delivery/dns/dns.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <unbound.h>
#include "dataplane/base/clock.h"
#include "dataplane/base/counters.h"
#include "dataplane/base/list.h"
#include "dataplane/base/log.h"
#include "delivery/dns/rdata.h"

#define QUERIES_MAX    1024 /* under way at the resolver; chosen */
#define TAKE_MAX       64
#define TTL_MAX        604800 /* seconds; RFC 8767 4 suggests a cap of this order */
#define TIMEOUT_MS     30000  /* when the configuration gives none */
#define RESOLV_CONF    "/etc/resolv.conf"
#define CLASS_IN       1
#define RCODE_NOERROR  0
#define RCODE_NXDOMAIN 3

/* One question at the resolver.  Its memory stays with libunbound until the callback or a cancel.
 */
struct query {
	struct list link; /* free list, or under way in order of deadline */
	struct dns_service *service;
	struct dns_op *op;
	uint64_t deadline_us;
	int async_id;
};

struct dns_service {
	struct service service;
	struct ub_ctx *ctx;
	pthread_t thread;
	bool started;
	uint64_t timeout_us;
	uint64_t random;
	struct list idle, active;
	struct query queries[QUERIES_MAX];
};

/* libunbound's own log would go to stderr from its thread; nobody reads it there. */
static int context_quiet(struct ub_ctx *ctx)
{
	int err = ub_ctx_debugout(ctx, NULL);

	return err ? err : ub_ctx_debuglevel(ctx, 0);
}

static int context_servers(struct ub_ctx *ctx, const struct dns_conf *conf, char *error, size_t n)
{
	int err;

	if (conf->server_count == 0) {
		err = ub_ctx_resolvconf(ctx, RESOLV_CONF);
		if (err)
			snprintf(error, n, "dns.servers: none given, and " RESOLV_CONF ": %s",
				ub_strerror(err));
		return err ? -EINVAL : 0;
	}
	for (uint32_t i = 0; i < conf->server_count; i++) {
		err = ub_ctx_set_fwd(ctx, conf->servers[i]);
		if (err) {
			snprintf(error, n, "dns.servers: '%s': %s", conf->servers[i],
				ub_strerror(err));
			return -EINVAL;
		}
	}
	return 0;
}

/* ub_ctx_add_ta_file does not look at the file; every query would fail later. */
static int context_trust(struct ub_ctx *ctx, const char *path, char *error, size_t n)
{
	if (!path)
		return 0;
	FILE *f = fopen(path, "re");
	if (!f) {
		int err = errno;
		snprintf(error, n, "dns.trust_anchor: %s: %s", path, strerror(err));
		return -err;
	}
	fclose(f);
	int err = ub_ctx_add_ta_file(ctx, path);
	if (err)
		snprintf(error, n, "dns.trust_anchor: %s: %s", path, ub_strerror(err));
	return err ? -EINVAL : 0;
}

/* Names of one option each; an option that this libunbound does not have is no error. */
static void context_options(struct ub_ctx *ctx)
{
	static const char *const options[][2] = {
		{"do-not-query-localhost:", "no" }, /* a resolver on this host is usual */
		{"cache-max-negative-ttl:", "60" },
		{"outgoing-range:",         "256"},
		{"num-queries-per-thread:", "512"},
		{"infra-host-ttl:",         "30" }, /* a dead server is tried again soon */
		{"harden-glue:",            "yes"},
		{"use-caps-for-id:",        "no" },
	};

	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		int err = ub_ctx_set_option(ctx, options[i][0], options[i][1]);
		if (err)
			log_warn("dns", "option name=%s error=\"%s\"", options[i][0],
				ub_strerror(err));
	}
}

static int context_create(
	struct dns_service *d, const struct dns_conf *conf, char *error, size_t error_n)
{
	d->ctx = ub_ctx_create();
	if (!d->ctx || ub_ctx_async(d->ctx, 1) || context_quiet(d->ctx)) {
		snprintf(error, error_n, "dns: libunbound does not start");
		return -ENOMEM;
	}
	context_options(d->ctx);
	int err = context_servers(d->ctx, conf, error, error_n);
	return err ? err : context_trust(d->ctx, conf->trust_anchor, error, error_n);
}

static void queries_init(struct dns_service *d)
{
	list_init(&d->idle);
	list_init(&d->active);
	for (size_t i = 0; i < QUERIES_MAX; i++) {
		d->queries[i].service = d;
		list_push_tail(&d->idle, &d->queries[i].link);
	}
}

int dns_service_create(
	const struct dns_conf *conf, struct dns_service **d_r, char *error, size_t error_n)
{
	struct dns_service *d = calloc(1, sizeof(*d));
	int err;

	*d_r = NULL;
	if (!d) {
		snprintf(error, error_n, "dns: no memory");
		return -ENOMEM;
	}
	d->timeout_us = (conf->timeout_ms ? conf->timeout_ms : TIMEOUT_MS) * US_PER_MS;
	if (getrandom(&d->random, sizeof(d->random), 0) != sizeof(d->random))
		d->random = clock_mono_us();
	queries_init(d);
	err = service_init(&d->service);
	if (err) {
		snprintf(error, error_n, "dns: eventfd: %s", strerror(-err));
		free(d);
		return err;
	}
	err = context_create(d, conf, error, error_n);
	if (err) {
		dns_service_destroy(&d);
		return err;
	}
	*d_r = d;
	return 0;
}

struct service *dns_service_server(struct dns_service *d)
{
	return &d->service;
}

static void answer_records(struct dns_service *d, struct dns_op *op, const struct ub_result *r)
{
	for (size_t i = 0; r->data[i] && op->count < DNS_RECORDS_MAX; i++) {
		struct bytes rdata = bytes_make(r->data[i], (size_t)r->len[i]);

		if (dns_rdata_decode(op->type, rdata, &op->records[op->count]) == 0)
			op->count++;
	}
	if (op->type == DNS_MX)
		op->count = dns_mx_order(op->records, op->count, ++d->random);
	op->op.status = op->count > 0 ? DNS_OK : DNS_FAIL;
}

static void answer_fill(struct dns_service *d, struct dns_op *op, const struct ub_result *r)
{
	op->op.status = DNS_FAIL;
	if (r->bogus)
		return;
	op->secure = r->secure != 0;
	op->ttl = r->ttl > 0 ? MIN((uint32_t)r->ttl, TTL_MAX) : 0;
	if (r->rcode == RCODE_NXDOMAIN || r->nxdomain)
		op->op.status = DNS_NXDOMAIN;
	else if (r->rcode == RCODE_NOERROR && r->havedata)
		answer_records(d, op, r);
	else if (r->rcode == RCODE_NOERROR)
		op->op.status = DNS_NODATA;
}

static void op_reset(struct dns_op *op)
{
	op->op.status = DNS_FAIL;
	op->secure = false;
	op->ttl = 0;
	op->count = 0;
}

static void op_complete(struct dns_op *op)
{
	if (op->op.status == DNS_FAIL)
		counter_inc(CTR_DNS_FAILURES);
	channel_complete(&op->op);
}

static void query_end(struct query *q)
{
	struct dns_op *op = q->op;

	q->op = NULL;
	list_remove(&q->link);
	list_push_tail(&q->service->idle, &q->link);
	op_complete(op);
}

/* Called by ub_process on the helper thread. */
static void on_answer(void *arg, int err, struct ub_result *r)
{
	struct query *q = arg;

	if (!err && r)
		answer_fill(q->service, q->op, r);
	ub_resolve_free(r);
	query_end(q);
}

static void query_start(struct dns_service *d, struct dns_op *op)
{
	struct query *q = list_entry(d->idle.next, struct query, link);

	op_reset(op);
	op->name[DNS_NAME_MAX] = '\0';
	if (!dns_name_valid(bytes_str(op->name))) {
		op->op.status = DNS_NXDOMAIN; /* no such name can exist as a host */
		op_complete(op);
		return;
	}
	counter_inc(CTR_DNS_QUERIES);
	list_remove(&q->link);
	list_push_tail(&d->active, &q->link);
	q->op = op;
	q->deadline_us = clock_mono_us() + d->timeout_us;
	if (ub_resolve_async(d->ctx, op->name, op->type, CLASS_IN, q, on_answer, &q->async_id))
		query_end(q);
}

static unsigned requests_take(struct dns_service *d)
{
	struct op *ops[TAKE_MAX];
	unsigned room = 0;

	for (struct list *l = d->idle.next; l != &d->idle && room < TAKE_MAX; l = l->next)
		room++;
	unsigned n = room ? service_take(&d->service, ops, room) : 0;
	for (unsigned i = 0; i < n; i++)
		query_start(d, container_of(ops[i], struct dns_op, op));
	return n;
}

/* All have the same time to live, so the list is in order of deadline. */
static void queries_expire(struct dns_service *d, uint64_t now_us)
{
	while (!list_empty(&d->active)) {
		struct query *q = list_entry(d->active.next, struct query, link);

		if (q->deadline_us > now_us)
			return;
		ub_cancel(d->ctx, q->async_id);
		query_end(q);
	}
}

static int sleep_ms(const struct dns_service *d)
{
	if (list_empty(&d->active))
		return 1000;
	const struct query *q = list_entry(d->active.next, struct query, link);
	uint64_t now = clock_mono_us();
	if (q->deadline_us <= now)
		return 0;
	return (int)MIN((q->deadline_us - now) / US_PER_MS + 1, 1000);
}

static bool requests_waiting(const struct dns_service *d)
{
	if (list_empty(&d->idle))
		return false;
	for (unsigned i = 0; i < d->service.channel_count; i++) {
		if (channel_has_requests(d->service.channels[i]))
			return true;
	}
	return false;
}

static void helper_sleep(struct dns_service *d)
{
	struct pollfd p[] = {
		{.fd = d->service.waker.fd, .events = POLLIN},
		{.fd = ub_fd(d->ctx),       .events = POLLIN},
	};

	waker_begin(&d->service.waker);
	if (!requests_waiting(d) && !service_stopping(&d->service))
		poll(p, ARRAY_LEN(p), sleep_ms(d));
	waker_end(&d->service.waker);
}

static void queries_cancel(struct dns_service *d)
{
	struct op *ops[TAKE_MAX];
	unsigned n;

	while (!list_empty(&d->active)) {
		struct query *q = list_entry(d->active.next, struct query, link);
		ub_cancel(d->ctx, q->async_id);
		query_end(q);
	}
	while ((n = service_take(&d->service, ops, TAKE_MAX)) > 0) {
		for (unsigned i = 0; i < n; i++) {
			struct dns_op *op = container_of(ops[i], struct dns_op, op);
			op_reset(op);
			op_complete(op);
		}
	}
}

static void *helper_main(void *arg)
{
	struct dns_service *d = arg;

	log_thread_init("dns");
	counters_thread_init("dns");
	while (!service_stopping(&d->service)) {
		requests_take(d);
		ub_process(d->ctx);
		queries_expire(d, clock_mono_us());
		helper_sleep(d);
	}
	queries_cancel(d);
	return NULL;
}

int dns_service_start(struct dns_service *d)
{
	sigset_t all, old;

	/* Signals are main's; libunbound's thread inherits the mask from the helper. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&d->thread, NULL, helper_main, d);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	d->started = true;
	return 0;
}

void dns_service_stop(struct dns_service *d)
{
	if (!d->started)
		return;
	service_stop(&d->service);
	pthread_join(d->thread, NULL);
	d->started = false;
}

void dns_service_destroy(struct dns_service **d)
{
	if (!*d)
		return;
	dns_service_stop(*d);
	if ((*d)->ctx)
		ub_ctx_delete((*d)->ctx);
	service_fini(&(*d)->service);
	free(*d);
	*d = NULL;
}
