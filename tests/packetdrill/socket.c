/* SPDX-License-Identifier: BSD-3-Clause
 * Sockets over streams.  Data stays in the stack's receive queue until a read asks for it, so the
 * window that the script sees is the stack's own. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>
#include "tests/packetdrill/library.h"

#define CONNECT_US (127 * US_PER_SEC) /* chosen: as long as six SYNs take */

/* ---- descriptors ---- */

struct pd_socket *pd_socket_find(struct pd *pd, int fd)
{
	for (unsigned i = 0; i < PD_SOCKETS_MAX; i++) {
		struct pd_socket *s = &pd->sockets[i];
		if (s->kind != PD_FREE && s->fd == fd && fd > 0)
			return s;
	}
	errno = EBADF;
	return NULL;
}

struct pd_socket *pd_socket_new(struct pd *pd, enum pd_kind kind)
{
	for (unsigned i = 0; i < PD_SOCKETS_MAX; i++) {
		struct pd_socket *s = &pd->sockets[i];
		if (s->kind != PD_FREE)
			continue;
		*s = (struct pd_socket){.pd = pd, .kind = kind, .status_flags = O_RDWR};
		return s;
	}
	errno = EMFILE;
	return NULL;
}

/* The runner closes descriptors itself at the end, so each is a real one. */
static int fd_open(struct pd_socket *s)
{
	s->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return s->fd;
}

const struct tcp_conn *pd_socket_conn(const struct pd_socket *s)
{
	const struct stack *st = s->pd->stack;

	if (s->kind != PD_STREAM || !st || !s->stream.id.generation || s->ended)
		return NULL;
	const struct tcp_conn *c = &st->conns[s->stream.id.index];
	return c->generation == s->stream.id.generation && c->state != TCP_CLOSED ? c : NULL;
}

/* ---- what the stack tells ---- */

static struct pd_socket *of(struct stream *st)
{
	return container_of(st, struct pd_socket, stream);
}

static void on_open(struct stream *st)
{
	struct pd_socket *s = of(st);

	s->open = true;
	s->connecting = false;
	s->events++;
}

static size_t on_data(struct stream *st, struct bytes data)
{
	struct pd_socket *s = of(st);
	size_t n = MIN(data.n, s->want_n - s->got);

	if (!s->want)
		s->events++; /* it arrives; later it is read */
	if (n)
		memcpy(s->want + s->got, data.p, n);
	s->got += n;
	return s->peek ? 0 : n;
}

static void on_eof(struct stream *st)
{
	of(st)->eof = true;
	of(st)->events++;
}

static void on_writable(struct stream *st)
{
	of(st)->events++;
}

static void on_close(struct stream *st, enum stream_reason reason)
{
	static const int errors[STREAM_REASON_N] = {
		[STREAM_RESET] = ECONNRESET,
		[STREAM_REFUSED] = ECONNREFUSED,
		[STREAM_TIMEOUT] = ETIMEDOUT,
		[STREAM_UNREACHABLE] = EHOSTUNREACH,
		[STREAM_NO_MEMORY] = ENOBUFS,
	};
	struct pd_socket *s = of(st);

	s->error = errors[reason];
	if (reason == STREAM_RESET && s->eof)
		s->error = EPIPE;
	s->ended = true;
	s->connecting = false;
	s->events++;
}

static const struct stream_ops ops = {.on_open = on_open,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_writable = on_writable,
	.on_close = on_close};

static struct stream *on_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local)
{
	struct pd_socket *parent = container_of(l, struct pd_socket, listener);

	(void)peer, (void)local;
	if (parent->queue_n == PD_BACKLOG_MAX)
		return NULL;
	struct pd_socket *s = pd_socket_new(parent->pd, PD_STREAM);
	if (!s)
		return NULL;
	s->domain = parent->domain;
	s->parent = parent;
	s->open = true;
	s->events = 1;
	s->stream.ops = &ops;
	memcpy(s->options, parent->options, sizeof(s->options));
	s->options_n = parent->options_n;
	pd_options_apply(s);
	parent->queue[parent->queue_n++] = s;
	parent->events++;
	return &s->stream;
}

/* ---- addresses ---- */

