/* SPDX-License-Identifier: BSD-3-Clause
 * The kernel's sockets as streams: one thread, epoll.  As in the stack, no upcall comes from inside
 * a call, and a stream may be closed or freed in any upcall. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bench/engine.h"
#include "dataplane/base/counters.h"
#include "dataplane/cpus.h"

#define EVENTS_MAX   256
#define ACCEPT_MAX   64 /* of one listener in a lap */
#define TIMERS_MAX   256
#define READ_MAX     (256u * 1024) /* octets of one read */
#define WAIT_MAX_US  1000          /* the program's poll is never later than that */
#define LISTENERS    8
#define TAG_LISTENER (1ull << 63)
#define TAG_WAKE     (1ull << 62)
#define GENERATIONS  (1u << 30) /* what the tags leave */

enum sock_flag {
	KS_CONNECTING = 1,
	KS_ACCEPTED = 2, /* on_writable is due once */
	KS_WRITE = 4,    /* on_writable when there is room */
	KS_RESUMED = 8,
	KS_STOPPED = 16, /* the program left octets */
	KS_EOF = 32,     /* the peer sends no more */
	KS_EOF_TOLD = 64,
	KS_HUNG = 128, /* both directions are over: the event would come for ever */
};

struct sock {
	struct stream *stream; /* NULL: free */
	int fd;
	uint32_t generation, flags, events;
	struct list node; /* free, dead, or with something to do */
	struct timer timer;
	uint8_t *left; /* read and not taken */
	size_t left_n, left_at;
};

static struct kernel_net {
	struct engine engine;
	struct timer_wheel wheel;
	uint64_t now_us;
	int epoll, wake;
	struct sock *socks;
	struct list unused, dead, due;
	struct {
		int fd;
		struct listener *listener;
	} listeners[LISTENERS];
	unsigned listener_count;
	pthread_t thread;
	atomic_bool stop;
	uint8_t buffer[READ_MAX];
} net;

static const struct stream_transport kernel_transport;

static struct sock *sock_of(const struct stream *s)
{
	if (s->id.generation == 0 || s->id.index >= net.engine.conf.connections_max)
		return NULL;
	struct sock *k = &net.socks[s->id.index];
	return k->generation == s->id.generation && k->stream == s ? k : NULL;
}

/* ---- life ---- */

static void sock_due(struct sock *k)
{
	if (list_empty(&k->node))
		list_push_tail(&net.due, &k->node);
}

static void sock_watch(struct sock *k, uint32_t events)
{
	struct epoll_event ev = {.events = events,
		.data.u64 = (uint64_t)k->generation << 32 | (uint32_t)(k - net.socks)};

	if (k->events == events)
		return;
	epoll_ctl(net.epoll, EPOLL_CTL_MOD, k->fd, &ev);
	k->events = events;
}

/* What is wanted of the kernel now. */
static void sock_rewatch(struct sock *k)
{
	bool out = k->flags & (KS_CONNECTING | KS_WRITE);
	bool in = !(k->flags & (KS_CONNECTING | KS_STOPPED | KS_EOF));

	if (k->flags & KS_HUNG)
		return;
	sock_watch(k, (out ? EPOLLOUT : 0u) | (in ? EPOLLIN : 0u));
}

static struct sock *sock_new(struct stream *s, int fd, uint32_t flags)
{
	struct list *node = list_pop_head(&net.unused);
	struct sock *k = node ? list_entry(node, struct sock, node) : NULL;
	int one = 1;

