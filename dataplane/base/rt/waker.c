/* SPDX-License-Identifier: BSD-3-Clause */
#include "dataplane/base/rt/waker.h"
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int waker_init(struct waker *w)
{
	atomic_init(&w->asleep, false);
	w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return w->fd < 0 ? -errno : 0;
}

void waker_fini(struct waker *w)
{
	close(w->fd);
	w->fd = -1;
}

void waker_kick(struct waker *w)
{
	uint64_t one = 1;

	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&w->asleep, memory_order_relaxed)) {
		/* EAGAIN means that the counter is full: the sleeper wakes anyway. */
		ssize_t r = write(w->fd, &one, sizeof(one));
		(void)r;
	}
}

void waker_begin(struct waker *w)
{
	atomic_store_explicit(&w->asleep, true, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

void waker_wait(struct waker *w, uint64_t timeout_us)
{
	struct pollfd p = {.fd = w->fd, .events = POLLIN};
	struct timespec ts = {.tv_sec = (time_t)(timeout_us / 1000000),
		.tv_nsec = (long)(timeout_us % 1000000) * 1000};

	ppoll(&p, 1, &ts, NULL);
}

void waker_end(struct waker *w)
{
	uint64_t n;

	atomic_store_explicit(&w->asleep, false, memory_order_relaxed);
	ssize_t r = read(w->fd, &n, sizeof(n));
	(void)r;
}
