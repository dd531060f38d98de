/* SPDX-License-Identifier: BSD-3-Clause
 * The engine of the kernel's sockets: listening, connecting, the loop. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bench/kernel_sock.h"
#include "dataplane/base/counters.h"
#include "dataplane/cpus.h"

#define EVENTS_MAX   256
#define ACCEPT_MAX   64 /* of one listener in a lap */
#define TIMERS_MAX   256
#define WAIT_MAX_US  1000 /* the program's poll is never later than that */
#define TAG_LISTENER (1ull << 63)
#define TAG_WAKE     (1ull << 62)

static struct kernel_net *const net = &kernel_net;

static socklen_t address_of(const struct endpoint *e, struct sockaddr_storage *out)
{
	if (ip_is_v4(&e->ip)) {
		*(struct sockaddr_in *)out = (struct sockaddr_in){.sin_family = AF_INET,
			.sin_port = htons(e->port),
			.sin_addr.s_addr = ip_to_v4(&e->ip)};
		return sizeof(struct sockaddr_in);
	}
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
	*six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(e->port)};
	memcpy(&six->sin6_addr, e->ip.octets, sizeof(six->sin6_addr));
	return sizeof(struct sockaddr_in6);
}

static struct endpoint endpoint_of(const struct sockaddr_storage *a)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)a;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
	struct endpoint e = {0};

	if (a->ss_family == AF_INET)
		return (struct endpoint){ip_from_v4(four->sin_addr.s_addr), ntohs(four->sin_port)};
	memcpy(e.ip.octets, &six->sin6_addr, sizeof(e.ip.octets));
	e.port = ntohs(six->sin6_port);
	return e;
}

static void connect_late(struct timer *t, uint64_t now_us)
{
	struct sock *k = container_of(t, struct sock, timer);

	(void)now_us;
	sock_end(k, STREAM_TIMEOUT);
}

/* Before connect and listen, so that it is announced from the first segment on. */
static void set_window(const struct engine *e, int fd)
{
	int octets = (int)e->conf.window;

	if (octets)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &octets, sizeof(octets));
}

/* Connect, from an address of ours if one is wanted; its port is chosen with the peer's in view, so
 * that many connections fit.  Returns 0 or -errno. */
static int connect_from(
	int fd, const struct ip_addr *from, const struct sockaddr_storage *to, socklen_t to_n)
{
	struct endpoint local = {.ip = *from};
	struct sockaddr_storage at;
	int one = 1;

	if (!ip_is_none(from)) {
		socklen_t n = address_of(&local, &at);
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(fd, (struct sockaddr *)&at, n) < 0)
			return -errno;
	}
	if (connect(fd, (const struct sockaddr *)to, to_n) < 0 && errno != EINPROGRESS)
		return -errno;
	return 0;
}

static int net_connect(
	struct engine *e, struct stream *s, const struct endpoint *to, uint64_t timeout_us)
{
	struct sockaddr_storage at;
	socklen_t n = address_of(to, &at);
	int fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	set_window(e, fd);
	int rc = connect_from(fd, &s->local.ip, &at, n);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	struct sock *k = sock_new(s, fd, KS_CONNECTING);
	if (!k) {
		close(fd);
		return -ENOMEM;
	}
	s->peer = *to;
	timer_arm(&net->wheel, &k->timer, net->now_us + timeout_us);
	return 0;
}

