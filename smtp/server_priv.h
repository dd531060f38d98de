/* SPDX-License-Identifier: BSD-3-Clause
 * Between the files of the server: server.c (life, waiting lists), server_conn.c (streams and
 * timers), server_message.c (transactions), server_body.c (body memory), server_relief.c (when it
 * or sessions are scarce), server_handoff.c (ops to the writer).
 *
 * OWNER: one core's thread. */
#pragma once
#include "dataplane/base/siphash.h"
#include "smtp/guess.h"
#include "smtp/peers.h"
#include "smtp/server.h"
#include "smtp/session.h"
#include "smtp/trace.h"

#define PEER_BUCKETS      1024 /* peers that share a bucket share an eighth of the memory */
#define PEER_SHARE        8    /* design: one peer gets at most an eighth */
#define BODY_LEAST        4    /* chunks of a session, whatever its peer has: so that it moves */
#define PRESSURE_DATA     70   /* used per cent of the chunk pool: new DATA waits */
#define PRESSURE_MAIL     90   /* ... 452 at MAIL */
#define PARTS_MAX         2    /* parts of one message at the writer */
#define MEMORY_RETRY_US   5000 /* who waits for memory looks again; chosen */
#define MEMORY_RETRY_MAX  256  /* sessions in one such round */
#define LINGER_US         (10 * US_PER_SEC) /* for the last replies to leave */
#define HANDSHAKE_US      (30 * US_PER_SEC) /* chosen: for all of a TLS handshake */
#define AUTH_PEER_MAX     3                 /* logins under way of one peer; chosen */
#define PEERS_MAX         8192              /* places of peers; chosen: half a megabyte */
#define PEERS_SHARED      1024              /* and for whom there is none; chosen */
#define PEERS_SHARING     16                /* sessions for each of those; chosen: 4 octets each */
#define PROXY_US          (10 * US_PER_SEC) /* chosen: for the header of a load balancer */
#define DATA_PROGRESS_MIN 4096 /* octets of content that restart the data timeout; chosen */
#define SENDER_LOG_MAX    400  /* octets of an escaped sender in the log */

/* Why a session takes nothing. */
enum conn_wait { WAIT_NONE, WAIT_MEMORY, WAIT_CREDIT, WAIT_PARTS };

enum conn_life { CONN_FREE, CONN_FRESH, CONN_OPEN, CONN_DEAD };

struct smtp_conn {
	struct stream stream;
	struct smtp_server *server;
	struct list node;      /* free, fresh or dead list */
	struct list wait_node; /* memory or credit list */
	struct timer timer;
	uint64_t deadline_us;
	uint64_t progress; /* of the session, when the deadline was set */
	uint32_t generation;
	uint32_t charged;  /* chunks on the peer's account: envelope, body and spare */
	uint32_t waits_ms; /* milliseconds of the core's clock: memory is waited for, and nothing
			    * moved since; 0: it is not */
	uint16_t envelope; /* of charged: beyond the first chunks of addresses and of records */
	uint16_t bucket;
	uint8_t life : 4; /* enum conn_life */
	uint8_t wait : 4; /* enum conn_wait */
	bool stalled : 1; /* input was left in the window */
	bool eof : 1;
	bool handshaking : 1; /* TLS is under way: nothing can be said */
	bool proxied : 1;     /* the header of a load balancer is awaited: the same */
	bool asking : 1;      /* a password is being checked, or its answer is late */
	bool reserved : 1;    /* a drop is reserved for the streamed parts of the message */
	uint8_t late;         /* enum reply_id: the verdict that the deadline brings; 0: none */
	uint8_t timed_state;  /* enum smtp_state the deadline is for */
	uint8_t parts;        /* at the writer */
	uint8_t spare_n;
	uint8_t end_slot;
	uint8_t part_status;     /* the first that failed; enum handoff_status */
	struct peer *place;      /* where the connection is counted; NULL: nowhere */
	struct message *message; /* of the transaction under way */
	/* Never alive at once: while a header or a verdict on a login is awaited no mail comes. */
	union {
		struct {                               /* with message; begun by MAIL */
			struct chain spare;            /* empty chunks for content */
			struct conversion *conversion; /* of binary content for a mailbox; NULL */
		};
		struct { /* from AUTH to its verdict */
			struct guess guess;
			uint64_t answer_us; /* not answered before */
		};
		struct {                  /* with proxied */
			uint8_t *proxy;   /* line memory; NULL: none yet */
			uint16_t proxy_n; /* octets of the header in it */
		};
	};
	struct smtp_session session;
};
/* With TCP's 464 octets, and its share of the server's tables, an idle connection takes less than
 * 1.5 kB. */
