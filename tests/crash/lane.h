/* SPDX-License-Identifier: BSD-3-Clause
 * A lane: one account with its mailboxes and queued messages, one operation after the other.  Lanes
 * share nothing but the store, so that after a crash each of them is exactly as after its last
 * acknowledged operation, or as after the one that was under way.  The operations follow from seed,
 * lane and number alone: whoever has these can tell what the store must hold. */
#pragma once
#include "store/store.h"

#define LANES          8
#define LANE_BOXES     4 /* INBOX and three others */
#define LANE_ROWS_MAX  20
#define LANE_QUEUE_MAX 6
#define LANE_RCPTS_MAX 3
#define LANE_ID_BASE   (1ull << 20)

struct lane_row {
	uint32_t uid, flags;
	uint64_t blob;
	uint32_t bytes;
};

struct lane_box {
	bool exists;
	uint32_t uidnext, n;
	struct lane_row rows[LANE_ROWS_MAX];
};

struct lane_rcpt {
	bool pending, held;
	uint32_t attempts;
	uint64_t next_ms; /* 0: when it came */
};

struct lane_message {
	uint64_t id;
	uint32_t bytes;
	struct lane_rcpt rcpts[LANE_RCPTS_MAX];
};

struct lane {
	uint64_t seed;
	uint32_t number, account;
	uint32_t done; /* operations */
	struct lane_box boxes[LANE_BOXES];
	uint32_t queue_n;
	struct lane_message queue[LANE_QUEUE_MAX];
};

enum lane_kind {
	LANE_ACCEPT,
	LANE_APPEND,
	LANE_RESULT,
	LANE_FLAGS,
	LANE_COPY,
	LANE_EXPUNGE,
	LANE_CREATE,
	LANE_DELETE,
	LANE_RENAME,
	LANE_ADMIN,
	LANE_KIND_N
};

struct lane_op {
	enum lane_kind kind;
	uint64_t id; /* of the message that comes, or of the one that is meant */
	uint32_t bytes;
	bool streamed;      /* its full chunks go as parts */
	bool local;         /* accept: into the own INBOX as well */
	uint32_t remote;    /* accept: recipients elsewhere */
	uint32_t box, to;   /* mailboxes; rename: to does not exist */
	uint32_t uid_count; /* of the first messages in box */
	uint32_t flags;
	uint8_t mode, action;
	uint8_t outcome[LANE_RCPTS_MAX]; /* 0: no attempt */
	uint64_t next_ms;
	uint64_t bounce_id; /* 0: none */
};

extern const char *const lane_box_names[LANE_BOXES];
extern const char *const lane_domain;
void lane_address(const struct lane *l, char out[40]);
void lane_init(struct lane *l, uint64_t seed, uint32_t number);
/* What comes next; always possible. */
void lane_next(const struct lane *l, struct lane_op *op);
void lane_apply(struct lane *l, const struct lane_op *op);
/* Octet at of the body of id. */
static inline uint8_t lane_octet(uint64_t id, uint64_t at)
{
	return (uint8_t)(id * 31 + at * 7 + (at >> 8));
}
