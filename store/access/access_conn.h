/* SPDX-License-Identifier: BSD-3-Clause
 * One connection of a mailbox server: stream below, engine above, store ops to the side.
 * OWNER: the core's thread. */
#pragma once
#include "smtp/guess.h"
#include "store/access/access_server.h"

struct access_conn {
	struct stream stream;
	struct access_server *server;
	struct list node;       /* server's active or free list */
	struct list run_node;   /* sessions to be run in the next lap */
	struct list input_node; /* octets wait for their turn */
	bool turn;              /* it has come */
	struct timer timer;     /* the engine's */
	struct timer idle;
	struct access_waiter waiter;
	struct access_watch watch;
	struct list lock_node;
	struct list stranger_node; /* nobody has logged in yet */
	struct list account_node;
	uint64_t opened_us;
	uint32_t weight;                /* chunks it has, as counted last */
	uint64_t command_us;            /* since when a long command is collected, 0: none is */
	uint32_t locked;                /* account, 0: none */
	uint32_t account;               /* who has logged in, 0: nobody */
	uint8_t spaces[ACCESS_SPACE_N]; /* that it has */
	bool open;                      /* the stream may be used */
	bool held;                      /* input was left in the window */
	bool eof;
	bool in_service;
	bool asking;      /* a login is under way, its answer may be late (guess_enter) */
	bool refused;     /* ... it was one too many: to be told in the next lap */
	bool stalled;     /* the peer is to read something */
	bool handshaking; /* what comes and goes is TLS's */
	bool greeted;
	struct login login;
	struct guess guess;           /* the same */
	uint64_t answer_us;           /* the same: not answered before */
	struct access_engine *engine; /* behind this struct */
};

#define ACCESS_LOCK_BUCKETS 256

struct access_server {
	struct access *access;
	const struct access_proto *proto;
	struct listener listener, tls_listener;
	struct access_ports ports;
	uint32_t sessions_max, sessions;
	bool draining;
	struct list active, idle; /* conns */
	struct list runnable;
	struct list inputs;        /* conns whose octets wait, first come first served */
	uint64_t lap_us, spent_us; /* of a lap: when it began, how long sessions ran in it */
	uint64_t rest_until_us;    /* one ran for so long that the rest of the core is next */
	uint64_t last_us;          /* the one that took octets last */
	struct list locks[ACCESS_LOCK_BUCKETS];
	struct list strangers; /* the oldest first */
	struct list accounts[ACCESS_LOCK_BUCKETS];
	void *spaces[ACCESS_SPACE_N]; /* free lists: the first word points to the next */
	uint8_t *conn_memory, *space_memory;
};

extern const struct access_host_ops access_conn_host;
extern const struct stream_ops access_conn_stream_ops;

/* Bind a free conn to a fresh stream and greet in this lap, or behind the handshake of TLS. */
void access_conn_open(struct access_conn *c, bool implicit_tls);
/* May octets be taken in this lap that have not waited? */
bool access_server_turn(struct access_server *s);
/* One has run for so long. */
void access_server_spent(struct access_server *s, uint64_t us);
/* Somebody else needs its place. */
void access_conn_evict(struct access_conn *c);
/* Run the engine, send, close, release: whatever is possible now. */
void access_conn_service(struct access_conn *c);
