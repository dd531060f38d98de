/* SPDX-License-Identifier: BSD-3-Clause
 * The kernel's sockets as streams, between the files of that engine: kernel_sock.c (one socket),
 * engine_kernel.c (all of them).  One thread, epoll.  As in the stack, no upcall comes from inside
 * a call, and a stream may be closed or freed in any upcall. */
#pragma once
#include <pthread.h>
#include "bench/engine.h"

#define KERNEL_READ_MAX  (256u * 1024) /* octets of one read */
#define KERNEL_LISTENERS 8

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

struct kernel_net {
	struct engine engine;
	struct timer_wheel wheel;
	uint64_t now_us;
	int epoll, wake;
	struct sock *socks;
	struct list unused, dead, due;
	struct {
		int fd;
		struct listener *listener;
	} listeners[KERNEL_LISTENERS];
	unsigned listener_count;
	pthread_t thread;
	atomic_bool stop;
	uint8_t buffer[KERNEL_READ_MAX];
};
extern struct kernel_net kernel_net;

/* A stream of fd, which is the engine's from now on; NULL: no place, and fd is still the caller's.
 */
struct sock *sock_new(struct stream *s, int fd, uint32_t flags);
/* The stream is gone without an upcall. */
void sock_free(struct sock *k);
/* ... and with one. */
void sock_end(struct sock *k, enum stream_reason reason);
/* What epoll says of it. */
void sock_event(struct sock *k, uint32_t events);
/* What was left, again, and what was asked for. */
void sock_catch_up(struct sock *k);
/* It has something to do in this lap. */
void sock_due(struct sock *k);