static int net_listen(struct engine *e, const struct endpoint *at, struct listener *l)
{
	struct sockaddr_storage address;
	socklen_t n = address_of(at, &address);
	struct epoll_event ev = {.events = EPOLLIN};
	int one = 1, rc;

	if (net->listener_count == KERNEL_LISTENERS)
		return -ENOSPC;
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	set_window(e, fd);
	ev.data.u64 = TAG_LISTENER | net->listener_count;
	if (bind(fd, (struct sockaddr *)&address, n) < 0 || listen(fd, e->conf.backlog) < 0 ||
		epoll_ctl(net->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	net->listeners[net->listener_count].fd = fd;
	net->listeners[net->listener_count++].listener = l;
	return 0;
}

/* ---- events ---- */

static bool accept_one(unsigned i)
{
	struct listener *l = net->listeners[i].listener;
	struct sockaddr_storage from, to = {0};
	socklen_t n = sizeof(from), to_n = sizeof(to);
	int fd = accept4(
		net->listeners[i].fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return false;
	getsockname(fd, (struct sockaddr *)&to, &to_n);
	struct endpoint peer = endpoint_of(&from), local = endpoint_of(&to);
	struct stream *s = list_empty(&net->unused) ? NULL : l->accept(l, &peer, &local);
	struct sock *k = s ? sock_new(s, fd, KS_ACCEPTED) : NULL;
	if (!k) {
		close(fd);
		if (s && s->ops->on_close)
			s->ops->on_close(s, STREAM_NO_MEMORY);
		return true;
	}
	s->peer = peer;
	s->local = local;
	sock_due(k);
	return true;
}

static unsigned run_due(void)
{
	struct list now;
	unsigned n = 0;

	list_init(&now);
	for (struct list *node; (node = list_pop_head(&net->due));)
		list_push_tail(&now, node);
	for (struct list *node; (node = list_pop_head(&now)); n++) {
		list_init(node);
		sock_catch_up(list_entry(node, struct sock, node));
	}
	for (struct list *node; (node = list_pop_head(&net->dead));)
		list_push_head(&net->unused, node);
	return n;
}

static void event_run(const struct epoll_event *ev)
{
	uint64_t tag = ev->data.u64;
	uint64_t value;

	if (tag & TAG_LISTENER) {
		for (unsigned i = 0; i < ACCEPT_MAX && accept_one((unsigned)(tag & 0xff)); i++)
			;
	} else if (tag & TAG_WAKE) {
		if (read(net->wake, &value, sizeof(value)) < 0)
			return;
	} else {
		struct sock *k = &net->socks[(uint32_t)tag];
		if (k->stream && k->generation == (uint32_t)(tag >> 32))
			sock_event(k, ev->events);
	}
}

static struct timespec time_to_wait(const struct engine *e, bool work)
{
	uint64_t us = work ? 0 : WAIT_MAX_US, now = clock_mono_us();

	if (e->wake_us)
		us = MIN(us, e->wake_us > now ? e->wake_us - now : 0);
	return (struct timespec){.tv_nsec = (long)us * 1000};
}

static void *net_run(void *arg)
{
	struct epoll_event events[EVENTS_MAX];
	struct engine *e = arg;
	unsigned work = 1;

	counters_thread_init("kernel");
	while (!atomic_load_explicit(&net->stop, memory_order_acquire)) {
		struct timespec wait = time_to_wait(e, work);
		int n = epoll_pwait2(net->epoll, events, EVENTS_MAX, &wait, NULL);
		net->now_us = clock_mono_us();
		work = n > 0;
		for (int i = 0; i < n; i++)
			event_run(&events[i]);
		work += timer_run(&net->wheel, net->now_us, TIMERS_MAX);
		work += e->poller.poll(e->poller.ctx, net->now_us);
		work += run_due();
	}
	return NULL;
}

/* ---- main thread ---- */

static int net_start(struct engine *e)
{
	cpu_set_t cpus;
	int rc = pthread_create(&net->thread, NULL, net_run, e);

	if (rc == 0 && e->conf.cpus[0] && cpus_parse(e->conf.cpus, &cpus) == 0)
		pthread_setaffinity_np(net->thread, sizeof(cpus), &cpus);
	return -rc;
}

static void net_stop(struct engine *e)
{
	uint64_t one = 1;

	(void)e;
	atomic_store_explicit(&net->stop, true, memory_order_release);
	if (write(net->wake, &one, sizeof(one)) < 0) /* it wakes up by itself soon */
		(void)one;
	pthread_join(net->thread, NULL);
}

static void net_destroy(struct engine *e)
{
	(void)e;
	for (unsigned i = 0; i < net->listener_count; i++)
		close(net->listeners[i].fd);
	for (uint32_t i = 0; i < net->engine.conf.connections_max; i++) {
		if (net->socks[i].stream)
			sock_free(&net->socks[i]);
	}
	close(net->epoll);
	close(net->wake);
	free(net->socks);
}

static const struct engine_ops ops = {
	.listen = net_listen,
	.connect = net_connect,
	.start = net_start,
	.stop = net_stop,
	.destroy = net_destroy,
};

struct engine *engine_kernel_create(const struct engine_conf *conf, char *error, size_t error_n)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = TAG_WAKE};

	net->engine = (struct engine){.ops = &ops,
		.now_us = &net->now_us,
		.wheel = &net->wheel,
		.conf = *conf,
		.name = "kernel"};
	net->now_us = clock_mono_us();
	timer_wheel_init(&net->wheel, net->now_us);
	list_init(&net->unused);
	list_init(&net->dead);
	list_init(&net->due);
	net->socks = calloc(conf->connections_max, sizeof(*net->socks));
	net->epoll = epoll_create1(EPOLL_CLOEXEC);
	net->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!net->socks || net->epoll < 0 || net->wake < 0 ||
		epoll_ctl(net->epoll, EPOLL_CTL_ADD, net->wake, &ev) < 0) {
		snprintf(error, error_n, "%s", strerror(errno));
		return NULL;
	}
	for (uint32_t i = 0; i < conf->connections_max; i++) {
		timer_init(&net->socks[i].timer, connect_late);
		list_push_tail(&net->unused, &net->socks[i].node);
	}
	return &net->engine;
}