static_assert(sizeof(struct smtp_conn) <= 1016, "an idle session is small");

/* One op at the writer.  The server's, so that the session may go meanwhile. */
struct handoff_job {
	union {
		struct op op;
		struct part_op part;
		struct drop_op drop;
		struct accept_op accept;
	};
	struct smtp_server *server;
	struct smtp_conn *conn;
	uint32_t generation; /* of conn; another one: the session is gone */
	uint32_t charged;    /* chunks to give back to the peer's account */
	uint64_t submitted_us;
	uint16_t bucket;
	uint8_t slot; /* accept; SMTP_NO_SLOT: already answered */
	bool reserved;
	struct handoff_job *next;
};

/* A listener and what it is for. */
struct smtp_door {
	struct listener listener;
	struct smtp_server *server;
	bool listening;
};

/* One of the store's writers, and who waits for a credit of its channel, in order. */
struct smtp_lane {
	struct smtp_server *server;
	struct channel *writer;
	struct list waiting;
};

struct smtp_server {
	struct core *core;
	struct handoff_lanes writers;
	struct smtp_lane lanes[HANDOFF_LANES_MAX];
	const struct smtp_policy *policy;
	struct smtp_server_conf conf;
	struct smtp_door doors[SMTP_SERVICES_MAX];
	bool draining;
	uint32_t open; /* connections */
	uint32_t peer_chunks_max;
	unsigned used_percent; /* of the chunk pool, at used_at_us */
	uint64_t used_at_us;
	struct siphash_key key;
	struct trace_clock clock;
	struct list free, fresh, dead;
	struct list memory; /* who waits, in order */
	struct timer memory_timer, relief_timer;
	uint32_t held;      /* chunks charged to sessions */
	uint32_t relief_at; /* the session that is looked at next */
	struct smtp_conn *conns;
	struct handoff_job *jobs, *jobs_free;
	/* Blobs whose parts are to be forgotten.  Room is reserved before the first part is sent.
	 */
	uint64_t *drops;
	uint32_t drops_n, drops_reserved, drops_max;
	struct peers peers;
	struct peer *peer_table;
	uint32_t peer_chunks[PEER_BUCKETS];
};

/* server.c */
/* Where the parts and the accept of this message go. */
struct smtp_lane *server_lane(struct smtp_server *s, uint64_t id);
void server_wait(struct smtp_conn *c, enum conn_wait why);
void server_wait_end(struct smtp_conn *c);
/* Used share of the chunk pool, sampled every millisecond. */
unsigned server_used_percent(struct smtp_server *s);

/* server_conn.c */
struct stream *conn_accept(
	struct listener *l, const struct endpoint *peer, const struct endpoint *local);
void conn_start(struct smtp_conn *c);
/* After anything has changed: send what is due, take input again, close at the end. */
void conn_kick(struct smtp_conn *c);
/* Memory or a credit has come. */
void conn_retry(struct smtp_conn *c);
void conn_free(struct smtp_conn *c);
void conn_timer(struct timer *t, uint64_t now_us);
/* Is it we who keep the peer waiting? */
bool conn_we_owe(const struct smtp_conn *c);
/* How long the peer may be silent in the state it is in. */
static inline uint64_t conn_timeout_us(const struct smtp_conn *c)
{
	const struct smtp_policy *p = c->session.policy;

	return smtp_session_in_content(&c->session) ? p->data_timeout_us : p->command_timeout_us;
}
/* 421: it was. */
void conn_time_out(struct smtp_conn *c);
/* The verdict that is pending comes at at_us, and not before. */
void conn_verdict_later(struct smtp_conn *c, enum reply_id verdict, uint64_t at_us);
/* RST, and the struct goes at the next poll. */
void conn_drop(struct smtp_conn *c);

