/* SPDX-License-Identifier: BSD-3-Clause
 * What the protocols above see of the dataplane: streams of bytes on a polling core.
 *
 * An application embeds a `struct stream` in its session and is called back through stream_ops, on
 * the core that owns the connection, never re-entrantly from one of the calls below.  Data that is
 * not taken closes the receive window: that is the back-pressure of the whole system.  TLS is a
 * filter that presents the same struct stream upward and uses one below.
 *
 * OWNER of everything here: one core's thread.  Other threads name a connection by struct conn_id
 * and never hold a pointer.  Nothing here blocks or allocates from the heap. */
#pragma once
#include "dataplane/base/netaddr.h"
#include "dataplane/timer.h"

struct stack;
struct stream;

struct conn_id {
	uint32_t index;
	uint32_t generation; /* 0 names no connection */
};

/* Why a stream ended, as on_close tells. */
enum stream_reason {
	STREAM_CLOSED,      /* both directions ended in order */
	STREAM_RESET,       /* the peer sent RST */
	STREAM_REFUSED,     /* RST in answer to our SYN */
	STREAM_TIMEOUT,     /* no answer: connecting, retransmitting, probing */
	STREAM_UNREACHABLE, /* no route, no neighbour, ICMP says so */
	STREAM_NO_MEMORY,   /* pools or tables exhausted */
	STREAM_TLS_FAILED,  /* the filter gave up */
	STREAM_REASON_N
};
/* Short text in lower case, for logs and `queue list`: "connection refused". */
const char *stream_reason_text(enum stream_reason reason);

struct stream_ops {
	/* An active open is established.  Not called for accepted streams. */
	void (*on_open)(struct stream *s);
	/* In-order octets; the view is valid during the call.  Returns how many were taken, 0..n.
	 * What is left stays in the window; on_data comes again only after stream_resume(). */
	size_t (*on_data)(struct stream *s, struct bytes data);
	/* The peer will send no more, and all it sent was taken.  Sending is still possible. */
	void (*on_eof)(struct stream *s);
	/* There is send space again after a short stream_send().  For an accepted stream it also
	 * comes once after accept: a server that speaks first does so there. */
	void (*on_writable)(struct stream *s);
	/* Ended without stream_close/stream_abort by the application.  The last call: the stream
	 * may be freed inside. */
	void (*on_close)(struct stream *s, enum stream_reason reason);
	/* The stream is protected by TLS from now on (dataplane/tls/tls.h). */
	void (*on_secure)(struct stream *s);
	/* For people: who this is and what it does, "smtp in: DATA, 3 messages", printable, with a
	 * NUL, at most cap octets.  Changes nothing.  NULL: nothing to say. */
	void (*describe)(const struct stream *s, char *out, size_t cap);
};

/* How TCP treats a stream.  All 0 is the default. */
struct stream_options {
	/* Short segments wait while others are under way (Nagle's rule, RFC 9293 3.7.4).  Not for
	 * who writes whole requests or replies. */
	bool nagle;
	uint8_t keepalive_probes; /* unanswered, then the stream ends; 0: 9 */
	/* When nothing came for so long, ask whether the peer is still there (RFC 9293 3.8.4);
	 * 0: never. */
	uint64_t keepalive_us;
	uint64_t keepalive_interval_us; /* between probes that are not answered; 0: 75 s */
	/* End the stream when octets stay unacknowledged for so long (RFC 9293 3.8.3 R2, RFC 5482),
	 * or untaken by a closed window; 0: by the number of retransmissions, for minutes. */
	uint64_t user_timeout_us;
};

/* What a layer offers to the one above: TCP, or TLS over TCP. */
struct stream_transport {
	size_t (*send)(struct stream *s, struct bytes data);
	size_t (*space)(const struct stream *s);
	size_t (*unacked)(const struct stream *s);
	void (*notify)(struct stream *s);
	void (*resume)(struct stream *s);
	void (*shutdown)(struct stream *s);
	void (*close)(struct stream *s);
	void (*abort)(struct stream *s);
};

