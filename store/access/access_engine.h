/* SPDX-License-Identifier: BSD-3-Clause
 * Between a mailbox protocol's engine (pop3_session, imap_session: no I/O) and its host
 * (access_conn on a core, a script in tests).  The engine is asked to run whenever something it
 * waits for may have come; it never blocks, and its host drains `out`.
 *
 * At most one store op of an engine is under way; the engine's memory stays until its done() was
 * called, whatever happens to the connection.  OWNER: the session's core. */
#pragma once
#include "store/access/access.h"
#include "store/access/access_out.h"

struct access_engine;

enum access_server_kind { ACCESS_WRITER, ACCESS_READER };

/* Scarce contiguous memory, shared by the sessions of a core. */
enum access_space {
	ACCESS_SPACE_COMMAND, /* a long command line */
	ACCESS_SPACE_UIDS,    /* the UID list of one op */
	ACCESS_SPACE_SCAN,    /* a MIME scan under way */
	ACCESS_SPACE_N
};

/* What memory is wanted for. */
enum access_use {
	ACCESS_USE_LIST, /* the messages of a mailbox: kept while it is open */
	ACCESS_USE_OUT   /* content on its way: kept until the peer takes it, or the store */
};

#define ACCESS_COMMAND_BYTES (64 * 1024)
#define ACCESS_UIDS_MAX      16384 /* UIDs in one op */
#define ACCESS_SCAN_BYTES    (192 * 1024)
#define ACCESS_SLICE_SHORT                                                                         \
	(16 * 1024) /* octets of content at a time when memory is short; chosen */

/* What the host does for an engine.  None of these calls back into the engine. */
struct access_host_ops {
	/* Submit an op, now or when there is credit.  op->done is set; the account picks the
	 * reader. */
	void (*submit)(void *ctx, enum access_server_kind to, uint32_t account, struct op *op);
	/* Check a name and password; engine->ops->login_done follows. */
	void (*login)(void *ctx, struct bytes user, struct bytes password);
	/* engine->ops->timer follows after delay_us; one timer, a second call moves it. */
	void (*timer)(void *ctx, uint64_t delay_us);
	/* Run me again in the next lap. */
	void (*again)(void *ctx);
	/* An op of the engine is done: run it.  Called from op->done. */
	void (*ready)(void *ctx);
	/* engine->ops->changed follows when something happened in this mailbox; account 0: nothing.
	 */
	void (*watch)(void *ctx, uint32_t account, uint32_t box);
	/* One POP3 session per account.  False: another has it.  Given back by unlock or the end.
	 */
	bool (*lock)(void *ctx, uint32_t account);
	void (*unlock)(void *ctx);
	/* NULL: none free now. */
	void *(*space_get)(void *ctx, enum access_space kind);
	void (*space_put)(void *ctx, enum access_space kind, void *space);
	/* False: the sessions have what they may have, or this account has; do with little. */
	bool (*may_grow)(void *ctx, enum access_use use);
	uint64_t (*now_ms)(void *ctx); /* wall clock */
	uint64_t (*new_id)(void *ctx); /* blob id */
};

struct access_engine_ops {
	/* The connection is there: greet. */
	void (*start)(struct access_engine *e);
	/* Received octets; returns how many were taken.  What is left comes again once wants_input.
	 */
	size_t (*input)(struct access_engine *e, struct bytes data);
	bool (*wants_input)(const struct access_engine *e);
	/* Go on with what is under way. */
	void (*run)(struct access_engine *e);
	void (*timer)(struct access_engine *e);
	void (*login_done)(struct access_engine *e, enum login_result result, uint32_t account);
	void (*changed)(struct access_engine *e);
	/* The peer was silent for too long, or the server is going down: say so and end. */
	void (*timeout)(struct access_engine *e);
	void (*drain)(struct access_engine *e);
	/* The connection is gone: no output matters any more.  busy may stay until an op is done.
	 */
	void (*hangup)(struct access_engine *e);
	/* Chunks that the session has, or has asked for, beside those in `out`; about. */
	uint32_t (*held)(const struct access_engine *e);
	/* For people: appends the state, "account 5, INBOX selected, IDLE".  NULL: nothing to say.
	 */
	void (*describe)(const struct access_engine *e, struct buf *out);
};

struct access_engine {
	const struct access_engine_ops *ops;
	const struct access_host_ops *host;
	void *host_ctx;
	const char *hostname;
	uint64_t message_bytes_max;
	bool plaintext_login; /* logins are allowed without TLS */
	bool tls_offered;     /* the host can begin TLS: STARTTLS, STLS */
	bool secure;          /* everything is encrypted */
	/* Set by the engine: what is in `out` is the last in clear, then comes the handshake. Until
	 * that is over it takes no input, so nothing sent in clear behind the command is ever one.
	 */
	bool wants_tls;
	struct access_out out;
	uint64_t changed_us; /* commit of the first change that is not announced yet; 0: none known
			      */
	/* what the host looks at */
	bool busy;    /* an op or a login is under way: the memory must stay */
	bool ended;   /* close once `out` has been sent */
	bool aborted; /* reset now: a reply cannot be completed */
	bool hung_up; /* the connection is gone */
	bool logged_in;
	bool content_comes; /* the peer is in the middle of a message: it may not rest for long */
	uint64_t login_delay_us; /* the answer to a login waits so long */
};

static inline bool access_engine_may_login(const struct access_engine *e)
{
	return e->plaintext_login || e->secure;
}

static inline bool access_engine_may_secure(const struct access_engine *e)
{
	return e->tls_offered && !e->secure;
}

static inline void access_engine_submit(
	struct access_engine *e, enum access_server_kind to, uint32_t account, struct op *op)
{
	BUG_ON(e->busy);
	e->busy = true;
	e->host->submit(e->host_ctx, to, account, op);
}

/* From op->done. */
static inline void access_engine_done(struct access_engine *e)
{
	e->busy = false;
	e->host->ready(e->host_ctx);
}