/* server_relief.c: what slow peers hold while others wait for it */
void relief_init(struct smtp_server *s);
/* Looks at sessions, as long as there is anything to see. */
void relief_begin(struct smtp_server *s);
/* Memory was taken, or a session began. */
static inline void relief_needed(struct smtp_server *s)
{
	if (!timer_armed(&s->relief_timer))
		relief_begin(s);
}
/* Is only an eighth of the sessions left, or less? */
bool relief_sessions_scarce(const struct smtp_server *s);
/* The session begins to wait for memory, or goes on. */
void relief_wait_begins(struct smtp_conn *c);
/* Too long, with nothing taken meanwhile? */
bool relief_wait_is_over(const struct smtp_conn *c);
/* Then what it waits for is refused, and what it holds is given back; conn_kick follows. */
void relief_give_up(struct smtp_conn *c);

/* server_peer.c: limits of one peer */
enum reply_id peer_connect(void *ctx);
/* May TLS begin with it?  Counts. */
bool peer_may_handshake(struct smtp_conn *c);
bool peer_error(void *ctx);
enum reply_id peer_mail(struct smtp_conn *c);
enum reply_id peer_rcpt(struct smtp_conn *c);
/* The connection ends, or is another's. */
void peer_leave(struct smtp_conn *c);

/* server_proxy.c: who the peer is, told by others */
bool proxy_awaited(const struct smtp_conn *c);
/* Octets of the header; returns how many were taken. */
size_t proxy_take(struct smtp_conn *c, struct bytes in);
void proxy_forget(struct smtp_conn *c);
/* From now on the peer is ip: for limits, logs and Received. */
void conn_set_peer(struct smtp_conn *c, const struct ip_addr *ip);
/* Greet, or begin TLS. */
void conn_begin(struct smtp_conn *c);

/* server_auth.c: TLS capacity, passwords and the delays for wrong ones */
enum reply_id auth_starttls(void *ctx);
enum reply_id auth_password(void *ctx, struct bytes user, struct bytes password);
enum reply_id auth_scram(void *ctx, struct bytes user);
enum reply_id auth_wrong(void *ctx);
size_t auth_channel(void *ctx, enum scram_channel kind, uint8_t out[SCRAM_CHANNEL_MAX]);
/* The connection goes while a check may be under way. */
void auth_forget(struct smtp_conn *c);

/* server_message.c */
extern const struct smtp_session_ops server_session_ops;
void message_drop(struct smtp_conn *c);
void message_log_accepted(const struct message *m);

/* server_body.c */
size_t body_room(void *ctx, size_t want);
void body_content(void *ctx, struct bytes run);
void *body_line_get(void *ctx);
void body_line_put(void *ctx, void *line);
void body_free_spare(struct smtp_conn *c);
void body_charge(struct smtp_conn *c, int32_t chunks);
/* May the session hold more?  One that holds next to nothing may always go on: else sessions of one
 * peer that each have a part of their first chunk could wait for each other. */
static inline bool body_within_share(const struct smtp_conn *c)
{
	const struct smtp_server *s = c->server;

	return c->charged < BODY_LEAST || s->peer_chunks[c->bucket] < s->peer_chunks_max;
}

/* Content into chunks that body_room has taken.  False: there are none left. */
bool body_append(struct smtp_conn *c, struct bytes run);

/* server_convert.c: BODY=BINARYMIME that goes into a mailbox */
bool convert_begin(struct smtp_conn *c); /* false: no memory now */
void convert_forget(struct smtp_conn *c);
/* Room that so much content needs, and content that fits so much room. */
size_t convert_room(size_t want);
size_t convert_want(size_t room);
void convert_content(struct smtp_conn *c, struct bytes run);
/* The content is whole: *content is what it has become.  REPLY_OK, or why it cannot be had. */
enum reply_id convert_end(struct smtp_conn *c, struct smtp_content *content);

/* server_handoff.c */
/* Give the full chunks in memory to the writer.  False: not now; the session waits. */
bool handoff_parts(struct smtp_conn *c);
/* Give the message to the writer; the session's transaction is over.  False: no credit. */
bool handoff_accept(struct smtp_conn *c, unsigned slot);
/* The parts of a message that will not be accepted. */
void handoff_drop(struct smtp_server *s, uint64_t blob);
void handoff_drops_flush(struct smtp_server *s);