static bool endpoint_from(const struct sockaddr *address, socklen_t n, struct endpoint *e_r)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

	if (n >= sizeof(*in) && in->sin_family == AF_INET) {
		*e_r = (struct endpoint){ip_from_v4(in->sin_addr.s_addr), ntohs(in->sin_port)};
		return true;
	}
	if (n >= sizeof(*in6) && in6->sin6_family == AF_INET6) {
		memcpy(e_r->ip.octets, &in6->sin6_addr, 16);
		e_r->port = ntohs(in6->sin6_port);
		return true;
	}
	return false;
}

static void endpoint_to(
	const struct endpoint *e, int domain, struct sockaddr *address, socklen_t *n)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(e->port)};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(e->port)};
	bool v4 = domain == AF_INET;
	socklen_t size = v4 ? sizeof(in) : sizeof(in6);

	if (!address || !n)
		return;
	if (v4)
		in.sin_addr.s_addr = ip_to_v4(&e->ip);
	memcpy(&in6.sin6_addr, e->ip.octets, 16);
	memcpy(address, v4 ? (void *)&in : (void *)&in6, MIN(*n, size));
	*n = size;
}

static bool unspecified(const struct ip_addr *ip)
{
	static const struct ip_addr any6;
	struct ip_addr any4 = ip_from_v4(0);

	return ip_eq(ip, &any6) || ip_eq(ip, &any4);
}

/* The address that scripts use when they bind to none. */
static struct ip_addr default_local(const struct pd *pd, bool v4)
{
	static const uint8_t v6[16] = {0xfd, 0x3d, 0x0a, 0x0b, 0x17, 0xd6, [15] = 1};
	struct ip_addr ip = ip_from_v4(htonl(0xc0a80001)); /* 192.168.0.1 */

	if (pd->profile.has_local)
		return pd->profile.local;
	if (!v4)
		memcpy(ip.octets, v6, 16);
	return ip;
}

static void stack_needed(struct pd *pd, const struct ip_addr *bound, bool v4)
{
	struct ip_addr ip = bound && !unspecified(bound) ? *bound : default_local(pd, v4);

	if (pd->profile.has_local)
		ip = pd->profile.local;
	pd_stack_start(pd, &ip);
}

/* ---- calls ---- */

