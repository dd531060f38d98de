/* SPDX-License-Identifier: BSD-3-Clause
 * Why a recipient does not move: from what the store and the delivery worker know to one cause, a
 * sentence that names it, and what would make it move.  No I/O.  Any thread. */
#pragma once
#include "delivery/inspect.h"

enum why_cause {
	WHY_STORE_FAILED,
	WHY_HELD,
	WHY_OTHER_SHARD,
	WHY_DRAINING,
	WHY_SENDING,
	WHY_STORING,
	WHY_WRITER_FULL,
	WHY_READING,
	WHY_RESOLVING,
	WHY_NO_ROUTE,
	WHY_SITE_DOWN,
	WHY_NO_CONNECTION,
	WHY_SITE_SILENT,
	WHY_SITE_FULL,
	WHY_WORKER_FULL,
	WHY_CONNECTING,
	WHY_MEMORY,
	WHY_BACKLOG,
	WHY_LOADING,
	WHY_NOT_IN_MEMORY,
	WHY_RETRY,
	WHY_FIRST_TRY,
	WHY_N
};

#define WHY_TEXT_MAX 640

/* What is known of one recipient. */
struct why_facts {
	uint64_t id, now_ms;
	bool store_failed; /* its shard of the store */
	bool held;
	bool moving; /* a local recipient of another shard: to_shard, which says how it is */
	unsigned to_shard;
	const char *to_health; /* "ok", "full", "failed" */
	uint32_t attempts;     /* failed so far */
	uint64_t next_ms;      /* as the store has it */
	const char *reason;    /* of the last attempt; empty: none */
	bool asked;            /* a worker was asked: info holds */
	struct delivery_recipient_info info;
};

struct why {
	enum why_cause cause;
	char text[WHY_TEXT_MAX];   /* a sentence */
	char remedy[WHY_TEXT_MAX]; /* and what would make it move */
};

/* "retry", "site-down" ...: stable names for scripts. */
const char *why_name(enum why_cause cause);
void why_decide(const struct why_facts *f, struct why *out);

/* The reason of an attempt without what differs between messages: digits and addresses become '#',
 * so that equal troubles count as one.  out has a NUL. */
void why_normalise(const char *reason, char *out, size_t cap);
