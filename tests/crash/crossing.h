/* SPDX-License-Identifier: BSD-3-Clause
 * What is sent into a store of two shards: message after message, each to mailboxes of either shard
 * and to recipients elsewhere.  All of it follows from seed and number alone: whoever has these can
 * tell what the store must hold.  A message says in its first octets which one it is, for a mailbox
 * in the other shard has it under another number. */
#pragma once
#include "store/store.h"

#define CROSSING_SHARDS     2
#define CROSSING_ACCOUNTS   6 /* in both shards: crossing_work makes sure */
#define CROSSING_REMOTE_MAX 2
#define CROSSING_MAX        4096 /* messages of a run, at most */
#define CROSSING_ID_BASE    (1ull << 20)
#define CROSSING_LABEL      sizeof(uint64_t) /* octets at the beginning that name the message */

/* Marks in the disk's log: what in the top octet, a number below it. */
enum crossing_mark {
	CROSSING_ACCOUNT = 1, /* bits 32 to 39: which, 0 to 31: its number in the store */
	CROSSING_BEGUN,
	CROSSING_ACCEPTED,  /* message */
	CROSSING_DELIVERED, /* message: to its recipients elsewhere */
};
#define CROSSING_MARK(what, n) ((uint64_t)(what) << 56 | (n))

struct crossing {
	uint64_t id;
	uint32_t bytes;
	uint32_t locals;   /* bit i: to account i */
	uint32_t remote;   /* recipients elsewhere; the first ones of the message */
	bool streamed;     /* its full chunks go as parts */
	bool is_delivered; /* after it has been accepted its recipients elsewhere get it */
};

void crossing_make(uint64_t seed, uint32_t n, struct crossing *c);
void crossing_address(unsigned account, char out[40]);
/* Octet at of the body. */
uint8_t crossing_octet(uint64_t id, uint64_t at);
/* Number of account i among the recipients. */
static inline uint32_t crossing_rcpt(const struct crossing *c, unsigned i)
{
	return c->remote + (uint32_t)__builtin_popcount(c->locals & ((1u << i) - 1));
}
