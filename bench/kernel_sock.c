/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/kernel_sock.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define GENERATIONS (1u << 30) /* what the tags leave */

struct kernel_net kernel_net;

static const struct stream_transport kernel_transport;

static struct sock *sock_of(const struct stream *s)
{
	if (s->id.generation == 0 || s->id.index >= kernel_net.engine.conf.connections_max)
		return NULL;
	struct sock *k = &kernel_net.socks[s->id.index];
	return k->generation == s->id.generation && k->stream == s ? k : NULL;
}

/* ---- life ---- */

void sock_due(struct sock *k)
{
	if (list_empty(&k->node))
		list_push_tail(&kernel_net.due, &k->node);
}

static void sock_watch(struct sock *k, uint32_t events)
{
	struct epoll_event ev = {.events = events,
		.data.u64 = (uint64_t)k->generation << 32 | (uint32_t)(k - kernel_net.socks)};

	if (k->events == events)
		return;
	epoll_ctl(kernel_net.epoll, EPOLL_CTL_MOD, k->fd, &ev);
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

struct sock *sock_new(struct stream *s, int fd, uint32_t flags)
{
	struct list *node = list_pop_head(&kernel_net.unused);
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
		.data.u64 = (uint64_t)k->generation << 32 | (uint32_t)(k - kernel_net.socks)};
	if (epoll_ctl(kernel_net.epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		list_push_head(&kernel_net.unused, &k->node);
		k->stream = NULL;
		return NULL;
	}
	s->id = (struct conn_id){(uint32_t)(k - kernel_net.socks), k->generation};
	s->transport = &kernel_transport;
	s->stack = NULL;
	return k;
}

/* The slot is used again after the lap: events of it may still be in the batch. */
void sock_free(struct sock *k)
{
	k->stream->id.generation = 0;
	k->stream = NULL;
	close(k->fd);
	k->fd = -1;
	free(k->left);
	k->left = NULL;
	k->left_n = k->left_at = 0;
	timer_cancel(&kernel_net.wheel, &k->timer);
	list_remove(&k->node);
	list_push_tail(&kernel_net.dead, &k->node);
}

void sock_end(struct sock *k, enum stream_reason reason)
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

/* ---- events ---- */

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
	ssize_t n = recv(k->fd, kernel_net.buffer, sizeof(kernel_net.buffer), 0);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			sock_end(k, reason_of(errno));
		return;
	}
	if (n == 0) {
		k->flags |= KS_EOF;
	} else {
		struct bytes data = bytes_make(kernel_net.buffer, (size_t)n);
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
	timer_cancel(&kernel_net.wheel, &k->timer);
	sock_rewatch(k);
	if (opened && s->ops->on_open)
		s->ops->on_open(s);
	else if (!opened && s->ops->on_writable)
		s->ops->on_writable(s);
}

void sock_event(struct sock *k, uint32_t events)
{
	uint32_t generation = k->generation;

	if (events & (EPOLLERR | EPOLLHUP) && !(events & (EPOLLIN | EPOLLOUT))) {
		int error = sock_error(k);
		if (error || !(k->flags & KS_STOPPED)) {
			sock_end(k, error ? reason_of(error) : STREAM_CLOSED);
			return;
		}
		/* both ends are closed, and the program has not read all */
		epoll_ctl(kernel_net.epoll, EPOLL_CTL_DEL, k->fd, NULL);
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
void sock_catch_up(struct sock *k)
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