struct stream {
	const struct stream_ops *ops; /* set by the application */
	const struct stream_options
		*options; /* the same, before connect or in accept; NULL: the stack's */
	const struct stream_transport *transport; /* set by connect/accept; NULL: not connected */
	struct stack *stack;
	struct conn_id id;
	void *filter; /* the transport's own, if it is not TCP */
	struct endpoint local, peer;
};

/* Copy data into the send buffer; returns how many octets were taken (fewer when the buffer or the
 * pool is full: on_writable will come).  Goes out at the end of the lap, full segments first. */
static inline size_t stream_send(struct stream *s, struct bytes data)
{
	return s->transport->send(s, data);
}
/* Octets that stream_send would take now. */
static inline size_t stream_space(const struct stream *s)
{
	return s->transport->space(s);
}
/* Octets sent or queued that the peer has not acknowledged. */
static inline size_t stream_unacked(const struct stream *s)
{
	return s->transport->unacked(s);
}
/* on_writable when more space has come; a short stream_send asks for it as well. */
static inline void stream_notify(struct stream *s)
{
	s->transport->notify(s);
}
/* The application can take data again: on_data comes in this or the next lap. */
static inline void stream_resume(struct stream *s)
{
	s->transport->resume(s);
}
/* FIN after what is queued.  Receiving goes on. */
static inline void stream_shutdown(struct stream *s)
{
	s->transport->shutdown(s);
}
/* Orderly close: queued data and FIN are still delivered by the stack, what the peer sends is
 * discarded.  No further upcall: the session may be freed at once. */
static inline void stream_close(struct stream *s)
{
	s->transport->close(s);
}
/* RST, now.  No further upcall. */
static inline void stream_abort(struct stream *s)
{
	s->transport->abort(s);
}

/* on: more follows at once, so a short segment may wait for it; off: it goes now.  A hint: a cork
 * that is forgotten holds nothing back for longer than a retransmission timeout.  Also under TLS.
 */
void stream_cork(struct stream *s, bool on);
/* What has come is a whole request, which will be answered: its ACK may wait for that, for as long
 * as ACKs are delayed.  Also under TLS. */
void stream_answer_follows(struct stream *s);
/* s->options, or what is there, has changed. */
void stream_options_changed(struct stream *s);

/* Somebody who accepts connections. */
struct listener {
	/* A handshake is complete.  Returns the session's stream with ops set (the stack fills in
	 * the rest; on_data follows), or NULL to refuse (RST). */
	struct stream *(*accept)(
		struct listener *l, const struct endpoint *peer, const struct endpoint *local);
	void *ctx;
};

/* Accept connections to port on all addresses of the stack.  The listener outlives the stack.
 * Returns 0, -EADDRINUSE or -ENOSPC. */
int stack_listen(struct stack *st, uint16_t port, struct listener *l) WARN_UNUSED;
/* No more new connections on port; those there are stay.  For draining. */
void stack_unlisten(struct stack *st, uint16_t port);

/* Are the pools of frames so full (85 %) that new work should be refused?  A server greets with its
 * "try later" then.  NULL, the stack of a stream that is not over TCP: no. */
bool stack_is_short(struct stack *st);

/* Open a connection; s->ops is set by the caller, and s->local.ip where one of several addresses of
 * ours is wanted (all 0: the stack chooses).  on_open or on_close follows, never from inside this
 * call.  Gives up after timeout_us.  Returns 0, -EADDRNOTAVAIL (no local port, or not our address
 * on that port), -ENETUNREACH, -ENOMEM (table full). */
int stream_connect(struct stack *st, struct stream *s, const struct endpoint *remote,
	uint64_t timeout_us) WARN_UNUSED;

/* Gauges for `status` and `tcp list`. */
struct stack_info {
	uint32_t connections; /* in any state but LISTEN and CLOSED */
	uint32_t established;
	uint32_t half_open; /* passive opens whose handshake is not complete */
	uint32_t time_wait;
	uint32_t connections_max;
	uint32_t neighbours;
	uint32_t states[16]; /* connections, by enum stack_state (inspect.h) */
};
void stack_get_info(const struct stack *st, struct stack_info *info_r);
