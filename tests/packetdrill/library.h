/* SPDX-License-Identifier: BSD-3-Clause
 * One stack behind sockets and a virtual clock, for scripts that are run against it.
 *
 *   interface.h  what the runner calls       profile.c  words that choose how the stack behaves
 *   link.c       clock, frames, neighbours   socket.c   sockets over streams
 *   option.c     socket options, TCP_INFO    poll.c     poll and epoll
 *   library.c    the table of calls
 *
 * OWNER: who holds the lock.  A call may come from any thread; the stack runs only inside calls.
 * Time passes only in usleep, by 1 us in each gettimeofday, and while somebody waits for a packet,
 * so a script gives the same result each time. */
#pragma once
#include <netinet/in.h>
#include <pthread.h>
#include "dataplane/stack_priv.h"
#include "tests/packetdrill/interface.h"

#define PD_SOCKETS_MAX  64
#define PD_BACKLOG_MAX  16
#define PD_OPTIONS_MAX  16
#define PD_WATCHES_MAX  16
#define PD_FRAMES_MAX   4096  /* that the script has not looked at */
#define PD_FRAME_OCTETS 65600 /* chosen: the largest IP packet and a link header */
#define PD_SNDBUF       (4u << 20)
#define PD_WAIT_US      (200 * US_PER_SEC) /* chosen: for a packet; beyond the largest RTO */
#define PD_MAIN_WAIT_US (10 * US_PER_SEC)  /* chosen: for a call that blocks the runner itself */
#define PD_SETTLE_US    (5 * US_PER_SEC)   /* chosen: address detection before the script starts */
#define PD_HANDOFF_MS   50 /* real time for a thread that was woken to look at the clock */
#define PD_TCP_MSS_V4   40 /* octets of IPv4 and TCP header */
#define PD_MTU_V4       1500
#define PD_MTU_V6       1520 /* the same segment size in scripts for both families */

struct pd_profile {
	uint32_t rcv_buffer, mtu; /* 0: by family */
	struct ip_addr local;
	bool has_local;
	bool merge;        /* segments of one lap leave as one, as a port with TSO shows them */
	bool close_resets; /* close with unread data resets */
	bool nagle;        /* unless TCP_NODELAY says no */
	struct stack_tcp_conf tcp;
};

enum pd_kind { PD_FREE, PD_STREAM, PD_EPOLL };

struct pd;

struct pd_option {
	int level, name, value;
};

struct pd_watch {
	int fd; /* 0: unused */
	struct epoll_event event;
	uint64_t seen; /* events of the socket that were told (edge triggered) */
};

struct pd_socket {
	struct stream stream;
	struct listener listener;
	struct pd *pd;
	int fd; /* a real descriptor that names us, 0: none yet */
	enum pd_kind kind;
	int domain, status_flags;
	struct sockaddr_storage bound;
	bool is_bound, listening, connecting, open, eof, ended, shut_rd, shut_wr;
	int error;                /* what SO_ERROR tells, once */
	struct pd_socket *parent; /* of one that waits to be accepted */
	struct pd_socket *queue[PD_BACKLOG_MAX];
	unsigned queue_n;
	uint64_t events; /* counts what an edge is */
	/* a read in progress */
	uint8_t *want;
	size_t want_n, got;
	bool peek;
	struct stream_options stream_options;
	struct pd_option options[PD_OPTIONS_MAX];
	unsigned options_n;
	struct pd_watch watches[PD_WATCHES_MAX]; /* of an epoll */
};

struct pd_frame {
	struct pd_frame *next;
	uint64_t at_us;
	unsigned lap;
	size_t n;
	uint8_t octets[];
};

struct pd {
	pthread_mutex_t lock;
	pthread_cond_t wake, settled;
	pthread_t runner;
	unsigned waiting; /* threads that wait in a call */
	unsigned pending; /* of them, woken and not yet back, or not yet asking for the time */
	struct pd_profile profile;
	struct stack *stack; /* NULL until an address is known */
	struct timer_wheel wheel;
	struct rte_mempool *rx, *tx, *control;
	uint64_t now_us, random;
	unsigned lap;
	uint32_t mtu;
	struct pd_frame *out, **out_tail;   /* for the script */
	struct pd_frame *echo, **echo_tail; /* answers of the neighbours, not yet given */
	unsigned out_n;
	struct pd_socket sockets[PD_SOCKETS_MAX];
};

/* profile.c */
/* words NULL: none.  Returns how many words were not understood; each got a warning. */
unsigned pd_profile_parse(const char *words, struct pd_profile *p_r);

/* link.c */
/* The stack with its address, once; the first caller decides. */
void pd_stack_start(struct pd *pd, const struct ip_addr *local);
/* Laps at the present time until nothing is left to do. */
void pd_settle(struct pd *pd);
/* Let time pass. */
void pd_advance(struct pd *pd, uint64_t until_us);
/* One step towards until_us. */
void pd_step(struct pd *pd, uint64_t until_us);
void pd_input(struct pd *pd, const void *packet, size_t n);
struct pd_frame *pd_frame_take(struct pd *pd);
void pd_frames_free(struct pd *pd);
/* Wait until ready(arg) is true.  Another thread than the runner's sleeps, the runner lets time
 * pass. Returns false when it was in vain. */
bool pd_wait(struct pd *pd, bool (*ready)(void *arg), void *arg);
/* Let threads whose wait is over go first. */
void pd_handoff(struct pd *pd);

/* socket.c */
struct pd_socket *pd_socket_find(struct pd *pd, int fd); /* NULL: EBADF is set */
struct pd_socket *pd_socket_new(struct pd *pd, enum pd_kind kind);
/* The connection under a socket; NULL: none (any more). */
const struct tcp_conn *pd_socket_conn(const struct pd_socket *s);
bool pd_socket_readable(void *socket);
bool pd_socket_writable(struct pd_socket *s);
void pd_socket_release(struct pd_socket *s);
/* What of the socket's options is the stream's. */
void pd_options_apply(struct pd_socket *s);
int pd_option_get(const struct pd_socket *s, int level, int name, int otherwise);
void pd_socket_calls(struct runner_calls *c);
/* option.c */
void pd_option_calls(struct runner_calls *c);
/* poll.c */
short pd_poll_events(struct pd_socket *s);
void pd_poll_calls(struct runner_calls *c);
