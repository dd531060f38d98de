/* SPDX-License-Identifier: BSD-3-Clause
 * Looking into a stack from its own core: connections and neighbours in bounded slices, each row a
 * copy.  Who wants to know from another thread asks the core over a channel
 * (store/control/agent.h).
 *
 * Nothing here changes the stack or allocates.  OWNER: the core's thread. */
#pragma once
#include "dataplane/dataplane.h"

#define STACK_OWNER_MAX 96 /* octets of what a session says of itself, with the NUL */

/* States that a row can be in: RFC 9293 3.3.2 without LISTEN. */
enum stack_state {
	STACK_STATE_CLOSED,
	STACK_STATE_SYN_SENT,
	STACK_STATE_SYN_RCVD,
	STACK_STATE_ESTABLISHED,
	STACK_STATE_FIN_WAIT_1,
	STACK_STATE_FIN_WAIT_2,
	STACK_STATE_CLOSE_WAIT,
	STACK_STATE_CLOSING,
	STACK_STATE_LAST_ACK,
	STACK_STATE_TIME_WAIT,
	STACK_STATE_N
};
/* "syn-received", "established" ... */
const char *stack_state_text(enum stack_state state);
/* STACK_STATE_N: no such name. */
enum stack_state stack_state_find(const char *text);

/* Which rows; all 0: every one. */
struct stack_filter {
	uint32_t states; /* bit per enum stack_state; 0: any */
	bool has_peer;
	struct ip_net peer; /* of the remote address */
	uint16_t port;      /* local or remote; 0: any */
};

/* Why a connection does not send, the first that holds. */
enum stack_limit {
	STACK_LIMIT_NONE,       /* nothing to send */
	STACK_LIMIT_HANDSHAKE,  /* not established yet */
	STACK_LIMIT_PEER,       /* the peer's window is full */
	STACK_LIMIT_CONGESTION, /* cwnd is */
	STACK_LIMIT_LOSS,       /* cwnd is, and losses are being repaired */
	STACK_LIMIT_MEMORY,     /* no frame was free */
	STACK_LIMIT_ACK,        /* all is sent and waits to be acknowledged */
	STACK_LIMIT_N
};
const char *stack_limit_text(enum stack_limit limit);

/* A connection.  Names of RFC 4898 (tcpEStats) where there is one; sizes in octets.  Half-open ones
 * and TIME_WAIT have addresses, state and age only. */
struct stack_conn_info {
	struct conn_id id;
	struct endpoint local, peer;
	uint8_t state; /* enum stack_state */
	uint8_t limit; /* enum stack_limit */
	bool active;   /* StackActiveOpen: opened by us */
	bool orphan;   /* closed by its application */
	bool sack, timestamps, ecn, recovery, persist;
	bool rx_stopped; /* the application does not take what has come: the window closes */
	uint8_t backoff, retries; /* doublings of the RTO; timeouts without a sign of life */
	uint8_t snd_wscale, rcv_wscale;
	uint16_t mss;            /* StackCurMSS */
	uint16_t ooo_buffers;    /* PerfReasmQueue, in buffers */
	uint32_t cwnd, ssthresh; /* PerfCurCwnd, PerfCurSsthresh; UINT32_MAX: none yet */
	uint32_t srtt_us, rttvar_us, rto_us; /* PathSmoothedRTT, PathRTTVar, PerfCurRTO */
	uint32_t min_rtt_us;                 /* PathMinRTT */
	uint32_t retransmits;                /* PerfSegsRetrans */
	uint32_t flight;                     /* PipeSize, uncorrected: sent, not acknowledged */
	uint32_t unsent;                     /* AppCurAppWQueue */
	uint32_t unread;                     /* AppCurAppRQueue */
	uint32_t charged;                    /* memory that unread and out-of-order data pins */
	uint32_t snd_wnd, rcv_wnd;           /* PerfCurRwinRcvd, PerfCurRwinSent */
	uint64_t bytes_in, bytes_out;        /* PerfHCThruOctetsReceived, PerfHCThruOctetsAcked */
	uint64_t age_us;                     /* since the connection was made */
	uint64_t quiet_us;                   /* since it last sent */
	const char *congestion;              /* "cubic" ... */
	char owner[STACK_OWNER_MAX];         /* what the session says of itself */
};

/* Rows from place *from_r on that pass the filter, at most max, after looking at no more than look
 * places.  *from_r is where to go on; STACK_LIST_END: that was all. */
#define STACK_LIST_END UINT32_MAX
unsigned stack_list(const struct stack *st, const struct stack_filter *filter, uint32_t *from_r,
	unsigned look, struct stack_conn_info *out, unsigned max);
/* The connection of that name.  False: it is gone. */
bool stack_find(const struct stack *st, struct conn_id id, struct stack_conn_info *out);

struct stack_neigh_info {
	struct ip_addr ip;
	uint8_t mac[6];
	uint8_t port;
	const char *state; /* "reachable" ... */
	uint8_t queued;    /* frames that wait for its answer */
};
/* As stack_list. */
unsigned stack_neighs(
	const struct stack *st, uint32_t *from_r, struct stack_neigh_info *out, unsigned max);

/* Networks and routers of a port. */
struct stack_route_info {
	struct ip_net net;      /* prefix 0 of the family: everything else */
	struct ip_addr gateway; /* with has_gateway */
	bool has_gateway;
	uint8_t port;
	uint16_t mtu;
	const char *state; /* of an address, a network or a router: "used", "advertised" ... */
};
/* Rows of a port at most. */
#define STACK_ROUTES_MAX 24
unsigned stack_routes(const struct stack *st, struct stack_route_info *out, unsigned max);
