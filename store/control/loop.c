/* SPDX-License-Identifier: BSD-3-Clause
 * The main thread's loop: signals, the log's rings, completions of its own requests, samples and
 * the watchdog, and at the end the drain. */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include "dataplane/base/log.h"
#include "store/control/daemon.h"
#include "store/control/renew.h"

#define LOG_DRAIN_MS  50
#define SAMPLE_MS     250
#define DRAIN_POLL_MS 20
#define STALL_US      (2 * US_PER_SEC) /* design: a core without a lap for 2 s is logged */
#define CLOSE_US      US_PER_SEC       /* chosen: for the FINs of the last connections */

struct loop {
	struct daemon *d;
	struct event *terminate, *interrupt, *hangup, *log, *sample, *wake, *drain;
	uint64_t drain_until_us, close_until_us;
};

static unsigned poll_channels(struct daemon *d)
{
	unsigned n = channel_poll(&d->hasher);

	for (unsigned i = 0; i < shards_count(d->store); i++)
		n += channel_poll(&d->writers[i]) + channel_poll(&d->readers[i]);
	for (unsigned i = 0; i < d->core_count; i++)
		n += channel_poll(&d->rooms[i].questions);
	return n;
}

/* Main is asleep for its producers whenever it is not here: they write the eventfd. */
static void on_wake(evutil_socket_t fd, short what, void *ctx)
{
	struct daemon *d = ctx;

	(void)fd;
	(void)what;
	waker_end(&d->waker);
	while (poll_channels(d) > 0) {
	}
	waker_begin(&d->waker);
	while (poll_channels(d) > 0) { /* what came before the announcement */
	}
}

static void on_log(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	(void)ctx;
	log_drain();
	dataplane_tend();
}

static void watch_core(struct daemon *d, unsigned i, uint64_t now)
{
	uint64_t lap = atomic_load_explicit(&d->cores[i].lap_at_us, memory_order_relaxed);

	if (lap == 0 || now < lap + STALL_US)
		return;
	if (d->stalled_since_us[i] == lap)
		return; /* said already */
	d->stalled_since_us[i] = lap;
	log_error("control", "core stalled core=%u without_lap_ms=%llu", i,
		(unsigned long long)((now - lap) / US_PER_MS));
}

/* Kicked, a sleeping core makes a lap: its gauges are fresh and its silence means something. */
static void on_sample(evutil_socket_t fd, short what, void *ctx)
{
	struct daemon *d = ctx;
	uint64_t now = clock_mono_us();

	(void)fd;
	(void)what;
	sample_take(d);
	renew_collect(d, now);
	for (unsigned i = 0; i < d->core_count; i++) {
		watch_core(d, i, now);
		waker_kick(&d->cores[i].waker);
	}
}

static uint32_t sum_busy(const struct daemon *d, bool connections)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < d->core_count; i++) {
		const struct core_gauges *g = &d->rooms[i].gauges;
		if (connections)
			n += g->connections - MIN(g->time_wait, g->connections);
		else
			n += g->smtp + g->pop3 + g->imap + g->delivery_busy;
	}
	return n;
}

/* First the sessions and deliveries, then the connections they have closed. */
static void on_drain(evutil_socket_t fd, short what, void *ctx)
{
	struct loop *l = ctx;
	struct daemon *d = l->d;
	uint64_t now = clock_mono_us();

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < d->core_count; i++)
		waker_kick(&d->cores[i].waker);
	if (l->close_until_us == 0) {
		/* The gauges are as of before the drain for the first turns. */
		bool settled = now + d->config->root.limits.drain_timeout >=
			       l->drain_until_us + 5 * DRAIN_POLL_MS * US_PER_MS;
		uint32_t busy = sum_busy(d, false);
		if (now < l->drain_until_us && (busy > 0 || !settled))
			return;
		if (busy > 0)
			log_warn("control", "drain timed out busy=%u", busy);
		l->close_until_us = now + CLOSE_US;
	} else if (now >= l->close_until_us || sum_busy(d, true) == 0) {
		event_base_loopbreak(d->events);
	}
}

static void on_stop(evutil_socket_t signo, short what, void *ctx)
{
	static const struct timeval every = {.tv_usec = DRAIN_POLL_MS * 1000};
	struct loop *l = ctx;
	struct daemon *d = l->d;

	(void)what;
	if (atomic_load(&d->draining)) { /* a second signal: no more patience */
		l->drain_until_us = 0;
		return;
	}
	log_info("control", "stopping signal=%d", (int)signo);
	l->drain_until_us = clock_mono_us() + d->config->root.limits.drain_timeout;
	atomic_store_explicit(&d->draining, true, memory_order_release);
	event_add(l->drain, &every);
}

static void on_hangup(evutil_socket_t signo, short what, void *ctx)
{
	(void)signo;
	(void)what;
	struct daemon *d = ctx;
	char error[512];

	logfile_reopen(d);
	if (renew_certificates(d, error, sizeof(error)) < 0)
		log_error("control", "certificates not renewed: %s", error);
	else
		log_info("control", "log opened anew, certificates renewed");
}

static int add_timer(struct event *e, unsigned ms)
{
	struct timeval every = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	return e ? event_add(e, &every) : -1;
}

static int make_events(struct daemon *d, struct loop *l)
{
	struct event_base *b = d->events;

	l->terminate = evsignal_new(b, SIGTERM, on_stop, l);
	l->interrupt = evsignal_new(b, SIGINT, on_stop, l);
	l->hangup = evsignal_new(b, SIGHUP, on_hangup, d);
	l->log = event_new(b, -1, EV_PERSIST, on_log, d);
	l->sample = event_new(b, -1, EV_PERSIST, on_sample, d);
	l->drain = event_new(b, -1, EV_PERSIST, on_drain, l);
	l->wake = event_new(b, d->waker.fd, EV_READ | EV_PERSIST, on_wake, d);
	if (!l->terminate || !l->interrupt || !l->hangup || !l->wake || !l->drain)
		return -ENOMEM;
	if (event_add(l->terminate, NULL) < 0 || event_add(l->interrupt, NULL) < 0 ||
		event_add(l->hangup, NULL) < 0 || event_add(l->wake, NULL) < 0)
		return -ENOMEM;
	return add_timer(l->log, LOG_DRAIN_MS) < 0 || add_timer(l->sample, SAMPLE_MS) < 0 ? -ENOMEM
											  : 0;
}

int loop_create(struct daemon *d, char *error, size_t error_n)
{
	d->loop = calloc(1, sizeof(*d->loop));
	d->events = event_base_new();
	int err = d->loop && d->events ? make_events(d, d->loop) : -ENOMEM;

	if (err < 0)
		snprintf(error, error_n, "cannot make the event loop: %s", strerror(-err));
	else
		d->loop->d = d;
	/* A peer that goes away must not end us; nor must a stray signal of a driver. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	return err;
}

void loop_run(struct daemon *d)
{
	waker_begin(&d->waker);
	poll_channels(d);
	event_base_dispatch(d->events);
}

void loop_destroy(struct daemon *d)
{
	struct loop *l = d->loop;

	if (l) {
		struct event *all[] = {l->terminate, l->interrupt, l->hangup, l->log, l->sample,
			l->wake, l->drain};
		for (size_t i = 0; i < ARRAY_LEN(all); i++) {
			if (all[i])
				event_free(all[i]);
		}
	}
	free(l);
	d->loop = NULL;
	if (d->events)
		event_base_free(d->events);
	d->events = NULL;
}