	if (!k)
		return NULL;
	list_init(&k->node);
	k->stream = s;
	k->fd = fd;
	k->flags = flags;
	k->generation = k->generation % (GENERATIONS - 1) + 1;
	k->left_n = k->left_at = 0;
	k->events = flags & KS_CONNECTING ? EPOLLOUT : EPOLLIN;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	struct epoll_event ev = {.events = k->events,
		.data.u64 = (uint64_t)k->generation << 32 | (uint32_t)(k - net.socks)};
	if (epoll_ctl(net.epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		list_push_head(&net.unused, &k->node);
		k->stream = NULL;
		return NULL;
	}
	s->id = (struct conn_id){(uint32_t)(k - net.socks), k->generation};
	s->transport = &kernel_transport;
	s->stack = NULL;
	return k;
}

/* The slot is used again after the lap: events of it may still be in the batch. */
static void sock_free(struct sock *k)
{
	k->stream->id.generation = 0;
	k->stream = NULL;
	close(k->fd);
	k->fd = -1;
	free(k->left);
	k->left = NULL;
	k->left_n = k->left_at = 0;
	timer_cancel(&net.wheel, &k->timer);
	list_remove(&k->node);
	list_push_tail(&net.dead, &k->node);
}

static void sock_end(struct sock *k, enum stream_reason reason)
{
	struct stream *s = k->stream;

	sock_free(k);
	if (s->ops->on_close)
		s->ops->on_close(s, reason);
}

static enum stream_reason reason_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return STREAM_REFUSED;
	case ETIMEDOUT:
		return STREAM_TIMEOUT;
	case EHOSTUNREACH:
	case ENETUNREACH:
		return STREAM_UNREACHABLE;
	case ENOMEM:
	case ENOBUFS:
		return STREAM_NO_MEMORY;
	default:
		return STREAM_RESET;
	}
}

static int sock_error(const struct sock *k)
{
	int error = 0;
	socklen_t n = sizeof(error);

	return getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0 ? errno : error;
}

/* ---- calls ---- */

static size_t kernel_send(struct stream *s, struct bytes data)
{
	struct sock *k = sock_of(s);

	if (!k || (k->flags & KS_CONNECTING) || data.n == 0)
		return 0;
	ssize_t n = send(k->fd, data.p, data.n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		n = (ssize_t)data.n; /* it is over, and the event that says so comes */
	n = MAX(n, (ssize_t)0);
	if ((size_t)n < data.n) {
		k->flags |= KS_WRITE;
		sock_rewatch(k);
	}
	return (size_t)n;
}

/* The kernel does not say; what does not fit comes back. */
static size_t kernel_space(const struct stream *s)
{
	const struct sock *k = sock_of(s);

	return k && !(k->flags & (KS_WRITE | KS_CONNECTING)) ? UINT16_MAX : 0;
}

static size_t kernel_unacked(const struct stream *s)
{
	(void)s;
	return 0;
}

static void kernel_notify(struct stream *s)
{
	struct sock *k = sock_of(s);

	if (!k)
		return;
	k->flags |= KS_WRITE;
	sock_rewatch(k);
}

static void kernel_resume(struct stream *s)
{
	struct sock *k = sock_of(s);

	if (!k)
		return;
	k->flags |= KS_RESUMED;
	sock_due(k);
}

static void kernel_shutdown(struct stream *s)
{
	struct sock *k = sock_of(s);

	if (k)
		shutdown(k->fd, SHUT_WR);
}

static void kernel_close(struct stream *s)
{
	struct sock *k = sock_of(s);

	if (k)
		sock_free(k);
}

static void kernel_abort(struct stream *s)
{
	struct sock *k = sock_of(s);
	struct linger reset = {.l_onoff = 1};

	if (!k)
		return;
	setsockopt(k->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	sock_free(k);
}

static const struct stream_transport kernel_transport = {
	.send = kernel_send,
	.space = kernel_space,
	.unacked = kernel_unacked,
	.notify = kernel_notify,
	.resume = kernel_resume,
	.shutdown = kernel_shutdown,
	.close = kernel_close,
	.abort = kernel_abort,
};

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

static int net_connect(
	struct engine *e, struct stream *s, const struct endpoint *to, uint64_t timeout_us)
{
	struct sockaddr_storage at;
	socklen_t n = address_of(to, &at);
	int fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)e;
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&at, n) < 0 && errno != EINPROGRESS) {
		int rc = -errno;
		close(fd);
		return rc;
	}
	struct sock *k = sock_new(s, fd, KS_CONNECTING);
	if (!k) {
		close(fd);
		return -ENOMEM;
	}
	s->peer = *to;
	timer_arm(&net.wheel, &k->timer, net.now_us + timeout_us);
	return 0;
}

