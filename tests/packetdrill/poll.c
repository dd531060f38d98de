/* SPDX-License-Identifier: BSD-3-Clause
 * poll and epoll over the sockets of this library. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "tests/packetdrill/library.h"

short pd_poll_events(struct pd_socket *s)
{
	int events = 0;

	if (s->kind != PD_STREAM)
		return 0;
	if (pd_socket_readable(s))
		events |= POLLIN | POLLRDNORM;
	if (s->listening)
		return (short)events;
	if (s->connecting)
		return 0;
	if (pd_socket_writable(s))
		events |= POLLOUT | POLLWRNORM;
	if (s->eof || s->ended || s->shut_rd)
		events |= POLLRDHUP;
	if (s->error)
		events |= POLLERR;
	if (s->ended || (!s->open && !s->connecting) || ((s->eof || s->shut_rd) && s->shut_wr))
		events |= POLLHUP;
	return (short)events;
}

struct poll_set {
	struct pd *pd;
	struct pollfd *fds;
	nfds_t n;
};

static int poll_look(struct poll_set *set)
{
	int ready = 0;

	for (nfds_t i = 0; i < set->n; i++) {
		struct pollfd *p = &set->fds[i];
		struct pd_socket *s = pd_socket_find(set->pd, p->fd);
		p->revents =
			s ? (short)(pd_poll_events(s) & (p->events | POLLERR | POLLHUP)) : POLLNVAL;
		ready += p->revents != 0;
	}
	return ready;
}

/* Waiting for several: time passes in small steps when the runner itself waits; another thread
 * looks again each time it is woken. */
static bool woken(void *arg)
{
	unsigned *looks = arg;

	return (*looks)++ > 0;
}

static bool wait_a_little(struct pd *pd, uint64_t until_us)
{
	unsigned looks = 0;

	if (pd->now_us >= until_us || !pd->stack)
		return false;
	if (pthread_equal(pthread_self(), pd->runner))
		pd_step(pd, until_us);
	else
		(void)pd_wait(pd, woken, &looks);
	return true;
}

static uint64_t deadline(const struct pd *pd, int timeout_ms)
{
	return timeout_ms < 0 ? pd->now_us + PD_WAIT_US
			      : pd->now_us + (uint64_t)timeout_ms * US_PER_MS;
}

static int call_poll(void *state, struct pollfd *fds, nfds_t n, int timeout_ms)
{
	struct pd *pd = state;
	struct poll_set set = {pd, fds, n};
	int ready;

	pthread_mutex_lock(&pd->lock);
	uint64_t until = deadline(pd, timeout_ms);
	while (!(ready = poll_look(&set)) && wait_a_little(pd, until))
		;
	pthread_mutex_unlock(&pd->lock);
	return ready;
}

static int call_epoll_create(void *state, int size)
{
	struct pd *pd = state;
	int fd = -1;

	if (size <= 0) {
		errno = EINVAL;
		return -1;
	}
	pthread_mutex_lock(&pd->lock);
	struct pd_socket *s = pd_socket_new(pd, PD_EPOLL);
	if (s)
		fd = s->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	pthread_mutex_unlock(&pd->lock);
	return fd;
}

static struct pd_watch *watch_find(struct pd_socket *ep, int fd)
{
	for (unsigned i = 0; i < PD_WATCHES_MAX; i++) {
		if (ep->watches[i].fd == fd)
			return &ep->watches[i];
	}
	return NULL;
}

static int epoll_change(
	struct pd *pd, struct pd_socket *ep, int op, int fd, const struct epoll_event *event)
{
	struct pd_watch *w = watch_find(ep, fd);

	if (!pd_socket_find(pd, fd))
		return -1;
	if (ep->kind != PD_EPOLL || fd == ep->fd)
		errno = EINVAL;
	else if (op == EPOLL_CTL_ADD && w)
		errno = EEXIST;
	else if (op != EPOLL_CTL_ADD && !w)
		errno = ENOENT;
	else if (op == EPOLL_CTL_ADD && !(w = watch_find(ep, 0)))
		errno = ENOSPC;
	else {
		*w = (struct pd_watch){0};
		if (op != EPOLL_CTL_DEL)
			*w = (struct pd_watch){.fd = fd, .event = *event, .seen = UINT64_MAX};
		return 0;
	}
	return -1;
}

static int call_epoll_ctl(void *state, int epfd, int op, int fd, struct epoll_event *event)
{
	struct pd *pd = state;

	pthread_mutex_lock(&pd->lock);
	struct pd_socket *ep = pd_socket_find(pd, epfd);
	int result = ep ? epoll_change(pd, ep, op, fd, event) : -1;
	pthread_mutex_unlock(&pd->lock);
	return result;
}

/* What an edge is: the socket's own count, and octets that arrived. */
static uint64_t edges(const struct pd_socket *s)
{
	const struct tcp_conn *c = pd_socket_conn(s);

	return s->events + (c ? (uint64_t)(c->rcv_nxt - c->irs) << 20 : 0);
}

static int epoll_look(struct pd *pd, struct pd_socket *ep, struct epoll_event *events, int n)
{
	int found = 0;

	for (unsigned i = 0; i < PD_WATCHES_MAX && found < n; i++) {
		struct pd_watch *w = &ep->watches[i];
		struct pd_socket *s = w->fd ? pd_socket_find(pd, w->fd) : NULL;
		if (!s)
			continue;
		uint32_t ready = (uint32_t)pd_poll_events(s) &
				 (w->event.events | EPOLLERR | EPOLLHUP) & UINT16_MAX;
		if (!ready || ((w->event.events & EPOLLET) && w->seen == edges(s)))
			continue;
		w->seen = edges(s);
		events[found] = w->event;
		events[found++].events = ready;
		if (w->event.events & EPOLLONESHOT)
			w->event.events = EPOLLONESHOT;
	}
	return found;
}

static int call_epoll_wait(void *state, int epfd, struct epoll_event *events, int n, int timeout_ms)
{
	struct pd *pd = state;
	int ready = -1;

	pthread_mutex_lock(&pd->lock);
	struct pd_socket *ep = pd_socket_find(pd, epfd);
	uint64_t until = deadline(pd, timeout_ms);
	while (ep && !(ready = epoll_look(pd, ep, events, n)) && wait_a_little(pd, until))
		;
	pthread_mutex_unlock(&pd->lock);
	return ready;
}

void pd_poll_calls(struct runner_calls *c)
{
	c->poll = call_poll;
	c->epoll_create = call_epoll_create;
	c->epoll_ctl = call_epoll_ctl;
	c->epoll_wait = call_epoll_wait;
}