static int do_socket(struct pd *pd, int domain, int type, int protocol)
{
	if ((domain != AF_INET && domain != AF_INET6) ||
		(type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM ||
		(protocol != 0 && protocol != IPPROTO_TCP)) {
		errno = EPROTONOSUPPORT;
		return -1;
	}
	struct pd_socket *s = pd_socket_new(pd, PD_STREAM);
	if (!s)
		return -1;
	s->domain = domain;
	s->status_flags |= type & SOCK_NONBLOCK ? O_NONBLOCK : 0;
	return fd_open(s);
}

static int do_bind(struct pd *pd, struct pd_socket *s, const struct sockaddr *a, socklen_t n)
{
	struct endpoint e;

	if (!endpoint_from(a, n, &e)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(&s->bound, a, MIN(n, sizeof(s->bound)));
	s->is_bound = true;
	stack_needed(pd, &e.ip, s->domain == AF_INET || ip_is_v4(&e.ip));
	return 0;
}

static int do_listen(struct pd *pd, struct pd_socket *s)
{
	struct endpoint e;

	if (s->listening)
		return 0;
	if (!s->is_bound || !endpoint_from((struct sockaddr *)&s->bound, sizeof(s->bound), &e) ||
		s->open || s->connecting) {
		errno = EINVAL;
		return -1;
	}
	s->listener = (struct listener){.accept = on_accept};
	int error = stack_listen(pd->stack, e.port, &s->listener);
	if (error) {
		errno = -error;
		return -1;
	}
	s->listening = true;
	return 0;
}

static bool accept_ready(void *socket)
{
	const struct pd_socket *s = socket;

	return s->queue_n || !s->listening;
}

static bool would_block(const struct pd_socket *s, int flags)
{
	return (s->status_flags & O_NONBLOCK) || (flags & MSG_DONTWAIT);
}

static int do_accept(struct pd *pd, struct pd_socket *s, struct sockaddr *a, socklen_t *n)
{
	if (!s->listening) {
		errno = EINVAL;
		return -1;
	}
	if (!s->queue_n && (would_block(s, 0) || !pd_wait(pd, accept_ready, s))) {
		errno = EAGAIN;
		return -1;
	}
	struct pd_socket *child = s->queue[0];
	memmove(s->queue, s->queue + 1, --s->queue_n * sizeof(s->queue[0]));
	child->parent = NULL;
	endpoint_to(&child->stream.peer, child->domain, a, n);
	return fd_open(child);
}

static bool connect_ready(void *socket)
{
	const struct pd_socket *s = socket;

	return !s->connecting;
}

static int error_take(struct pd_socket *s)
{
	errno = s->error;
	s->error = 0;
	return -1;
}

static int do_connect(struct pd *pd, struct pd_socket *s, const struct sockaddr *a, socklen_t n)
{
	struct endpoint e;

	if (!endpoint_from(a, n, &e) || s->listening || s->connecting || s->open) {
		errno = s->connecting ? EALREADY : s->open ? EISCONN : EINVAL;
		if (s->error && !s->connecting && !s->open)
			return error_take(s);
		return -1;
	}
	if (s->error)
		return error_take(s);
	stack_needed(pd, NULL, s->domain == AF_INET || ip_is_v4(&e.ip));
	s->stream.ops = &ops;
	pd_options_apply(s);
	int error = stream_connect(pd->stack, &s->stream, &e, CONNECT_US);
	if (error) {
		errno = -error;
		return -1;
	}
	s->connecting = true;
	s->ended = false;
	pd_settle(pd);
	if (would_block(s, 0) && s->connecting) {
		errno = EINPROGRESS;
		return -1;
	}
	if (!pd_wait(pd, connect_ready, s)) {
		errno = EAGAIN;
		return -1;
	}
	return s->error ? error_take(s) : 0;
}

/* ---- data ---- */

bool pd_socket_readable(void *socket)
{
	const struct pd_socket *s = socket;
	const struct tcp_conn *c = pd_socket_conn(s);

	if (s->listening)
		return s->queue_n;
	return (c && c->unread) || s->eof || s->ended || s->shut_rd;
}

/* Octets in the queue for sending. */
static size_t queued(const struct pd_socket *s)
{
	const struct tcp_conn *c = pd_socket_conn(s);

	return c && seq_lt(c->snd_una, c->snd_end) ? c->snd_end - c->snd_una : 0;
}

static size_t send_space(const struct pd_socket *s)
{
	size_t limit = (size_t)pd_option_get(s, SOL_SOCKET, SO_SNDBUF, PD_SNDBUF), n = queued(s);
	size_t space = pd_socket_conn(s) ? stream_space(&s->stream) : 0;

	return n < limit ? MIN(space, limit - n) : 0;
}

bool pd_socket_writable(struct pd_socket *s)
{
	if (s->ended || s->shut_wr)
		return true;
	size_t limit = (size_t)pd_option_get(s, SOL_SOCKET, SO_SNDBUF, PD_SNDBUF);
	return s->open && queued(s) < limit - limit / 3 && send_space(s);
}

static size_t pull(struct pd *pd, struct pd_socket *s, void *buf, size_t n, int flags)
{
	const struct tcp_conn *c = pd_socket_conn(s);

	if (!c || !c->unread || !n)
		return 0;
	s->want = buf;
	s->want_n = n;
	s->got = 0;
	s->peek = flags & MSG_PEEK;
	stream_resume(&s->stream);
	pd_settle(pd);
	size_t got = s->got;
	s->want = NULL;
	s->want_n = s->got = 0;
	s->peek = false;
	return got;
}

static ssize_t do_recv(struct pd *pd, struct pd_socket *s, void *buf, size_t n, int flags)
{
	if (!s->open && !s->ended) {
		errno = ENOTCONN;
		return -1;
	}
	size_t got = pull(pd, s, buf, n, flags);
	if (got || n == 0)
		return (ssize_t)got;
	if (s->error)
		return error_take(s);
	if (s->eof || s->ended || s->shut_rd)
		return 0;
	if (would_block(s, flags) || !pd_wait(pd, pd_socket_readable, s)) {
		errno = EAGAIN;
		return -1;
	}
	got = pull(pd, s, buf, n, flags);
	return !got && s->error ? error_take(s) : (ssize_t)got;
}

static ssize_t send_refused(struct pd_socket *s)
{
	if (s->error)
		return error_take(s);
	errno = s->open || s->ended || s->shut_wr ? EPIPE : ENOTCONN;
	return -1;
}

static bool send_ready(void *socket)
{
	const struct pd_socket *s = socket;

	return s->ended || s->shut_wr || (s->open && send_space(s));
}

static ssize_t do_send(struct pd *pd, struct pd_socket *s, const void *buf, size_t n, int flags)
{
	size_t done = 0;

	while (done < n) {
		if (s->ended || s->shut_wr || (!s->open && !s->connecting))
			return done ? (ssize_t)done : send_refused(s);
		size_t space = s->open ? send_space(s) : 0;
		struct bytes data = bytes_make((const uint8_t *)buf + done, MIN(space, n - done));
		size_t taken = data.n ? stream_send(&s->stream, data) : 0;
		done += taken;
		if (taken && (done == n || !send_space(s)))
			pd_settle(pd);
		if (taken)
			continue;
		if (would_block(s, flags) || !pd_wait(pd, send_ready, s)) {
			errno = EAGAIN;
			return done ? (ssize_t)done : -1;
		}
	}
	return (ssize_t)done;
}

/* ---- ends ---- */

static void stream_end(struct pd_socket *s)
{
	const struct tcp_conn *c = pd_socket_conn(s);

	if (!c)
		return;
	int linger = pd_option_get(s, SOL_SOCKET, SO_LINGER, -1);
	/* RFC 1122 4.2.2.13: who closes and has not read all resets, where the profile says so */
	if (linger == 0 || (s->pd->profile.close_resets && c->unread && !s->shut_rd))
		stream_abort(&s->stream);
	else
		stream_close(&s->stream);
	s->stream.id.generation = 0;
}

void pd_socket_release(struct pd_socket *s)
{
	if (s->kind == PD_FREE)
		return;
	if (s->listening) {
		struct endpoint e;
		if (endpoint_from((struct sockaddr *)&s->bound, sizeof(s->bound), &e))
			stack_unlisten(s->pd->stack, e.port);
		for (unsigned i = 0; i < s->queue_n; i++) {
			stream_abort(&s->queue[i]->stream);
			s->queue[i]->kind = PD_FREE;
		}
	}
	stream_end(s);
	s->kind = PD_FREE;
}

static int do_close(struct pd *pd, struct pd_socket *s)
{
	int fd = s->fd;

	pd_socket_release(s);
	close(fd);
	if (pd->stack)
		pd_settle(pd);
	return 0;
}

static int do_shutdown(struct pd *pd, struct pd_socket *s, int how)
{
	const struct tcp_conn *c = pd_socket_conn(s);

	if (!c && !s->ended) {
		errno = ENOTCONN;
		return -1;
	}
	if (how == SHUT_RD || how == SHUT_RDWR) {
		s->shut_rd = true;
		if (c)
			stream_resume(&s->stream);
	}
	if ((how == SHUT_WR || how == SHUT_RDWR) && !s->shut_wr) {
		s->shut_wr = true;
		if (c)
			stream_shutdown(&s->stream);
	}
	s->events++;
	pd_settle(pd);
	return 0;
}

/* ---- the table ---- */

/* Take the lock, find the socket, call; the error number survives the unlocking. */
#define CALL(type, expression)                                                                     \
	struct pd *pd = state;                                                                     \
	pthread_mutex_lock(&pd->lock);                                                             \
	struct pd_socket *s = pd_socket_find(pd, fd);                                              \
	type result = s ? (expression) : -1;                                                       \
	int error = errno;                                                                         \
	pthread_mutex_unlock(&pd->lock);                                                           \
	errno = error;                                                                             \
	return result

static int call_socket(void *state, int domain, int type, int protocol)
{
	struct pd *pd = state;

	pthread_mutex_lock(&pd->lock);
	int fd = do_socket(pd, domain, type, protocol);
	pthread_mutex_unlock(&pd->lock);
	return fd;
}

static int call_bind(void *state, int fd, const struct sockaddr *a, socklen_t n)
{
	CALL(int, do_bind(pd, s, a, n));
}

static int call_listen(void *state, int fd, int backlog)
{
	(void)backlog;
	CALL(int, do_listen(pd, s));
}

static int call_accept(void *state, int fd, struct sockaddr *a, socklen_t *n)
{
	CALL(int, do_accept(pd, s, a, n));
}

static int call_connect(void *state, int fd, const struct sockaddr *a, socklen_t n)
{
	CALL(int, do_connect(pd, s, a, n));
}

static ssize_t call_recv(void *state, int fd, void *buf, size_t n, int flags)
{
	CALL(ssize_t, do_recv(pd, s, buf, n, flags));
}

static ssize_t call_read(void *state, int fd, void *buf, size_t n)
{
	return call_recv(state, fd, buf, n, 0);
}

static ssize_t call_recvfrom(
	void *state, int fd, void *buf, size_t n, int flags, struct sockaddr *a, socklen_t *a_n)
{
	(void)a, (void)a_n;
	return call_recv(state, fd, buf, n, flags);
}

static ssize_t recv_all(void *state, int fd, const struct iovec *iov, size_t iov_n, int flags)
{
	ssize_t sum = 0;

	for (size_t i = 0; i < iov_n; i++) {
		ssize_t n = call_recv(state, fd, iov[i].iov_base, iov[i].iov_len,
			flags | (sum ? MSG_DONTWAIT : 0));
		if (n < 0)
			return sum ? sum : -1;
		sum += n;
		if ((size_t)n < iov[i].iov_len)
			break;
	}
	return sum;
}

static ssize_t call_readv(void *state, int fd, const struct iovec *iov, int iov_n)
{
	return recv_all(state, fd, iov, (size_t)MAX(iov_n, 0), 0);
}

static ssize_t call_recvmsg(void *state, int fd, struct msghdr *msg, int flags)
{
	msg->msg_controllen = 0;
	msg->msg_flags = 0;
	return recv_all(state, fd, msg->msg_iov, msg->msg_iovlen, flags);
}

static ssize_t call_send(void *state, int fd, const void *buf, size_t n, int flags)
{
	CALL(ssize_t, do_send(pd, s, buf, n, flags));
}

static ssize_t call_write(void *state, int fd, const void *buf, size_t n)
{
	return call_send(state, fd, buf, n, 0);
}

static ssize_t call_sendto(void *state, int fd, const void *buf, size_t n, int flags,
	const struct sockaddr *a, socklen_t a_n)
{
	(void)a, (void)a_n;
	return call_send(state, fd, buf, n, flags);
}

static ssize_t send_all(void *state, int fd, const struct iovec *iov, size_t iov_n, int flags)
{
	size_t n = 0, at = 0;

	for (size_t i = 0; i < iov_n; i++)
		n += iov[i].iov_len;
	uint8_t *all = malloc(n + 1);
	BUG_ON(!all);
	for (size_t i = 0; i < iov_n; at += iov[i++].iov_len)
		memcpy(all + at, iov[i].iov_base, iov[i].iov_len);
	ssize_t sent = call_send(state, fd, all, n, flags);
	int error = errno;
	free(all);
	errno = error;
	return sent;
}

static ssize_t call_writev(void *state, int fd, const struct iovec *iov, int iov_n)
{
	return send_all(state, fd, iov, (size_t)MAX(iov_n, 0), 0);
}

static ssize_t call_sendmsg(void *state, int fd, const struct msghdr *msg, int flags)
{
	return send_all(state, fd, msg->msg_iov, msg->msg_iovlen, flags);
}

static int call_close(void *state, int fd)
{
	CALL(int, do_close(pd, s));
}

static int call_shutdown(void *state, int fd, int how)
{
	CALL(int, do_shutdown(pd, s, how));
}

void pd_socket_calls(struct runner_calls *c)
{
	c->socket = call_socket;
	c->bind = call_bind;
	c->listen = call_listen;
	c->accept = call_accept;
	c->connect = call_connect;
	c->read = call_read;
	c->readv = call_readv;
	c->recv = call_recv;
	c->recvfrom = call_recvfrom;
	c->recvmsg = call_recvmsg;
	c->write = call_write;
	c->writev = call_writev;
	c->send = call_send;
	c->sendto = call_sendto;
	c->sendmsg = call_sendmsg;
	c->close = call_close;
	c->shutdown = call_shutdown;
}