static int net_listen(struct engine *e, const struct endpoint *at, struct listener *l)
{
	struct sockaddr_storage address;
	socklen_t n = address_of(at, &address);
	struct epoll_event ev = {.events = EPOLLIN};
	int one = 1, rc;

	if (net.listener_count == LISTENERS)
		return -ENOSPC;
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	ev.data.u64 = TAG_LISTENER | net.listener_count;
	if (bind(fd, (struct sockaddr *)&address, n) < 0 || listen(fd, e->conf.backlog) < 0 ||
		epoll_ctl(net.epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	net.listeners[net.listener_count].fd = fd;
	net.listeners[net.listener_count++].listener = l;
	return 0;
}

/* ---- events ---- */

static bool accept_one(unsigned i)
{
	struct listener *l = net.listeners[i].listener;
	struct sockaddr_storage from, to = {0};
	socklen_t n = sizeof(from), to_n = sizeof(to);
	int fd = accept4(
		net.listeners[i].fd, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return false;
	getsockname(fd, (struct sockaddr *)&to, &to_n);
	struct endpoint peer = endpoint_of(&from), local = endpoint_of(&to);
	struct stream *s = list_empty(&net.unused) ? NULL : l->accept(l, &peer, &local);
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

/* Give octets upward.  Returns how many were taken; the stream may be gone. */
static size_t give(struct sock *k, struct bytes data)
{
	struct stream *s = k->stream;
	uint32_t generation = k->generation;
	size_t n = s->ops->on_data(s, data);

	if (k->generation != generation || k->stream != s)
		return data.n;
	if (n < data.n)
		k->flags |= KS_STOPPED;
	return n;
}

static void keep(struct sock *k, struct bytes rest)
{
	if (rest.n == 0 || !k->stream)
		return;
	k->left = malloc(rest.n);
	if (!k->left) {
		sock_end(k, STREAM_NO_MEMORY);
		return;
	}
	memcpy(k->left, rest.p, rest.n);
	k->left_n = rest.n;
	k->left_at = 0;
}

static void tell_eof(struct sock *k)
{
	if ((k->flags & (KS_EOF | KS_EOF_TOLD | KS_STOPPED)) != KS_EOF || k->left_n)
		return;
	k->flags |= KS_EOF_TOLD;
	if (k->stream->ops->on_eof)
		k->stream->ops->on_eof(k->stream);
}

static void sock_read(struct sock *k)
{
	ssize_t n = recv(k->fd, net.buffer, sizeof(net.buffer), 0);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			sock_end(k, reason_of(errno));
		return;
	}
	if (n == 0) {
		k->flags |= KS_EOF;
	} else {
		struct bytes data = bytes_make(net.buffer, (size_t)n);
		size_t taken = give(k, data);
		keep(k, bytes_skip(data, taken));
	}
	if (!k->stream)
		return;
	tell_eof(k);
	if (k->stream)
		sock_rewatch(k);
}

static void sock_writable(struct sock *k)
{
	struct stream *s = k->stream;
	int error = k->flags & KS_CONNECTING ? sock_error(k) : 0;

	if (error) {
		sock_end(k, reason_of(error));
		return;
	}
	bool opened = k->flags & KS_CONNECTING;
	k->flags &= ~(uint32_t)(KS_CONNECTING | KS_WRITE);
	timer_cancel(&net.wheel, &k->timer);
	sock_rewatch(k);
	if (opened && s->ops->on_open)
		s->ops->on_open(s);
	else if (!opened && s->ops->on_writable)
		s->ops->on_writable(s);
}

static void sock_event(struct sock *k, uint32_t events)
{
	uint32_t generation = k->generation;

	if (events & (EPOLLERR | EPOLLHUP) && !(events & (EPOLLIN | EPOLLOUT))) {
		int error = sock_error(k);
		if (error || !(k->flags & KS_STOPPED)) {
			sock_end(k, error ? reason_of(error) : STREAM_CLOSED);
			return;
		}
		/* both ends are closed, and the program has not read all */
		epoll_ctl(net.epoll, EPOLL_CTL_DEL, k->fd, NULL);
		k->flags |= KS_HUNG | KS_EOF;
		return;
	}
	if (events & EPOLLOUT)
		sock_writable(k);
	if ((events & EPOLLIN) && k->stream && k->generation == generation &&
		!(k->flags & (KS_STOPPED | KS_EOF | KS_CONNECTING)))
		sock_read(k);
}

/* What was left, again, and what was asked for. */
static void sock_catch_up(struct sock *k)
{
	uint32_t generation = k->generation;

	if (k->flags & KS_ACCEPTED) {
		k->flags &= ~(uint32_t)KS_ACCEPTED;
		if (k->stream->ops->on_writable)
			k->stream->ops->on_writable(k->stream);
	}
	if (!k->stream || k->generation != generation || !(k->flags & KS_RESUMED))
		return;
	k->flags &= ~(uint32_t)(KS_RESUMED | KS_STOPPED);
	if (k->left_n) {
		size_t n = give(k, bytes_make(k->left + k->left_at, k->left_n));
		if (!k->stream || k->generation != generation)
			return;
		k->left_at += n;
		k->left_n -= n;
		if (k->left_n == 0) {
			free(k->left);
			k->left = NULL;
		}
	}
	tell_eof(k);
	if (k->stream && k->generation == generation)
		sock_rewatch(k);
}

static unsigned run_due(void)
{
	struct list now;
	unsigned n = 0;

	list_init(&now);
	for (struct list *node; (node = list_pop_head(&net.due));)
		list_push_tail(&now, node);
	for (struct list *node; (node = list_pop_head(&now)); n++) {
		list_init(node);
		sock_catch_up(list_entry(node, struct sock, node));
	}
	for (struct list *node; (node = list_pop_head(&net.dead));)
		list_push_head(&net.unused, node);
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
		if (read(net.wake, &value, sizeof(value)) < 0)
			return;
	} else {
		struct sock *k = &net.socks[(uint32_t)tag];
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
	while (!atomic_load_explicit(&net.stop, memory_order_acquire)) {
		struct timespec wait = time_to_wait(e, work);
		int n = epoll_pwait2(net.epoll, events, EVENTS_MAX, &wait, NULL);
		net.now_us = clock_mono_us();
		work = n > 0;
		for (int i = 0; i < n; i++)
			event_run(&events[i]);
		work += timer_run(&net.wheel, net.now_us, TIMERS_MAX);
		work += e->poller.poll(e->poller.ctx, net.now_us);
		work += run_due();
	}
	return NULL;
}

/* ---- main thread ---- */

static int net_start(struct engine *e)
{
	cpu_set_t cpus;
	int rc = pthread_create(&net.thread, NULL, net_run, e);

	if (rc == 0 && e->conf.cpus[0] && cpus_parse(e->conf.cpus, &cpus) == 0)
		pthread_setaffinity_np(net.thread, sizeof(cpus), &cpus);
	return -rc;
}

static void net_stop(struct engine *e)
{
	uint64_t one = 1;

	(void)e;
	atomic_store_explicit(&net.stop, true, memory_order_release);
	if (write(net.wake, &one, sizeof(one)) < 0) /* it wakes up by itself soon */
		(void)one;
	pthread_join(net.thread, NULL);
}

static void net_destroy(struct engine *e)
{
	(void)e;
	for (unsigned i = 0; i < net.listener_count; i++)
		close(net.listeners[i].fd);
	for (uint32_t i = 0; i < net.engine.conf.connections_max; i++) {
		if (net.socks[i].stream)
			sock_free(&net.socks[i]);
	}
	close(net.epoll);
	close(net.wake);
	free(net.socks);
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

	net.engine = (struct engine){.ops = &ops,
		.now_us = &net.now_us,
		.wheel = &net.wheel,
		.conf = *conf,
		.name = "kernel"};
	net.now_us = clock_mono_us();
	timer_wheel_init(&net.wheel, net.now_us);
	list_init(&net.unused);
	list_init(&net.dead);
	list_init(&net.due);
	net.socks = calloc(conf->connections_max, sizeof(*net.socks));
	net.epoll = epoll_create1(EPOLL_CLOEXEC);
	net.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!net.socks || net.epoll < 0 || net.wake < 0 ||
		epoll_ctl(net.epoll, EPOLL_CTL_ADD, net.wake, &ev) < 0) {
		snprintf(error, error_n, "%s", strerror(errno));
		return NULL;
	}
	for (uint32_t i = 0; i < conf->connections_max; i++) {
		timer_init(&net.socks[i].timer, connect_late);
		list_push_tail(&net.unused, &net.socks[i].node);
	}
	return &net.engine;
}
